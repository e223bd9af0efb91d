"""The operators in plain PyTorch: slow, on any device, and the definition of what the compiled operators compute.

Legend: B clouds, N points, M centres or known points, K neighbours, C channels. Arguments are as in `ops`, unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

ROWS = 64  # centres or unknown points per block of the distance matrix


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """((dx*dx + dy*dy) + dz*dz) over the last dimension, every operation rounded; a and b broadcast."""
    dx, dy, dz = (a - b).unbind(-1)
    return (dx * dx + dy * dy) + dz * dz


def furthest_point_sample(xyz: Tensor, npoint: int) -> Tensor:
    """xyz [B, N, 3] -> int32 [B, npoint]."""
    B, N, _ = xyz.shape
    idx = torch.zeros(B, npoint, dtype=torch.int32, device=xyz.device)
    if B == 0 or N == 0:
        return idx
    nearest = torch.full((B, N), torch.inf, dtype=xyz.dtype, device=xyz.device)
    position = torch.arange(N, device=xyz.device)
    chosen = torch.zeros(B, 1, dtype=torch.int64, device=xyz.device)
    for i in range(npoint):
        idx[:, i] = chosen[:, 0]
        centre = xyz.gather(1, chosen[..., None].expand(B, 1, 3))
        nearest = torch.minimum(nearest, squared_distance(xyz, centre))
        farthest = nearest.amax(1, keepdim=True)
        chosen = torch.where(nearest == farthest, position, N).amin(1, keepdim=True)
    return idx


def ball_query_with_count(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> tuple[Tensor, Tensor]:
    """xyz [B, N, 3], new_xyz [B, M, 3] -> int32 idx [B, M, nsample], int32 count [B, M]."""
    B, N, _ = xyz.shape
    limit = torch.tensor(radius, dtype=xyz.dtype, device=xyz.device).square()
    position = torch.arange(N, device=xyz.device)
    rows = [xyz.new_empty((B, 0, nsample), dtype=torch.int64)]
    counts = [xyz.new_empty((B, 0), dtype=torch.int64)]
    for centres in new_xyz.split(ROWS, 1):
        hit = squared_distance(xyz[:, None], centres[:, :, None]) < limit  # [B, m, N]
        found = torch.where(hit, position, N).sort(-1).values[..., :nsample]
        found = torch.nn.functional.pad(found, (0, nsample - found.shape[-1]), value=N)
        first = torch.where(found[..., :1] < N, found[..., :1], 0)
        rows.append(torch.where(found < N, found, first))
        counts.append(hit.sum(-1).clamp(max=nsample))
    return torch.cat(rows, 1).int(), torch.cat(counts, 1).int()


def ball_query(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    return ball_query_with_count(radius, nsample, xyz, new_xyz)[0]


def three_nn(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """unknown [B, N, 3], known [B, M, 3] -> distance [B, N, 3], int32 idx [B, N, 3]."""
    B, M, _ = known.shape
    distances = [unknown.new_empty((B, 0, 3))]
    rows = [unknown.new_empty((B, 0, 3), dtype=torch.int64)]
    for points in unknown.split(ROWS, 1):
        d2, idx = squared_distance(points[:, :, None], known[:, None]).sort(dim=-1, stable=True)
        missing = max(0, 3 - M)
        d2 = torch.nn.functional.pad(d2[..., :3], (0, missing), value=torch.inf)
        idx = torch.nn.functional.pad(idx[..., :3], (0, missing))
        distances.append(d2.sqrt())
        rows.append(torch.where(d2 < torch.inf, idx, 0))
    return torch.cat(distances, 1), torch.cat(rows, 1).int()


def first_in_voxel(xyz: Tensor, size: float) -> Tensor:
    points = xyz.double()
    seen: set[tuple[int, ...]] = set()
    first = []
    for cell in ((points - points.amin(0)) / size).floor().long().tolist() if len(xyz) else []:
        first.append(tuple(cell) not in seen)
        seen.add(tuple(cell))
    return torch.tensor(first, dtype=torch.bool)


def gather_operation(features: Tensor, idx: Tensor) -> Tensor:
    """features [B, C, N], idx [B, M] -> [B, C, M]."""
    return features.gather(2, idx.long()[:, None].expand(-1, features.shape[1], -1))


def grouping_operation(features: Tensor, idx: Tensor) -> Tensor:
    """features [B, C, N], idx [B, M, K] -> [B, C, M, K]."""
    return gather_operation(features, idx.flatten(1)).unflatten(2, idx.shape[1:])


def three_interpolate(features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """features [B, C, M], idx and weight [B, N, 3] -> [B, C, N] = (w0 f0 + w1 f1) + w2 f2."""
    wide = torch.float64 if features.dtype == torch.float64 else torch.float32
    term = grouping_operation(features, idx).to(wide) * weight.to(wide)[:, None]  # [B, C, N, 3]
    return ((term[..., 0] + term[..., 1]) + term[..., 2]).to(features.dtype)


def group_mlp_max(
    xyz: Tensor,
    new_xyz: Tensor,
    features: Tensor | None,
    idx: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> Tensor:
    """xyz [B, N, 3], new_xyz [B, M, 3], features [B, N, C0], idx [B, M, K] -> [B, M, C of the last layer]."""

    def rows(x: Tensor) -> Tensor:
        return grouping_operation(x.transpose(1, 2), idx).permute(0, 2, 3, 1)

    y = linear(rows(xyz) - new_xyz.unsqueeze(2), weights[0], biases[0])
    y = (y if features is None else y + rows(features)).relu()
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        y = linear(y, weight, bias).relu()
    return y.amax(dim=2)


def interpolate_mlp(
    features: Tensor,
    idx: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> Tensor:
    """features [B, M, C], idx and weight [B, N, 3], skip [B, N, C] -> [B, N, C of the last layer]."""
    y = three_interpolate(features.transpose(1, 2), idx, weight).transpose(1, 2)
    y = y if skip is None else y + skip
    for matrix, bias in zip(weights, biases, strict=True):
        y = linear(y.relu(), matrix, bias)
    return y


def first_equal_row(rows: Tensor) -> Tensor:
    """rows [B, N, C] -> int32 [B, N], the first row of the cloud that is equal."""
    return (rows[:, :, None] == rows[:, None]).all(dim=3).int().argmax(dim=2).int()


def distinct_neighbours(idx: Tensor, points: int, first: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """idx [B, M, K], first [B, N] -> point, centre, count [R] and start [B * M + 1], int32."""
    point, centre, count, start = [], [], [], [0]
    for ball, (cloud, slots) in enumerate((b, row) for b, balls in enumerate(idx.tolist()) for row in balls):
        kinds = [cloud * points + (k if first is None else int(first[cloud, k])) for k in slots]
        point += dict.fromkeys(kinds)
        count += [kinds.count(kind) for kind in dict.fromkeys(kinds)]
        centre += [ball] * (len(point) - start[-1])
        start.append(len(point))
    return tuple(torch.tensor(x, dtype=torch.int32) for x in (point, centre, count, start))


def segment_max(rows: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """rows [R, C], start [S + 1] -> [S, C] and int32 [S, C]."""
    parts = [(rows[a:b].max(dim=0), a) for a, b in pairwise(start.tolist())]
    return torch.stack([part.values for part, _ in parts]), torch.stack([part.indices.int() + a for part, a in parts])


def row_moments(rows: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """rows [R, C], count [R] -> mean and variance [C] of the rows written out."""
    written = rows if count is None else rows.repeat_interleave(count.long(), dim=0)
    return written.mean(dim=0), written.var(dim=0, unbiased=False)


def move_statistics(
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    tracked: Sequence[Tensor],
    batch_means: Sequence[Tensor],
    batch_variances: Sequence[Tensor],
    momentum: float,
    count: int,
) -> None:
    """In place, all [C] but tracked []; the running variances are of count - 1 rows."""
    for mean, variance, calls, batch_mean, batch_variance in zip(
        means, variances, tracked, batch_means, batch_variances, strict=True
    ):
        mean += momentum * (batch_mean - mean)
        variance += momentum * (batch_variance * count / (count - 1) - variance)
        calls += 1


def norm_relu(
    rows: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, *, relu: bool = True
) -> Tensor:
    """rows [R, C] -> [R, C], everything else [C]."""
    y = (rows - mean) / (variance + eps).sqrt() * weight + bias
    return y.relu() if relu else y


def norm_relu_linear(
    rows: Tensor,
    count: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    linear: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """rows [R, C], linear [Co, C] -> y [R, Co], its mean and variance [Co]."""
    y = norm_relu(rows, mean, variance, weight, bias, eps) @ linear.T
    return y, *row_moments(y, count)


def latent_gnn(
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    eps: Sequence[float],
    psi: Sequence[Tensor],
    message: Tensor,
    dims: Sequence[int],
    clouds: int,
) -> tuple[Tensor, Tensor]:
    """rows [B * N, 2 * c], psi 2 x [D, c], message [K, c, c] -> [B * N, K * c] and moments [2, channels of all]."""
    moments = [row_moments(rows)]
    unit = [
        normalize(x, dim=1) for x in norm_relu(rows, *moments[0], weights[0], biases[0], eps[0], relu=False).chunk(2, 1)
    ]
    parts = []
    for i in (1, 2):
        y = linear(unit[i - 1], psi[i - 1])
        moments.append(row_moments(y))
        parts.append(norm_relu(y, *moments[i], weights[i], biases[i], eps[i]).view(clouds, -1, y.shape[1]))
    collect, scatter = normalize(parts[0], dim=1), parts[1]
    latent = collect.transpose(1, 2) @ unit[0].view(clouds, -1, unit[0].shape[1])
    heard = []
    for nodes, to_points, weight in zip(
        latent.split(list(dims), 1), scatter.split(list(dims), 2), message, strict=True
    ):
        cosines = normalize(nodes, dim=2) @ normalize(nodes, dim=2).transpose(1, 2)
        heard.append(normalize(to_points, dim=2) @ (cosines.softmax(dim=2) @ nodes @ weight))
    result = torch.cat(heard, dim=2).flatten(0, 1)
    moments.append(row_moments(result))
    return result, torch.stack([torch.cat(part) for part in zip(*moments, strict=True)])


def dropout(x: Tensor, seed: Tensor, dropped: int) -> Tensor:
    """Four elements, in the order of memory, share a number of SplitMix64: its lowest 16 bits decide the first one."""

    def shift(z: Tensor, bits: int) -> Tensor:  # of 64 bits without a sign
        return (z >> bits) & (2 ** (64 - bits) - 1)

    def signed(value: int) -> int:
        return (value + 2**63) % 2**64 - 2**63

    z = (torch.arange(1, x.numel() // 4 + 2) * signed(0x9E3779B97F4A7C15)) + seed
    z = (z ^ shift(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ shift(z, 27)) * signed(0x94D049BB133111EB)
    z = z ^ shift(z, 31)
    draws = torch.stack([shift(z, bits) & 0xFFFF for bits in (0, 16, 32, 48)], dim=1).flatten()
    kept = (draws[: x.numel()] >= dropped).view(x.shape)
    return x * (kept * (2**16 / max(2**16 - dropped, 1)))
