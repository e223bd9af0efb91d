"""Clouds and features that the operator tests share.

Coordinates k/64 make squared distances exact in float32, so ties are real ties on every device.
"""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor


def lattice(B: int, N: int, span: int = 16, offset: float = 0.0, seed: int = 0) -> Tensor:
    """[B, N, 3] float32 on the lattice k/64, 2 * span + 1 steps an axis around `offset`: many ties and duplicates."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-span, span + 1, (B, N, 3), generator=generator).float() / 64 + offset


def room(B: int, N: int, seed: int = 0) -> Tensor:
    """[B, N, 3] float32 on a floor, two walls and a table of a 1.5 m x 1.5 m column, 2.5 m high."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(B, N, 3, generator=generator) * torch.tensor([1.5, 1.5, 2.5])
    surface = torch.randint(4, (B, N), generator=generator)
    for number, (axis, value) in enumerate([(2, 0.0), (0, 0.0), (1, 1.5), (2, 0.75)]):
        xyz[..., axis] = torch.where(surface == number, value, xyz[..., axis])
    return xyz


def _collinear() -> Tensor:
    steps = torch.randint(-40, 40, (2, 90, 1), generator=torch.Generator().manual_seed(1)).float() / 64
    return steps * torch.tensor([1.0, 2.0, -1.0])


def _coplanar() -> Tensor:
    return lattice(2, 130, span=6, seed=2) * torch.tensor([1.0, 1.0, 0.0])


# Clouds [B, N, 3] at the edges of the definition.
CLOUDS: dict[str, Tensor] = {
    "lattice": lattice(3, 200, span=4),
    "sparse lattice": lattice(2, 333, span=64),
    "one point": lattice(2, 1),
    "two points": lattice(2, 2),
    "no clouds": lattice(0, 7),
    "all equal": torch.full((2, 50, 3), 0.25),
    "duplicates": lattice(2, 25).repeat(1, 4, 1),
    "collinear": _collinear(),
    "coplanar": _coplanar(),
    "near the origin": lattice(2, 100, span=1) / 64,
    "10 km away": lattice(2, 150, span=8, offset=10_000.0),
    "room": room(2, 500),
    "room in float64": room(1, 300).double(),
    "large room": room(1, 5000, seed=3),
}


@st.composite
def clouds(draw: st.DrawFn, max_points: int = 150) -> Tensor:
    """[B, N, 3] on a lattice: few or many distinct places, flat or not, near or far, float32 or float64."""
    N = draw(st.integers(1, max_points))
    span = draw(st.sampled_from([0, 1, 3, 20, 2000]))
    offset = draw(st.sampled_from([0.0, -3.0, 9_000.0]))
    xyz = lattice(draw(st.integers(0, 3)), N, span, offset, seed=draw(st.integers(0, 2**31)))
    scale = torch.tensor(draw(st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 1.0)])))
    return (xyz * scale).to(draw(st.sampled_from([torch.float32, torch.float64])))


def features(B: int, C: int, N: int, channels_last: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random features [B, C, N] with memory [B, C, N], or [B, N, C] if `channels_last`."""
    x = torch.randn(B, N, C, generator=torch.Generator().manual_seed(B * 10007 + C * 101 + N)).to(dtype)
    return x.transpose(1, 2) if channels_last else x.transpose(1, 2).contiguous()


def indices(shape: tuple[int, ...], points: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return torch.randint(points, shape, generator=torch.Generator().manual_seed(points), dtype=dtype)


def has_channels_last_memory(x: Tensor) -> bool:
    """Whether x [B, C, ...] lies in memory as a contiguous [B, ..., C]."""
    return x.movedim(1, -1).is_contiguous()
