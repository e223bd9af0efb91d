"""Layers on rows that are never written out: the reference's values with every instruction set, and its errors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from clouds import room
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference
from torch import Tensor

WIDTHS = [(5,), (16, 40), (32, 33, 64), (70, 24, 7)]  # whole packs of channels and parts of them


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def chain(inputs: int, widths: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of layers whose outputs have about unit size."""
    draw, sizes = generator(), (inputs, *widths)
    weights = [torch.randn(b, a, generator=draw) / a**0.5 for a, b in zip(sizes[:-1], widths, strict=True)]
    return weights, [torch.randn(width, generator=draw) for width in widths]


def check(operator: str, *arguments: Tensor | list[Tensor] | None) -> None:
    """In float32 and with products of bfloat16, of which a number of unit size has 8 bits."""

    def doubled(x):
        if isinstance(x, list):
            return [part.double() for part in x]
        return x.double() if x is not None and x.is_floating_point() else x

    expected = getattr(reference, operator)(*map(doubled, arguments))
    for name in every_instruction_set():
        got = getattr(ops, operator)(*arguments)
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: n + text)
        half = getattr(ops, operator)(*arguments, bfloat16=True)
        torch.testing.assert_close(half.double(), expected, rtol=0.02, atol=0.02, msg=lambda text, n=name: n + text)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("with_features", [False, True])
def test_group_mlp_max_equals_reference(widths: tuple[int, ...], with_features: bool):
    xyz = room(2, 300)
    new_xyz = xyz[:, 7:60]
    idx = ops.ball_query(0.4, 20, xyz, new_xyz)  # padded with the first neighbour where balls are not full
    assert (idx[..., 1:] == idx[..., :1]).any()
    features = torch.randn(2, 300, widths[0], generator=generator()) if with_features else None
    check("group_mlp_max", xyz, new_xyz, features, idx, *chain(3, widths))


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("with_skip", [False, True])
def test_interpolate_mlp_equals_reference(widths: tuple[int, ...], with_skip: bool):
    draw = generator()
    features = torch.randn(2, 40, 36, generator=draw)
    idx = torch.randint(40, (2, 250, 3), generator=draw)
    weight = torch.rand(2, 250, 3, generator=draw)
    skip = torch.randn(2, 250, 36, generator=draw) if with_skip else None
    check("interpolate_mlp", features, idx, weight, skip, *chain(36, widths))


def test_one_neighbour_and_no_centres():
    xyz = room(2, 50)
    weights, biases = chain(3, (8, 8))
    idx = torch.arange(50, dtype=torch.int32).expand(2, 50).unsqueeze(2)
    check("group_mlp_max", xyz, xyz.flip(1), None, idx, weights, biases)
    assert ops.group_mlp_max(xyz, xyz[:, :0], None, idx[:, :0], weights, biases).shape == (2, 0, 8)


def test_bfloat16_rounds_rows_and_weights_where_the_machine_multiplies_them():
    draw = generator()
    features, idx = torch.randn(1, 40, 33, generator=draw), torch.randint(40, (1, 300, 3), generator=draw)
    arguments = features, idx, torch.tensor([1.0, 0.0, 0.0]).expand(1, 300, 3), None
    weights, biases = chain(33, (70,))
    rounded = [x.bfloat16().float() for x in (features, *weights)]
    expected = reference.interpolate_mlp(rounded[0], *arguments[1:], rounded[1:], biases).bfloat16().float()
    for name in every_instruction_set():
        got = ops.interpolate_mlp(*arguments, weights, biases, bfloat16=True)
        if name == "avx512" and torch.cpu._is_avx512_bf16_supported():
            assert (got == expected).float().mean() > 0.99  # the order of a sum may change its last digit
        else:
            assert torch.equal(got, ops.interpolate_mlp(*arguments, weights, biases))


def test_nan_arrives_at_the_output():
    xyz = room(1, 50)
    weights, biases = chain(3, (16, 16))
    weights[0][3, 0] = torch.nan
    idx = ops.ball_query(0.4, 20, xyz, xyz[:, :9])
    for _ in every_instruction_set():
        for bfloat16 in (False, True):
            assert ops.group_mlp_max(xyz, xyz[:, :9], None, idx, weights, biases, bfloat16=bfloat16).isnan().all()


def test_wrong_input():
    xyz, (weights, biases) = room(2, 50), chain(3, (8, 8))
    idx = torch.zeros(2, 9, 4, dtype=torch.int32)
    centres = xyz[:, :9]
    with pytest.raises(ValueError, match=r"weights\[1\] must be \[out, 8\], got \[8, 3\]"):
        ops.group_mlp_max(xyz, centres, None, idx, [weights[0], weights[0]], biases)
    with pytest.raises(ValueError, match=r"biases\[0\] must be \[8\], got \[3\]"):
        ops.group_mlp_max(xyz, centres, None, idx, weights, [torch.zeros(3), biases[1]])
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        ops.group_mlp_max(xyz, centres, None, idx, [], [])
    with pytest.raises(ValueError, match=r"features must be \[2, 50, 8\]"):
        ops.group_mlp_max(xyz, centres, xyz, idx, weights, biases)
    with pytest.raises(ValueError, match="xyz must be float32, got Double"):
        ops.group_mlp_max(xyz.double(), centres, None, idx, weights, biases)
    with pytest.raises(IndexError, match=r"idx must be in \[0, 50\), got 50"):
        ops.group_mlp_max(xyz, centres, None, idx + 50, weights, biases)
    with pytest.raises(IndexError, match=r"idx must be in \[0, 50\), got -1"):
        ops.interpolate_mlp(xyz, idx[:, :, :3] - 1, torch.zeros(2, 9, 3), None, weights, biases)


def test_opcheck():
    xyz, (weights, biases) = room(2, 50), chain(3, (8, 6))
    idx = ops.ball_query(0.4, 5, xyz, xyz[:, :9])
    library = torch.ops.pointnet2_ops
    torch.library.opcheck(library.group_mlp_max, (xyz, xyz[:, :9], None, idx, weights, biases))
    torch.library.opcheck(library.interpolate_mlp, (xyz, idx[:, :, :3], xyz[:, :9], None, weights, biases))
