"""What a network costs: parameters, floating-point operations, activation memory and time, in total and by module.

A multiplication and an addition are two operations. Counted are matrix products and convolutions, by PyTorch's
FlopCounterMode, and distances and interpolation, by the formulas below; normalisation and activation are not.
B clouds, N points, M centres or known points, C channels.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pointnet2_ops  # noqa: F401  (registers the operators)
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pointseg.config import Config
from pointseg.models.build import build_model

ELSEWHERE = ""  # what no part does: sampling, searching, layers called in pieces, the loss, the optimiser
_CLASSES = 20
_DISTANCE = 8  # operations of a squared distance: three differences, three squares, two sums
_INTERPOLATION = 6  # operations of a weighted sum of three, per channel


@dataclass(frozen=True)
class Cost:
    """Of a module, or of a whole network, on a batch."""

    parameters: int
    flops: int  # of a forward pass
    kept_bytes: int  # activations that the forward pass keeps for the backward pass
    milliseconds: float | None  # of a training step; None: not measured


@dataclass(frozen=True)
class NetworkCost:
    """Of a network; `parts` are its modules and ELSEWHERE, and add up to `total`."""

    total: Cost
    parts: dict[str, Cost]
    context: tuple[str, ...]  # which parts are context modules
    convolution_macs: int  # of these for one cloud, see `convolution_macs`

    @property
    def added(self) -> Cost:
        """All context modules together."""
        return _sum([self.parts[name] for name in self.context])


def network_cost(config: Config, batch: int = 8, rounds: int = 5, device: torch.device | str = "cpu") -> NetworkCost:
    """Of the network of `config` on `batch` clouds of `data.num_points` random points in a block.

    `rounds` training steps are timed after one to warm up, and the median counts; 0 times none.
    """
    torch.manual_seed(0)
    data, features = config.data, 3 * config.data.color + config.data.height
    model = build_model(config.model, _CLASSES, features).to(device)
    size = torch.tensor([data.block, data.block, 3.0])
    xyz = torch.rand(batch, data.num_points, 3) * size - torch.tensor([data.block / 2, data.block / 2, 0.0])
    inputs = [xyz.to(device)]
    if features:
        inputs.append(torch.rand(batch, data.num_points, features, device=device))

    positions: dict[str, int] = {}
    flops = _count_flops(model, inputs, positions)
    kept = _count_kept_bytes(model, inputs)
    steps = _time_steps(model, inputs, rounds)

    def cost(name: str, parameters: int) -> Cost:
        times = [1e3 * step.get(name, 0.0) for step in steps]
        time = statistics.median(times) if times else None
        return Cost(parameters, int(flops.get(name, 0)), int(kept.get(name, 0)), time)

    ran = [name for name in _parts(model) if name in positions]
    parts = {name: cost(name, _parameters(model.get_submodule(name))) for name in ran}
    rest = _parameters(model) - sum(part.parameters for part in parts.values())
    parts[ELSEWHERE] = cost(ELSEWHERE, rest)
    context = tuple(name for name in ran if name.startswith("context."))
    macs = sum(convolution_macs(model.get_submodule(name), positions[name]) for name in context)
    return NetworkCost(_sum(list(parts.values())), parts, context, macs)


def convolution_macs(module: nn.Module, positions: int) -> int:
    """Multiplications and additions, as pairs, of a context module's linear maps of all positions: 1 x 1 convolutions.

    This is what the FLOPs of the LatentGNN paper count: no product of activations, and no W, which here multiplies the
    latent nodes.
    """
    return positions * sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


def count_flops(module: nn.Module, *inputs: Tensor) -> int:
    """Of one forward pass; `inputs` may be on the device "meta", with `module`, where nothing is computed."""
    with FlopCounterMode(display=False, custom_mapping=OPERATORS) as counter:
        module(*inputs)
    return counter.get_total_flops()


def _count_flops(model: nn.Module, inputs: Sequence[Tensor], positions: dict[str, int]) -> dict[str, float]:
    """By part; `positions` gets the positions of one cloud or image that each part's input has."""
    counter = FlopCounterMode(display=False, custom_mapping=OPERATORS)
    with torch.no_grad(), counter, _Attribution(model, counter.get_total_flops, positions) as attribution:
        model(*inputs)
    return attribution.spent


def _count_kept_bytes(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, float]:
    """By part: memory of the tensors saved for the backward pass, each once, without the parameters and the inputs."""
    held: dict[int, Any] = {}  # by address; held, so that no address is used twice
    known = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers(), *inputs]}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            held[storage.data_ptr()] = storage
        return tensor

    def held_bytes() -> int:
        return sum(storage.nbytes() for storage in held.values())

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, _Attribution(model, held_bytes) as attribution:
        loss = F.cross_entropy(model(*inputs).flatten(0, 1), _labels(inputs).flatten())
    del loss
    return attribution.spent


def _time_steps(model: nn.Module, inputs: Sequence[Tensor], rounds: int) -> list[dict[str, float]]:
    """Seconds of each of `rounds` training steps by part, a backward pass counted with its forward pass."""
    labels, device = _labels(inputs), inputs[0].device
    optimizer = torch.optim.Adam(model.parameters())

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    steps = []
    for _ in range(rounds + 1 if rounds else 0):
        with _Attribution(model, clock) as attribution:
            loss = F.cross_entropy(model(*inputs).flatten(0, 1), labels.flatten())
            optimizer.zero_grad()
            loss.backward()
            attribution.switch(ELSEWHERE)
            optimizer.step()
        steps.append(attribution.spent)
    return steps[1:]


