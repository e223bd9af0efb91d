"""Every operator against its reference on the device: small cases, large shapes, views, streams; the operator tests.

python -m benchmarks.gpu_correctness [--output FILE] [--seconds S]

Sums are taken of small integers, which float32 adds without rounding: results must be equal, not close.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from pointnet2_ops import ops, reference
from torch import Tensor

from benchmarks import gpu_smoke
from benchmarks.gpu_record import Stage

ROOT = Path(__file__).resolve().parents[1]
GATHER_BACKWARD = torch.ops.pointnet2_ops.gather_operation_backward


class Large:
    """Shapes that overflow a grid dimension (65,535) or a 32-bit offset."""

    def __init__(self, stage: Stage) -> None:
        self.size, self.device = stage.size, stage.device
        self.generator = torch.Generator(stage.device).manual_seed(1)

    def lattice(self, B: int, N: int) -> Tensor:
        """[B, N, 3] float32 on k/64: full of ties, squared distances exact."""
        return torch.randint(-8, 9, (B, N, 3), device=self.device, dtype=torch.int8, generator=self.generator) / 64

    def uniform(self, B: int, N: int) -> Tensor:
        """[B, N, 3] float32 in a cube of one metre."""
        return torch.rand(B, N, 3, device=self.device, generator=self.generator)

    def integers(self, *shape: int, high: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.randint(high, shape, device=self.device, dtype=dtype, generator=self.generator)

    def many_clouds_geometry(self) -> None:
        xyz = self.lattice(self.size(65_600, 70), 40)
        check("FPS", ops.furthest_point_sample(xyz, 12), reference.furthest_point_sample(xyz, 12))
        centres = xyz[:, :10].contiguous()
        actual, expected = (f.ball_query_with_count(0.1, 9, xyz, centres) for f in (ops, reference))
        check("ball query", actual[0], expected[0])
        check("its count", actual[1], expected[1])
        actual, expected = ops.three_nn(xyz, centres), reference.three_nn(xyz, centres)
        check("3-NN", actual[1], expected[1])
        check_close("its distances", actual[0], expected[0])

    def many_clouds_features(self) -> None:
        B, N = self.size(65_600, 70), 20
        for channels_last in (True, False):
            features = self.integers(B, N, 12, high=9).float().transpose(1, 2)
            features = features if channels_last else features.contiguous()
            idx, near = self.integers(B, 30, high=N), self.integers(B, 33, 3, high=N, dtype=torch.int64)
            weight = self.integers(B, 33, 3, high=4).float()
            self.check_features(features, idx, near, weight)

    def many_channels(self) -> None:
        """More groups of channels than a grid's y dimension holds."""
        C = self.size(70_000 * 8, 600)
        features = self.integers(1, C, 7, high=2).float()  # so small that sums over channels stay under 2^24
        idx, near = self.integers(1, 5, high=7), self.integers(1, 4, 3, high=7)
        self.check_features(features, idx, near, self.integers(1, 4, 3, high=2).float())

    def check_features(self, features: Tensor, idx: Tensor, near: Tensor, weight: Tensor) -> None:
        """features [B, C, N], idx [B, Q], near and weight [B, M, 3]; of small integers."""
        B, C, N = features.shape
        check("gather", ops.gather_operation(features, idx), reference.gather_operation(features, idx))
        actual, expected = (f.three_interpolate(features, near, weight) for f in (ops, reference))
        check("interpolation", actual, expected)
        grad = expected
        terms = (grad[..., None] * weight[:, None]).flatten(2)
        place = near.flatten(1).long()[:, None].expand(-1, C, -1)
        wanted = torch.zeros(B, C, N, device=self.device).scatter_add_(2, place, terms)
        picked = reference.gather_operation(features, idx)
        place = idx.long()[:, None].expand(-1, C, -1)
        wanted_gather = torch.zeros(B, C, N, device=self.device).scatter_add_(2, place, picked)
        rows = ops.is_channels_last(features)
        for deterministic in (False, True):
            got = torch.ops.pointnet2_ops.three_interpolate_backward(grad, near, weight, N, rows, deterministic)
            check("interpolation backward", got, wanted)
            check("gather backward", GATHER_BACKWARD(picked, idx, N, rows, deterministic), wanted_gather)
        neighbours = reference.grouping_operation(features, near)  # [B, C, M, 3]
        wanted = (neighbours * grad[..., None]).sum(1)
        got = torch.ops.pointnet2_ops.three_interpolate_weight_backward(grad, features, near)
        check("weight backward", got, wanted)

    def five_million_points(self) -> None:
        N = self.size(5_000_000, 20_000)
        xyz = self.uniform(1, N)
        npoint = self.size(64, 8)
        samples = ops.furthest_point_sample(xyz, npoint)
        check("FPS", samples, reference.furthest_point_sample(xyz, npoint))
        centres = xyz[:, :16].contiguous()
        check("ball query", ops.ball_query(0.02, 32, xyz, centres), reference.ball_query(0.02, 32, xyz, centres))
        check("3-NN in 5 million", ops.three_nn(centres, xyz)[1], reference.three_nn(centres, xyz)[1])
        known = self.uniform(1, 32)
        parts = xyz[:, : N // 64 * 64].reshape(-1, 64, 3)
        expected = reference.three_nn(parts, known.expand(len(parts), -1, -1))[1].reshape(1, -1, 3)
        check("3-NN of 5 million", ops.three_nn(xyz, known)[1][:, : expected.shape[1]], expected)

    def five_million_features(self) -> None:
        N = self.size(5_000_000, 20_000)
        features = self.integers(1, N, 8, high=9).float().transpose(1, 2)
        idx, near = self.integers(1, N, high=N), self.integers(1, N, 3, high=N)
        weight = self.integers(1, N, 3, high=4).float()
        self.check_features(features, idx, near, weight)
        self.check_features(features.contiguous(), idx, near, weight)

    def long_gather(self) -> None:
        """More than 2^31 elements of result and of gradient; the gradient of ones is a count."""
        N, C = 1000, 40
        Q = self.size(2**31 // C + 5000, 3000)
        for channels_last in (True, False):
            features = self.integers(1, N, C, high=200).bfloat16().transpose(1, 2)
            features = features if channels_last else features.contiguous()
            idx = self.integers(1, Q, high=N)
            out = ops.gather_operation(features, idx)
            for part in (slice(0, 2000), slice(Q // 2, Q // 2 + 2000), slice(Q - 2000, Q)):
                check("gather", out[:, :, part], reference.gather_operation(features, idx[:, part]))
            out.fill_(1)
            grad = GATHER_BACKWARD(out, idx, N, channels_last)
            expected = torch.bincount(idx[0], minlength=N).float().bfloat16().expand(1, C, N)
            check("gather backward", grad, expected)
            del out

    def long_ball_query(self) -> None:
        """More than 2^31 indices."""
        B, N, M, nsample = 33, 64, self.size(2**20, 200), 64
        xyz = self.lattice(B, N)
        centres = self.lattice(B, M)
        idx, count = ops.ball_query_with_count(0.1, nsample, xyz, centres)
        for b in (0, B // 2, B - 1):
            last = centres[b : b + 1, -100:].contiguous()
            expected = reference.ball_query_with_count(0.1, nsample, xyz[b : b + 1], last)
            check("ball query", idx[b : b + 1, -100:], expected[0])
            check("its count", count[b : b + 1, -100:], expected[1])

    def long_three_nn(self) -> None:
        """More than 2^31 distances and coordinates."""
        N = self.size(2**31 // 3 + 5000, 3000)
        unknown, known = self.uniform(1, N), self.uniform(1, 9)
        distance, idx = ops.three_nn(unknown, known)
        for part in (slice(0, 1000), slice(N // 2, N // 2 + 1000), slice(N - 1000, N)):
            expected = reference.three_nn(unknown[:, part], known)
            check("3-NN", idx[:, part], expected[1])
            check_close("its distances", distance[:, part], expected[0])

    def long_sampling(self) -> None:
        """More than 2^31 coordinates."""
        B, N = self.size(132, 5), self.size(2**31 // 3 // 132 + 5000, 17_000)
        xyz = self.uniform(B, N)
        samples = ops.furthest_point_sample(xyz, 6)
        for b in (0, B - 1):
            check("FPS", samples[b : b + 1], reference.furthest_point_sample(xyz[b : b + 1], 6))

    def wild_indices(self) -> None:
        """int64 indices that int32 would wrap into range must read nothing, on CUDA: NaN (on the CPU: an error)."""
        if self.device.type == "cpu":
            return
        features = torch.ones(1, 4, 10, device=self.device)
        for wild in (2**32 + 1, -(2**32) + 1, 2**31, -1, 10, 2**63 - 1):
            idx = torch.tensor([[1, wild, 3]], device=self.device)
            out = ops.gather_operation(features, idx)
            nan = out.isnan()[0].any(0).tolist()
            if nan != [False, True, False]:
                raise AssertionError(f"gather at {wild}: NaN expected in the second place, got {out[0, 0].tolist()}")
            out = ops.three_interpolate(features, idx[:, None], torch.ones(1, 1, 3, device=self.device))
            if not out.isnan().all():
                raise AssertionError(f"interpolation at {wild}: NaN expected, got {out.flatten().tolist()}")

    def views(self) -> None:
        """Arguments that are slices, transposes and expansions of others."""
        wide = self.lattice(6, 900)
        wide = torch.cat([wide, wide + 1], 2)  # [6, 900, 6]
        slices = wide[::2, 1::3, 2:5]
        turned = self.lattice(3, 300).transpose(1, 2).contiguous().transpose(1, 2)
        for xyz in (slices, turned, self.lattice(1, 300).expand(3, -1, -1)):
            dense = xyz.contiguous()
            check("FPS", ops.furthest_point_sample(xyz, 30), reference.furthest_point_sample(dense, 30))
            few = xyz[:, ::5]
            check("ball query", ops.ball_query(0.1, 8, xyz, few), reference.ball_query(0.1, 8, dense, few.contiguous()))
            check("3-NN", ops.three_nn(xyz, few)[1], reference.three_nn(dense, few.contiguous())[1])
        block = self.integers(6, 40, 51, high=9).float()
        idx = self.integers(3, 2 * 33, high=17)[:, ::2]
        near, weight = self.integers(3, 9, 6, high=17)[:, :, ::2], self.integers(3, 9, 6, high=4).float()[:, :, 3:]
        for features in (block[::2, 3:30, ::3], block[::2, ::3, 5:22], block[::2, :17, 1:31].transpose(1, 2)):
            self.check_features(features, idx, near, weight)
        self.check_features(block[:1, :20, :17].expand(3, -1, -1), idx, near, weight)

    def streams(self) -> None:
        """Work on another stream than the default one, its input made there just before."""
        if self.device.type == "cpu":
            return
        a = torch.randn(4096, 4096, device=self.device)
        cloud = self.lattice(4, 9000)
        expected = reference.furthest_point_sample(cloud, 50)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(10):
                a = (a @ a).clamp(-1, 1)  # some milliseconds: too early a start would read the zeros
            xyz = torch.zeros_like(cloud)
            xyz += cloud + 0 * a[0, 0].isfinite()
            samples = ops.furthest_point_sample(xyz, 50)
            idx = ops.ball_query(0.1, 16, xyz, xyz[:, :64])
            rows = ops.grouping_operation(xyz.transpose(1, 2), idx)
        torch.cuda.current_stream().wait_stream(stream)
        check("FPS", samples, expected)
        check("group", rows, reference.grouping_operation(cloud.transpose(1, 2), idx))
        if torch.cuda.device_count() > 1:
            other = cloud.to("cuda:1")
            check("FPS on another device", ops.furthest_point_sample(other, 50).to(self.device), expected)

    def deterministic(self) -> None:
        """Twice the same bits where many edges share a point."""
        x = torch.randn(4, 2000, 40, device=self.device, generator=self.generator)
        N = self.size(30_000, 300)
        near = self.integers(4, N, 3, high=50)
        weight = torch.rand(4, N, 3, device=self.device, generator=self.generator)
        torch.use_deterministic_algorithms(True)
        try:
            for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
                for channels_last in (True, False):
                    features = x.to(dtype).transpose(1, 2)
                    features = (features if channels_last else features.contiguous()).detach().requires_grad_()
                    gradients = []
                    for _ in range(2):
                        out = ops.three_interpolate(features, near, weight)
                        loss = out.float().sin().sum() + ops.grouping_operation(features, near).float().cos().sum()
                        gradients += torch.autograd.grad(loss, features)
                    check(f"gradients in {dtype}", *gradients)
        finally:
            torch.use_deterministic_algorithms(False)


def check(name: str, actual: Tensor, expected: Tensor) -> None:
    if not torch.equal(actual, expected):
        different = (actual != expected).flatten()
        first = int(different.int().argmax())
        raise AssertionError(
            f"{name} of shape {list(actual.shape)}: {int(different.sum())} of {different.numel()} differ, the first at "
            f"{first}: {actual.flatten()[first].item()} instead of {expected.flatten()[first].item()}"
        )


def check_close(name: str, actual: Tensor, expected: Tensor) -> None:
    """Roots may be rounded differently."""
    if not torch.allclose(actual, expected, rtol=1e-6, atol=0):
        check(name, actual, expected)


def operator_tests(stage: Stage) -> dict:
    """pytest on operators and on what waits, the cases on the device; compilers and the emulator are left out."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--confcutdir=tests/ops", "-rf"]
    command += ["--tb=short", "--maxfail=40", "--durations=8"]
    command += ["--ignore=tests/ops/test_build.py", "--ignore-glob=tests/ops/test_cuda_*"]
    if stage.rehearse:
        command += ["tests/ops/test_three_nn.py", "-k", "index_order"]
    else:
        command += ["tests/ops", "tests/test_host_sync.py", "-k", "cuda", "--numprocesses=8", "--dist=worksteal"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        print(line, end="", flush=True)
    status = process.wait()
    passed = re.search(r"(\d+) passed", lines[-1]) if lines else None
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"ok": status == 0, "passed": int(passed[1]) if passed else 0, "summary": lines[-1:], "failed": failed[:60]}


def main() -> None:
    stage = Stage(__doc__, "ops.json")
    large = Large(stage)
    cases: list[tuple[str, Callable[[], dict | None]]] = [
        ("geometry, small", lambda: gpu_smoke.geometry(stage.device)),
        ("features, small", lambda: gpu_smoke.features(stage.device)),
        ("every kernel", lambda: gpu_smoke.every_kernel(stage.device) if stage.device.type == "cuda" else None),
        ("int64 indices out of range", large.wild_indices),
        ("views", large.views),
        ("streams and devices", large.streams),
        ("deterministic twice", large.deterministic),
        ("65,600 clouds, geometry", large.many_clouds_geometry),
        ("65,600 clouds, features", large.many_clouds_features),
        ("560,000 channels", large.many_channels),
        ("5 million points, geometry", large.five_million_points),
        ("5 million points, features", large.five_million_features),
        ("2^31 elements, gather", large.long_gather),
        ("2^31 elements, ball query", large.long_ball_query),
        ("2^31 elements, 3-NN", large.long_three_nn),
        ("2^31 coordinates, FPS", large.long_sampling),
        ("operator tests", lambda: operator_tests(stage)),
    ]
    for name, run in cases:
        stage.case(name, run, needs_s=0 if stage.rehearse else 5)
    stage.finish()


if __name__ == "__main__":
    main()
