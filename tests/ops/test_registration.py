"""What the dispatcher knows of the operators: schemas, fake kernels, gradients; torch.compile and torch.export."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pointnet2_ops
import pytest
import torch
from clouds import features, has_channels_last_memory, indices, room
from pointnet2_ops import ops
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

LIBRARY = torch.ops.pointnet2_ops
FORMATS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


def samples(channels_last: bool) -> list[tuple[Callable, tuple]]:
    """One call of every operator of the library."""
    xyz = room(2, 60)
    x = features(2, 4, 20, channels_last)
    idx, triples, weight = indices((2, 30), 20), indices((2, 30, 3), 20), torch.rand(2, 30, 3)
    grad = features(2, 4, 30, channels_last)
    return [
        (LIBRARY.furthest_point_sample, (xyz, 7)),
        (LIBRARY.ball_query, (xyz, xyz[:, :9], 0.3, 5)),
        (LIBRARY.three_nn, (xyz, xyz[:, :9])),
        (LIBRARY.gather_operation, (x.detach().requires_grad_(), idx)),
        (LIBRARY.gather_operation_backward, (grad.detach().requires_grad_(), idx, 20, channels_last)),
        (LIBRARY.three_interpolate, (x.detach().requires_grad_(), triples, weight.clone().requires_grad_())),
        (
            LIBRARY.three_interpolate_backward,
            (grad.detach().requires_grad_(), triples, weight.clone().requires_grad_(), 20, channels_last),
        ),
        (
            LIBRARY.three_interpolate_weight_backward,
            (grad.detach().requires_grad_(), x.detach().requires_grad_(), triples),
        ),
    ]


NAMES = [operator._qualified_op_name.split("::")[1] for operator, _ in samples(False)]


@FORMATS
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_opcheck(number: int, channels_last: bool):
    operator, arguments = samples(channels_last)[number]
    torch.library.opcheck(operator.default, arguments)


@FORMATS
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_fake_kernels_tell_the_strides(number: int, channels_last: bool):
    operator, arguments = samples(channels_last)[number]
    fake = [x.detach().to("meta") if isinstance(x, Tensor) else x for x in arguments]
    real_out, fake_out = operator(*arguments), operator(*fake)
    if isinstance(real_out, Tensor):
        real_out, fake_out = (real_out,), (fake_out,)
    for a, b in zip(real_out, fake_out, strict=True):
        assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


class Network(nn.Module):
    """Every operator once, features channels last or not."""

    def __init__(self, channels_last: bool):
        super().__init__()
        self.channels_last = channels_last
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 4)

    def columns(self, x: Tensor) -> Tensor:  # [B, N, C] -> [B, C, N]
        return x.transpose(1, 2) if self.channels_last else x.transpose(1, 2).contiguous()

    def forward(self, xyz: Tensor, x: Tensor) -> Tensor:
        chosen = ops.furthest_point_sample(xyz, 16)
        new_xyz = ops.gather_operation(self.columns(xyz), chosen).transpose(1, 2)
        idx, count = ops.ball_query_with_count(0.5, 8, xyz, new_xyz)
        grouped = ops.grouping_operation(self.columns(x), idx).permute(0, 2, 3, 1)  # [B, M, K, C]
        pooled = self.inner(grouped).relu().amax(2) * count[..., None].clamp(max=1)
        distance, near = ops.three_nn(xyz, new_xyz)
        weight = 1 / (distance + 1e-8)
        spread = ops.three_interpolate(self.columns(pooled), near, weight / weight.sum(2, keepdim=True))
        return self.outer(spread.transpose(1, 2))


def run(network: Callable, xyz: Tensor, x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    x = x.detach().requires_grad_()
    output = network(xyz, x)
    return [output, *torch.autograd.grad(output.square().sum(), [x, *parameters])]


@FORMATS
def test_compile_without_graph_breaks(channels_last: bool):
    torch._dynamo.reset()
    network = Network(channels_last)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for B in (2, 3):  # the second size makes the batch dynamic
        xyz, x = room(B, 60), torch.randn(B, 60, 6)
        parameters = list(network.parameters())
        torch.testing.assert_close(run(compiled, xyz, x, parameters), run(network, xyz, x, parameters))


@FORMATS
def test_compile_with_any_number_of_points(channels_last: bool):
    torch._dynamo.reset()

    def network(x: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
        return ops.three_interpolate(x, idx, weight).square().sum() + ops.gather_operation(x, idx[..., 0]).sum()

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for N in (20, 31):
        x, idx, weight = features(2, 4, N, channels_last).requires_grad_(), indices((2, 9, 3), N), torch.rand(2, 9, 3)
        torch._dynamo.mark_dynamic(x, 2)  # an error if anything, the backward pass included, fixes the size
        gradients = [torch.autograd.grad(function(x, idx, weight), x) for function in (compiled, network)]
        torch.testing.assert_close(*gradients)


@FORMATS
def test_compile_with_inductor(channels_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its generated code asserts that every operator's strides are those that the fake kernels promised.

    Operators only: a kernel of inductor's own would take its C++ compiler half a minute.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    xyz, x = room(2, 60), features(2, 6, 20, channels_last)

    def network(x: Tensor) -> Tensor:
        distance, near = ops.three_nn(xyz, xyz[:, :20])
        spread = ops.three_interpolate(x, near, distance)
        return ops.gather_operation(spread, ops.furthest_point_sample(xyz, 30))

    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    results = []
    for function in (compiled, network):
        leaf = x.detach().requires_grad_()
        output = function(leaf)
        results.append((output, *torch.autograd.grad(output.square().sum(), leaf)))
    torch.testing.assert_close(*results)
    assert has_channels_last_memory(results[0][0]) is channels_last
    assert has_channels_last_memory(results[0][1]) is channels_last


@FORMATS
def test_export(channels_last: bool):
    network = Network(channels_last).eval()
    batch, points = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("points", min=17, max=1_000_000)
    shapes = {"xyz": {0: batch, 1: points}, "x": {0: batch, 1: points}}
    program = torch.export.export(network, (room(2, 60), torch.randn(2, 60, 6)), dynamic_shapes=shapes)
    xyz, x = room(5, 90), torch.randn(5, 90, 6)
    torch.testing.assert_close(program.module()(xyz, x), network(xyz, x))
    called = {str(node.target) for node in program.graph.nodes}
    assert {f"pointnet2_ops.{name}.default" for name in ("furthest_point_sample", "ball_query", "three_nn")} <= called


def test_autocast_keeps_geometry_in_float32():
    network = Network(channels_last=True)
    xyz, x = room(2, 60), torch.randn(2, 60, 6)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(xyz, x)
        idx = ops.furthest_point_sample(xyz, 16)
    assert output.dtype == torch.bfloat16
    assert torch.equal(idx, ops.furthest_point_sample(xyz, 16))
    torch.testing.assert_close(output.float(), network(xyz, x), rtol=0.05, atol=0.05)


def test_channels_last_survives_a_whole_network():
    x = features(2, 6, 40, channels_last=True).requires_grad_()
    grouped = ops.grouping_operation(x, indices((2, 7, 5), 40))
    assert has_channels_last_memory(grouped)
    grouped.square().sum().backward()
    assert has_channels_last_memory(x.grad)


@pytest.mark.skipif(pointnet2_ops.CUDA_LIBRARY, reason="the CUDA library is loaded")
def test_cuda_tensors_without_the_cuda_library():
    with FakeTensorMode(), pytest.raises(RuntimeError, match=r"xyz is on cuda:0, but .* built without CUDA: reinstall"):
        ops.furthest_point_sample(torch.empty(2, 9, 3, device="cuda:0"), 4)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch has CUDA")
@pytest.mark.parametrize("broken", ["libtorch_cuda", "_cuda"])
def test_a_cuda_library_that_does_not_load_leaves_the_cpu(broken: str, tmp_path: Path):
    """PyTorch says it has CUDA, and either its own library is missing or ours is no library."""
    package = tmp_path / "pointnet2_ops"
    package.mkdir()
    for file in Path(pointnet2_ops.__file__).parent.iterdir():
        if file.name not in ("__pycache__", "_cuda.abi3.so"):
            (package / file.name).symlink_to(file)
    (package / "_cuda.abi3.so").write_text("no library")
    script = f"""
import ctypes, torch
torch.version.cuda = "13.0"
load = ctypes.CDLL
if {broken == "_cuda"}:
    ctypes.CDLL = lambda name, *rest, **more: None if "libtorch_cuda" in str(name) else load(name, *rest, **more)
import pointnet2_ops
print(pointnet2_ops.__file__, pointnet2_ops.CUDA_LIBRARY)
print(pointnet2_ops.ops.furthest_point_sample(torch.rand(1, 9, 3), 2).tolist())
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "always", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == f"{package / '__init__.py'} False"
    assert second.startswith("[[0, ")
    assert re.search(rf"works on the CPU only: its CUDA library cannot be loaded: .*{broken}", result.stderr)


def test_layouts_without_kernels_are_refused():
    with pytest.raises((NotImplementedError, RuntimeError), match="pointnet2_ops"):
        LIBRARY.three_nn(room(1, 5).to_sparse(), room(1, 5).to_sparse())
