"""Random changes of training data: pure functions of arrays and a random generator.

What acts on single vertices (noise, thinning, patches, elastic, jitter) acts on the block's Q vertices before the N
points of the chunk are drawn from them with replacement: all copies of a vertex stay copies. What moves everything
alike acts on the chunk. Labels, and which points are supervised, go with their vertex and never change, but for input
dropout.

Coordinates are metres, float32; +z is up.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pointseg.config import AugmentConfig, DataConfig
from pointseg.data.chunks import Block, Chunk, rotate_z

NORMAL_CELL = 0.1  # metres; vertices in a cube of this side share a normal
NORMAL_CELLS_UP = 128  # a tall scene has taller cells, not more
WAVES = 24  # cosines that make up a smooth field
JITTER_LIMIT = 4.0  # standard deviations


def augment_block(block: Block, rng: np.random.Generator, config: AugmentConfig) -> Block:
    """The block with fewer and moved vertices, as `config` says; at least one vertex stays. Off: the block itself."""
    if config.thin < 1:
        block = block.take(thin(len(block.xyz), rng, config.thin))
    if config.patches:
        block = block.take(drop_patches(block.xyz, rng, config.patches, config.patch_radius))
    xyz = block.xyz
    if config.normal_noise or config.smooth_noise:
        xyz = normal_noise(xyz, rng, config.normal_noise, config.smooth_noise, config.smooth_length)
    if config.elastic:
        xyz = elastic(xyz, rng, config.elastic, config.elastic_length)
    if config.jitter:
        xyz = jitter(xyz, rng, config.jitter)
    return block if xyz is block.xyz else dataclasses.replace(block, xyz=xyz)


def move_chunk(chunk: Chunk, rng: np.random.Generator, config: DataConfig) -> Chunk:
    """The chunk scaled, mirrored and tilted about its origin, then turned about the z axis.

    The angle is drawn first, so that it is the same whatever else is switched on.
    """
    angle = rng.uniform(0, 2 * np.pi) if config.rotate else None
    matrix = affine_matrix(rng, config.augment)
    xyz, origin = chunk.xyz, chunk.origin
    if matrix is not None:
        xyz = ((xyz - origin) @ matrix.T + origin).astype(np.float32)
    if angle is not None:
        xyz, origin = rotate_z(xyz, angle), rotate_z(origin[None], angle)[0]
    return dataclasses.replace(chunk, xyz=xyz, origin=origin)


def thin(count: int, rng: np.random.Generator, least: float) -> np.ndarray:
    """Which of `count` vertices stay, int64 ascending: a share uniform in [least, 1] of them, one or more."""
    kept = max(1, math.ceil(count * rng.uniform(least, 1)))
    return np.sort(rng.choice(count, kept, replace=False, shuffle=False))


def drop_patches(xyz: np.ndarray, rng: np.random.Generator, patches: int, radius: float) -> np.ndarray:
    """Which vertices stay, int64 ascending, when 0 to `patches` balls of radius up to `radius` are left out.

    Balls are centred on random vertices of `xyz` [Q, 3]. One that would take more than half of what is left is not cut.
    """
    kept = np.arange(len(xyz))
    for _ in range(rng.integers(patches + 1)):
        rest = xyz[kept]
        center = rest[rng.integers(len(rest))]
        outside = ((rest - center) ** 2).sum(axis=1) > (radius * rng.random()) ** 2
        if 2 * np.count_nonzero(outside) >= len(rest):
            kept = kept[outside]
    return kept


def normal_noise(
    xyz: np.ndarray, rng: np.random.Generator, white: float, smooth: float, smooth_length: float
) -> np.ndarray:
    """`xyz` [Q, 3] moved along the normals of its surfaces, by noise of its own a vertex and by noise smooth in space.

    The standard deviations are uniform in [0, white] and in [0, smooth]. Smooth noise is the normal part of a smooth
    vector field, which does not depend on which side a normal points to.
    """
    normals = estimate_normals(xyz)
    along = rng.standard_normal(len(xyz), dtype=np.float32) * np.float32(white * rng.random())
    if smooth:
        field = smooth_field(xyz, rng, smooth_length) * np.float32(smooth * rng.random())
        along += np.einsum("qi,qi->q", field, normals)
    return xyz + along[:, None] * normals


def elastic(xyz: np.ndarray, rng: np.random.Generator, size: float, length: float) -> np.ndarray:
    """`xyz` [Q, 3] moved by a vector field that is smooth over `length`, of standard deviation uniform in [0, size]."""
    return xyz + smooth_field(xyz, rng, length) * np.float32(size * rng.random())


def jitter(xyz: np.ndarray, rng: np.random.Generator, size: float) -> np.ndarray:
    """`xyz` [Q, 3] plus normal noise of standard deviation `size` on every coordinate, at most 4 times as much."""
    noise = rng.standard_normal(xyz.shape, dtype=np.float32)
    return xyz + np.clip(noise, -JITTER_LIMIT, JITTER_LIMIT) * np.float32(size)


def affine_matrix(rng: np.random.Generator, config: AugmentConfig) -> np.ndarray | None:
    """[3, 3] float64: scale, scale per axis, mirror images, tilt, in this order; None when all are off."""
    if not (config.scale or config.scale_axes or config.flip or config.tilt):
        return None
    factors = np.ones(3)
    if config.scale:
        factors *= rng.uniform(1 - config.scale, 1 + config.scale)
    if config.scale_axes:
        factors *= rng.uniform(1 - config.scale_axes, 1 + config.scale_axes, 3)
    if config.flip:
        factors[:2] *= np.where(rng.random(2) < config.flip, -1, 1)
    return tilt_matrix(rng, config.tilt) @ np.diag(factors) if config.tilt else np.diag(factors)


def tilt_matrix(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """[3, 3]: rotation about a uniform horizontal axis by an angle uniform in [0, degrees] (Rodrigues' formula)."""
    heading, angle = rng.uniform(0, 2 * np.pi), math.radians(rng.uniform(0, degrees))
    x, y = math.cos(heading), math.sin(heading)
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])  # cross @ v = (x, y, 0) x v
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def mix_chunks(one: Chunk, other: Chunk) -> Chunk:
    """The first half of the points of either (the larger one of `one`), origins laid upon another.

    After Mix3D (Nekrasov et al. 2021), but the number of points stays. Points are drawn independently, so the first
    ones are as good as any. `index` is -1 where the point is of `other`.
    """
    half = len(one.xyz) // 2
    most = len(one.xyz) - half
    moved = (other.xyz[:half] + (one.origin - other.origin)).astype(np.float32)
    pairs = ((one.label, other.label), (one.inside, other.inside))
    label, inside = (np.concatenate([a[:most], b[:half]]) for a, b in pairs)
    rgb = None if one.rgb is None else np.concatenate([one.rgb[:most], other.rgb[:half]])
    index = np.concatenate([one.index[:most], np.full(half, -1, one.index.dtype)])
    return Chunk(np.concatenate([one.xyz[:most], moved]), rgb, label, inside, index, one.origin)


