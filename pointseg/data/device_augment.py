"""`augment.py` in batches on a device: the same changes, their sizes drawn by the same rules, shapes fixed.

Only the mix of two chunks is missing. What acts on single vertices acts on the C candidates of a column, before or
after the points are drawn from them, so that copies of a vertex stay copies.

B chunks, C candidates of a column, N points of a chunk. Coordinates are float32, metres, relative to the block's centre
in x and y and the scene's floor.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from pointseg.config import AugmentConfig, DataConfig
from pointseg.data.augment import JITTER_LIMIT, NORMAL_CELL, NORMAL_CELLS_UP, WAVES

_FIXED_POINT = 2.0**40  # sums of integers do not depend on their order


def drop_vertices(vertices: Tensor, member: Tensor, generator: Generator, config: AugmentConfig) -> Tensor:
    """Thinning and dropped patches: which of `vertices` [B, C, 3] stay of those that `member` [B, C] names."""
    if config.thin < 1:
        member = _thin(member, generator, config.thin)
    if config.patches:
        member = _drop_patches(vertices, member, generator, config.patches, config.patch_radius)
    return member


def move_vertices(vertices: Tensor, member: Tensor, place: Tensor, generator: Generator, config: DataConfig) -> Tensor:
    """The points at `place` [B, N] of `vertices` [B, C, 3], moved by noise, elastic and jitter: [B, N, 3]."""
    augment = config.augment
    xyz = gather_rows(vertices, place)

    def noise(*channels: int) -> Tensor:
        """Standard normal numbers [B, N, ...] that copies of a vertex share."""
        drawn = torch.randn((*member.shape, *channels), generator=generator, device=xyz.device)
        return gather_rows(drawn, place) if channels else drawn.gather(1, place)

    def size(largest: float) -> Tensor:
        return largest * _uniform(len(xyz), generator)[:, None]

    if augment.normal_noise or augment.smooth_noise:
        normals = _normals(vertices, member, xyz, config.block / 2 + config.context)
        along = noise() * size(augment.normal_noise)
        if augment.smooth_noise:
            field = _smooth_field(xyz, generator, augment.smooth_length)
            along = along + (field * normals).sum(dim=2) * size(augment.smooth_noise)
        xyz = xyz + along[..., None] * normals
    if augment.elastic:
        xyz = xyz + _smooth_field(xyz, generator, augment.elastic_length) * size(augment.elastic)[..., None]
    if augment.jitter:
        xyz = xyz + noise(3).clamp(-JITTER_LIMIT, JITTER_LIMIT) * augment.jitter
    return xyz


def moves_vertices(config: AugmentConfig) -> bool:
    """Would `move_vertices` change anything?"""
    return any((config.normal_noise, config.smooth_noise, config.elastic, config.jitter))


def move_chunks(xyz: Tensor, origin: Tensor, generator: Generator, config: DataConfig) -> tuple[Tensor, Tensor]:
    """Scale, mirror images and tilt about each chunk's origin, then a turn about z: `augment.move_chunk`.

    `xyz` [B, N, 3] and `origin` [B, 3] are in the scene's coordinates.
    """
    augment = config.augment
    changed = any((augment.scale, augment.scale_axes, augment.flip, augment.tilt))
    if not (changed or config.rotate):
        return xyz, origin
    local = xyz - origin[:, None]
    matrix = affine_matrices(len(xyz), generator, augment)
    if config.rotate:
        turn = rotation_matrices(len(xyz), generator)
        matrix, origin = multiply(turn, matrix), multiply(origin[:, None], turn.mT)[:, 0]
    return multiply(local, matrix.mT) + origin[:, None], origin


def affine_matrices(batch: int, generator: Generator, config: AugmentConfig) -> Tensor:
    """[B, 3, 3] float32: scale, scale per axis, mirror images and tilt, in this order."""
    factors = torch.ones((batch, 3), device=generator.device)
    if config.scale:
        factors = factors * (1 + config.scale * (2 * _uniform((batch, 1), generator) - 1))
    if config.scale_axes:
        factors = factors * (1 + config.scale_axes * (2 * _uniform((batch, 3), generator) - 1))
    if config.flip:
        mirrored = _uniform((batch, 2), generator) < config.flip
        factors = torch.cat([torch.where(mirrored, -factors[:, :2], factors[:, :2]), factors[:, 2:]], dim=1)
    matrices = torch.diag_embed(factors)
    if not config.tilt:
        return matrices
    heading = 2 * math.pi * _uniform(batch, generator)
    angle = math.radians(config.tilt) * _uniform(batch, generator)
    x, y, zero = heading.cos(), heading.sin(), torch.zeros_like(heading)
    cross = torch.stack([zero, zero, y, zero, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)  # Rodrigues' formula
    sine, versine = angle.sin()[:, None, None], 1 - angle.cos()[:, None, None]
    return multiply(torch.eye(3, device=cross.device) + sine * cross + versine * multiply(cross, cross), matrices)


def rotation_matrices(batch: int, generator: Generator) -> Tensor:
    """[B, 3, 3] float32: turns about the z axis by uniform angles."""
    angle = 2 * math.pi * _uniform(batch, generator)
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def input_dropout(inside: Tensor, generator: Generator, largest: float) -> tuple[Tensor, Tensor]:
    """PointNet++'s: which point each of [B, N] becomes a copy of, int64, and whether it is still supervised."""
    dropped = _uniform(inside.shape, generator) < largest * _uniform((len(inside), 1), generator)
    source = torch.where(dropped, 0, torch.arange(inside.shape[1], device=inside.device))
    return source, inside.gather(1, source) & ~dropped


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a [B, n, 3] times b [B, 3, 3]; never in TensorFloat-32, which has 3 digits."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(dim=-2)