class _Attribution:
    """Charges what `meter` grows by to the part of `model` that is running, in `spent`.

    Backward a part runs from when the gradient of its output is there until that of the part before is: autograd goes
    through the parts in reverse order.
    """

    def __init__(self, model: nn.Module, meter: Callable[[], float], positions: dict[str, int] | None = None) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._model, self._meter, self._positions = model, meter, positions
        self._name, self._last, self._handles = ELSEWHERE, 0.0, []

    def switch(self, name: str) -> None:
        """From now on `name` is charged."""
        now = self._meter()
        self.spent[self._name] += now - self._last
        self._name, self._last = name, now

    def __enter__(self) -> _Attribution:
        for name, part in _parts(self._model).items():
            self._handles.append(part.register_forward_pre_hook(partial(self._begin, name)))
            self._handles.append(part.register_forward_hook(partial(self._end, name)))
        self._last = self._meter()
        return self

    def __exit__(self, *error: object) -> None:
        self.switch(ELSEWHERE)
        for handle in self._handles:
            handle.remove()

    def _begin(self, name: str, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._positions is not None:
            self._positions[name] = inputs[0].shape[2:].numel()
        self.switch(name)

    def _end(self, name: str, part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.switch(ELSEWHERE)
        if output.requires_grad:
            output.register_hook(lambda grad: self.switch(name))


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The children of `model` by name, those of lists one by one."""
    parts = {}
    for name, child in model.named_children():
        inner = child.named_children() if isinstance(child, nn.ModuleList) else None
        parts |= {name: child} if inner is None else {f"{name}.{index}": one for index, one in inner}
    return parts


def _labels(inputs: Sequence[Tensor]) -> Tensor:
    return torch.zeros(inputs[0].shape[:2], dtype=torch.int64, device=inputs[0].device)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _sum(costs: Sequence[Cost]) -> Cost:
    times = [cost.milliseconds for cost in costs if cost.milliseconds is not None]
    return Cost(
        sum(cost.parameters for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.kept_bytes for cost in costs),
        sum(times) if times else None,
    )


def _all_pairs(first: Sequence[int], second: Sequence[int], *rest: Any, **options: Any) -> int:
    """Distances between [B, N, 3] and [B, M, 3]: all of them, as defined; the kernels skip most."""
    return _DISTANCE * first[0] * first[1] * second[1]


def _farthest(xyz: Sequence[int], npoint: int, **options: Any) -> int:
    """A distance to every point for each one that is chosen."""
    return _DISTANCE * xyz[0] * xyz[1] * npoint


def _interpolate(features: Sequence[int], idx: Sequence[int], *rest: Any, **options: Any) -> int:
    return _INTERPOLATION * features[0] * features[1] * idx[1]


def _group_mlp(
    xyz: Any, new_xyz: Any, features: Any, idx: Sequence[int], weights: Any, *rest: Any, **options: Any
) -> int:
    """All K neighbours, as defined; the kernel skips the padding."""
    return 2 * idx[0] * idx[1] * idx[2] * sum(rows * columns for rows, columns in weights)


def _interpolate_mlp(
    features: Sequence[int], idx: Sequence[int], weight: Any, skip: Any, weights: Any, *rest: Any, **options: Any
) -> int:
    layers = 2 * sum(rows * columns for rows, columns in weights)
    return idx[0] * idx[1] * (_INTERPOLATION * features[2] + layers)


def _norm_relu_linear(rows: Sequence[int], *rest: Any, **options: Any) -> int:
    return 2 * rows[0] * rows[1] * rest[-1][0]


def _norm_relu_linear_backward(grad: Sequence[int], rows: Sequence[int], *rest: Any, **options: Any) -> int:
    """Two products: the gradients of the rows and of the linear map."""
    return 4 * rows[0] * rows[1] * grad[1]


def _latent_gnn(
    rows: Sequence[int],
    weights: Any,
    biases: Any,
    eps: Any,
    psi: Any,
    message: Any,
    dims: Sequence[int],
    clouds: int,
    **options: Any,
) -> int:
    """Of Psi in both directions, to the latent nodes, among these and back."""
    nodes, features = psi[0]
    among = sum(2 * d * d * features + d * features * features for d in dims)
    return 2 * (4 * rows[0] * nodes * features + clouds * among)


def _latent_gnn_backward(grad: Any, *arguments: Any, **options: Any) -> int:
    """Two products for each one of the forward pass."""
    *forward, _ = arguments
    return 2 * _latent_gnn(*forward)


OPERATORS = {
    torch.ops.pointnet2_ops.latent_gnn: _latent_gnn,
    torch.ops.pointnet2_ops.latent_gnn_backward: _latent_gnn_backward,
    torch.ops.pointnet2_ops.norm_relu_linear: _norm_relu_linear,
    torch.ops.pointnet2_ops.norm_relu_linear_backward: _norm_relu_linear_backward,
    torch.ops.pointnet2_ops.group_mlp_max: _group_mlp,
    torch.ops.pointnet2_ops.interpolate_mlp: _interpolate_mlp,
    torch.ops.pointnet2_ops.furthest_point_sample: _farthest,
    torch.ops.pointnet2_ops.ball_query: _all_pairs,
    torch.ops.pointnet2_ops.three_nn: _all_pairs,
    torch.ops.pointnet2_ops.three_interpolate: _interpolate,
}