def input_dropout(chunk: Chunk, rng: np.random.Generator, largest: float) -> Chunk:
    """PointNet++'s: a share u * largest of the points, u uniform, become copies of the first and are not supervised."""
    dropped = rng.random(len(chunk.xyz)) < largest * rng.random()
    source = np.where(dropped, 0, np.arange(len(dropped)))
    return Chunk(
        xyz=chunk.xyz[source],
        rgb=None if chunk.rgb is None else chunk.rgb[source],
        label=chunk.label[source],
        inside=chunk.inside & ~dropped,
        index=chunk.index[source],
        origin=chunk.origin,
    )


def estimate_normals(xyz: np.ndarray) -> np.ndarray:
    """Unit normals [Q, 3] float32 of the surfaces that `xyz` [Q, 3] samples, of either sign.

    Vertices in a cube of 10 cm share the direction in which they spread least: cheap, and good enough to say where
    noise goes. Up, where there are too few to tell.
    """
    low = xyz.min(axis=0)
    extent = xyz.max(axis=0) - low
    size = np.array([NORMAL_CELL, NORMAL_CELL, max(NORMAL_CELL, extent[2] / (NORMAL_CELLS_UP - 1))], np.float32)
    cells = ((xyz - low) / size).astype(np.int32)
    key = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    filled = np.bincount(key) > 0
    slot = (np.cumsum(filled) - 1)[key]  # cell of each vertex, empty ones not counted
    count = np.bincount(slot)
    x, y, z = (xyz - low - (cells + np.float32(0.5)) * size).T  # small, so that the products lose no bits
    mean = [np.bincount(slot, v) / count for v in (x, y, z)]

    def covariance(a: int, b: int, product: np.ndarray) -> np.ndarray:
        return np.bincount(slot, product) / count - mean[a] * mean[b]

    xx, yy, zz = covariance(0, 0, x * x), covariance(1, 1, y * y), covariance(2, 2, z * z)
    xy, xz, yz = covariance(0, 1, x * y), covariance(0, 2, x * z), covariance(1, 2, y * z)
    matrices = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=-1).reshape(-1, 3, 3)
    return _least_direction(matrices).astype(np.float32)[slot]


def smooth_field(xyz: np.ndarray, rng: np.random.Generator, length: float) -> np.ndarray:
    """A random vector field at `xyz` [Q, 3], float32, of mean 0 and standard deviation 1 for each component.

    A sum of plane waves, whose covariance is that of a Gaussian process, exp(-d^2 / (2 length^2)) at distance d
    (random Fourier features, Rahimi and Recht 2007).
    """
    waves = rng.standard_normal((3, WAVES), dtype=np.float32) / np.float32(length)
    phases = rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)
    amplitudes = rng.standard_normal((WAVES, 3), dtype=np.float32) * np.float32(math.sqrt(2 / WAVES))
    return np.cos((xyz - xyz[0]) @ waves + phases) @ amplitudes


def _least_direction(covariance: np.ndarray) -> np.ndarray:
    """Unit eigenvectors [n, 3] of the smallest eigenvalues of symmetric matrices [n, 3, 3], of either sign.

    Powers of trace * I - C by repeated squaring: far cheaper than `eigh` on many small matrices.
    """
    trace = np.trace(covariance, axis1=1, axis2=2)
    floor = np.maximum(trace, 1e-12)[:, None, None] * np.diag([1.0, 1.0, 1.000001])  # up, if all directions are equal
    power = floor - covariance
    for _ in range(6):
        power /= np.trace(power, axis1=1, axis2=2)[:, None, None]
        power = power @ power
    best = np.argmax(np.einsum("nii->ni", power), axis=1)  # of a positive matrix of rank 1: its longest column
    column = power[np.arange(len(power)), :, best]
    return column / np.linalg.norm(column, axis=1, keepdims=True)