def gather_rows(values: Tensor, place: Tensor) -> Tensor:
    """values [B, C, D] at place [B, N]: [B, N, D]."""
    return values.gather(1, place[..., None].expand(-1, -1, values.shape[2]))


def pick_members(member: Tensor, uniform: Tensor) -> Tensor:
    """Draws with replacement: places [B, N] int64 in the rows of `member` [B, C], from `uniform` [B, N] in [0, 1)."""
    rank = member.cumsum(dim=1)  # [B, C]
    wanted = (uniform.double() * rank[:, -1:]).long() + 1
    return torch.searchsorted(rank, wanted)


def _thin(member: Tensor, generator: Generator, least: float) -> Tensor:
    """A share uniform in [least, 1] of the members stay, one or more."""
    count = member.sum(dim=1)
    kept = (count * (least + (1 - least) * _uniform(len(member), generator))).ceil().long().clamp_min(1)
    key = torch.rand(member.shape, generator=generator, device=member.device, dtype=torch.float64)
    key = key.masked_fill(~member, 2.0)
    return member & (key <= key.sort(dim=1).values.gather(1, kept[:, None] - 1))


def _drop_patches(vertices: Tensor, member: Tensor, generator: Generator, patches: int, radius: float) -> Tensor:
    """0 to `patches` balls around random members are left out; one that would take more than half is not."""
    wanted = (_uniform(len(member), generator) * (patches + 1)).long()
    for number in range(patches):
        centre = gather_rows(vertices, pick_members(member, _uniform((len(member), 1), generator)))
        distance2 = (vertices - centre).square().sum(dim=2)
        outside = member & (distance2 > (radius * _uniform((len(member), 1), generator)).square())
        cut = (wanted > number) & (2 * outside.sum(dim=1) >= member.sum(dim=1))
        member = torch.where(cut[:, None], outside, member)
    return member


def _normals(vertices: Tensor, member: Tensor, xyz: Tensor, half: float) -> Tensor:
    """`augment.estimate_normals` of the members among `vertices` [B, C, 3] at `xyz` [B, N, 3], some of them.

    half: the column reaches so far from its centre, metres.
    """
    low = torch.where(member, vertices[..., 2], torch.inf).amin(dim=1)  # [B]
    high = torch.where(member, vertices[..., 2], -torch.inf).amax(dim=1)
    height = ((high - low) / (NORMAL_CELLS_UP - 1)).clamp_min(NORMAL_CELL)
    corner = torch.stack([torch.full_like(low, -half), torch.full_like(low, -half), low], dim=1)[:, None]  # [B, 1, 3]
    size = torch.stack([torch.full_like(low, NORMAL_CELL), torch.full_like(low, NORMAL_CELL), height], dim=1)[:, None]
    side = math.ceil(2 * half / NORMAL_CELL) + 1

    def cells(points: Tensor) -> tuple[Tensor, Tensor]:
        """Number of each point's cell [B, n] and the point relative to the middle of it [B, n, 3] float64."""
        cell = ((points - corner) / size).long().clamp_min(0)
        cell = torch.cat([cell[..., :2].clamp_max(side - 1), cell[..., 2:].clamp_max(NORMAL_CELLS_UP - 1)], dim=2)
        number = (cell[..., 0] * side + cell[..., 1]) * NORMAL_CELLS_UP + cell[..., 2]
        return number, (points - corner - (cell + 0.5) * size).double()

    number, offset = cells(vertices)
    x, y, z = offset.unbind(dim=2)
    moments = torch.stack([torch.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], dim=2)
    moments = (moments * _FIXED_POINT * member[..., None]).long()
    number = torch.where(member, number, 0)[..., None].expand_as(moments)
    sums = torch.zeros((len(xyz), side * side * NORMAL_CELLS_UP, 10), dtype=torch.int64, device=xyz.device)
    sums.scatter_add_(1, number, moments)

    number, _ = cells(xyz)
    count, *means = (gather_rows(sums, number).double() / _FIXED_POINT).unbind(dim=2)
    x, y, z, xx, yy, zz, xy, xz, yz = (mean / count for mean in means)
    xx, yy, zz, xy, xz, yz = xx - x * x, yy - y * y, zz - z * z, xy - x * y, xz - x * z, yz - y * z
    matrices = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).unflatten(-1, (3, 3))
    return _least_direction(matrices).float()


def _least_direction(covariance: Tensor) -> Tensor:
    """Unit eigenvectors [..., 3] of the smallest eigenvalues of [..., 3, 3], as `augment` finds them."""
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1).clamp_min(1e-12)[..., None, None]
    up = torch.ones(3, dtype=covariance.dtype, device=covariance.device)
    up = up + 1e-6 * (torch.arange(3, device=up.device) == 2)
    power = trace * torch.diag(up) - covariance
    for _ in range(6):
        power = power / power.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]
        power = power @ power
    best = power.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    column = power.gather(-1, best[..., None, None].expand(*best.shape, 3, 1)).squeeze(-1)
    return column / column.norm(dim=-1, keepdim=True)


def _smooth_field(xyz: Tensor, generator: Generator, length: float) -> Tensor:
    """`augment.smooth_field`: a random vector field at `xyz` [B, N, 3], of mean 0 and variance 1."""
    batch, options = len(xyz), {"generator": generator, "device": xyz.device}
    waves = torch.randn((batch, 3, WAVES), **options) / length
    phases = 2 * math.pi * _uniform((batch, 1, WAVES), generator)
    amplitudes = torch.randn((batch, WAVES, 3), **options) * math.sqrt(2 / WAVES)
    return (xyz @ waves + phases).cos() @ amplitudes


def _uniform(shape: int | tuple[int, ...], generator: Generator) -> Tensor:
    """Float32 numbers in [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device)
