"""Every operator, and every gradient, beside its definition: what `pointseg doctor` runs on each device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pointnet2_ops import latent, ops, reference, rows
from torch import Tensor

DIFFERS = "another answer than the definition"


def self_test(device: torch.device) -> list[tuple[str, str | None]]:
    """Each operator and gradient on `device` beside its definition on the CPU: None where they agree, else why not."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    xyz = torch.randint(0, 256, (2, 300, 3), generator=generator) / 64.0  # squared distances are exact
    some, features = xyz[:, :40].contiguous(), normal(2, 8, 300)
    index = torch.randint(0, 300, (2, 40, 6), generator=generator, dtype=torch.int32)
    three, weight = index[:, :, :3].contiguous(), torch.rand(2, 40, 3, generator=generator)
    cases: dict[str, tuple[Any, ...]] = {
        "furthest_point_sample": (xyz, 40),
        "ball_query": (0.8, 16, xyz, some),
        "three_nn": (xyz, some),
        "gather_operation": (features, index[:, :, 0].contiguous()),
        "grouping_operation": (features, index),
        "three_interpolate": (features, three, weight),
    }
    results = [
        (name, _difference(getattr(ops, name), getattr(reference, name), arguments, device))
        for name, arguments in cases.items()
    ]
    for name in ("gather_operation", "grouping_operation", "three_interpolate"):
        pair = (_gradients(getattr(module, name)) for module in (ops, reference))
        results.append((f"{name}'s gradient", _difference(*pair, cases[name], device)))
    if device.type != "cpu":
        return results

    # The operators of the CPU alone.
    points, biases = features.transpose(1, 2).contiguous(), [normal(8), normal(5)]
    flat, count = points[0], torch.randint(1, 5, (300,), generator=generator).float()
    norm = (*reference.row_moments(flat), 1 + normal(8).abs(), normal(8), 1e-5)
    linear = normal(5, 8)
    only_cpu: tuple[tuple[Any, str, tuple[Any, ...]], ...] = (
        (ops, "first_in_voxel", (xyz[0], 0.3)),
        (ops, "group_mlp_max", (xyz, some, points, index, [normal(8, 3), normal(5, 8)], biases)),
        (ops, "interpolate_mlp", (points, three, weight, None, [normal(8, 8), normal(5, 8)], biases)),
        (rows, "first_equal_row", (some[:, index[0, :, 0].long() % 40].contiguous(),)),
        (rows, "distinct_neighbours", (index % 7, 300)),
        (rows, "segment_max", (flat, torch.tensor([0, 1, 8, 120, 300], dtype=torch.int32))),
        (rows, "row_moments", (flat, count)),
        (rows, "norm_relu", (flat, *norm)),
        (rows, "norm_relu_linear", (flat, count, *norm, linear)),
        (rows, "dropout", (flat, torch.tensor(7), 32768)),
    )
    for module, name, arguments in only_cpu:
        results.append((name, _difference(getattr(module, name), getattr(reference, name), arguments, device)))
    for name, backward, arguments in (
        ("norm_relu", rows.norm_relu_backward, (normal(300, 8), flat, None, *norm)),
        ("norm_relu_linear", rows.norm_relu_linear_backward, (normal(300, 5), flat, None, *norm, linear)),
    ):
        results.append((f"{name}'s gradient", _difference(backward, _norm_gradients, arguments, device)))
    sizes, maps = (8, 6, 6), [normal(6, 4), normal(6, 4)]
    norms = [1 + normal(size).abs() for size in sizes], [normal(size) for size in sizes], [1.0] * 3
    nodes = (flat, *norms, maps, normal(2, 4, 4), [2, 4], 3)
    moved = _moved(rows.move_statistics), _moved(reference.move_statistics)
    results.append(("move_statistics", _difference(*moved, (normal(8), normal(8), *norm[:2]), device)))
    results.append(("latent_gnn", _difference(_latent_gnn, reference.latent_gnn, nodes, device)))
    gradients = (normal(300, 8) / 100, *nodes)
    results.append(("latent_gnn's gradient", _difference(_latent_backward, _latent_gradients, gradients, device)))
    return results


def _moved(move: Callable[..., None]) -> Callable[..., Any]:
    """What `move_statistics` makes of one norm's statistics and its counter of calls."""

    def moved(mean: Tensor, variance: Tensor, *batch: Tensor) -> tuple[Tensor, ...]:
        statistics = mean.clone(), variance.clone(), torch.tensor(3)
        move(*([one] for one in statistics), *([one] for one in batch), 0.2, 10)
        return statistics

    return moved


def _latent_gnn(*arguments: Any) -> tuple[Tensor, ...]:
    return latent.latent_gnn(*arguments)[:2]


def _latent_backward(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Of rows, weights, biases, psi and message."""
    kept = latent.latent_gnn(*arguments)
    rows, norms, psi, message = latent.latent_gnn_backward(grad, *arguments, kept)
    sizes = [len(weight) for weight in arguments[1]]
    return rows, *norms[0].split(sizes), *norms[1].split(sizes), *psi, message


def _latent_gradients(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    rows, weights, biases, eps, psi, message, *rest = arguments
    leaves = [x.clone().requires_grad_() for x in (rows, *weights, *biases, *psi, message)]
    out = reference.latent_gnn(leaves[0], leaves[1:4], leaves[4:7], eps, leaves[7:9], leaves[9], *rest)[0]
    return torch.autograd.grad(out, leaves, grad)


def _difference(
    operator: Callable[..., Any], definition: Callable[..., Any], arguments: tuple[Any, ...], device: torch.device
) -> str | None:
    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(one) for one in value]
        return value.to(device) if isinstance(value, Tensor) else value

    expected = definition(*arguments)
    try:
        got = operator(*map(moved, arguments))
    except Exception as error:
        return (str(error) or type(error).__name__).splitlines()[0]
    pairs = zip(*((value if isinstance(value, tuple) else (value,)) for value in (got, expected)), strict=True)
    return None if all(torch.allclose(one.cpu(), other, atol=1e-4) for one, other in pairs) else DIFFERS


def _gradients(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator's gradients with respect to its arguments of floats, instead of its result."""

    def gradients(*arguments: Any) -> tuple[Tensor, ...]:
        arguments = tuple(a.clone().requires_grad_() if a.is_floating_point() else a for a in arguments)
        loss = operator(*arguments).square().sum()
        return torch.autograd.grad(loss, [a for a in arguments if a.is_floating_point()])

    return gradients


def _norm_gradients(
    grad: Tensor,
    rows: Tensor,
    count: None,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *linear: Tensor,
) -> tuple[Tensor, ...]:
    """What `norm_relu_backward` gives, or with a layer behind `norm_relu_linear_backward`; through the moments too."""
    inputs = [tensor.clone().requires_grad_() for tensor in (rows, weight, bias, *linear)]
    out = reference.norm_relu(inputs[0], *reference.row_moments(inputs[0]), inputs[1], inputs[2], eps)
    for weights in inputs[3:]:
        out = out @ weights.T
    return torch.autograd.grad(out, inputs, grad)
