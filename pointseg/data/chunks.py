"""Training crops of a scene: PointNet++'s ScanNet protocol (Qi et al. 2017, released training script).

P points of the scene, Q points of a column, N = `DataConfig.num_points`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.config import DataConfig
from pointseg.store import SceneStore

# The cells whose occupation makes a draw valid: columns of a block are cut 31 x 31 x 62.
OCCUPANCY_GRID = np.array([31, 31, 62])


@dataclass(frozen=True)
class Block:
    """The vertices of a block and of its context."""

    index: np.ndarray  # [Q] int64 ascending, into the scene
    xyz: np.ndarray  # [Q, 3] float32, metres, in the scene's coordinates
    label: np.ndarray  # [Q] uint8, train ids or IGNORE
    inside: np.ndarray  # [Q] bool, in the block itself: to be supervised; the rest is context
    origin: np.ndarray  # [3] float32: the block's centre in x and y, the scene's floor

    def take(self, kept: np.ndarray) -> Block:
        """The block with the vertices `kept` only: int64, ascending, into the block."""
        return Block(self.index[kept], self.xyz[kept], self.label[kept], self.inside[kept], self.origin)


@dataclass(frozen=True)
class Chunk:
    """N points of one block, drawn with replacement."""

    xyz: np.ndarray  # [N, 3] float32, metres, in the scene's coordinates
    rgb: np.ndarray | None  # [N, 3] uint8; None: nobody asked for it
    label: np.ndarray  # [N] uint8, train ids or IGNORE
    inside: np.ndarray  # [N] bool, in the block itself: to be supervised; the rest is context
    index: np.ndarray  # [N] int64 into the scene
    origin: np.ndarray  # [3] float32: the block's centre in x and y, the scene's floor


def sample_chunk(store: SceneStore, scene: int, rng: np.random.Generator, config: DataConfig) -> Chunk:
    """A chunk of a random block: `cut_block`, then `draw_points`; with colours if `config.color`."""
    block = cut_block(store, scene, rng, config)
    return draw_points(block, store[scene].rgb if config.color else None, rng, config.num_points)


def cut_block(store: SceneStore, scene: int, rng: np.random.Generator, config: DataConfig) -> Block:
    """Cuts a full-height block around a random vertex.

    A block is `config.block` metres square with `config.context` metres around it. It is valid when enough of its
    points are annotated and enough of its cells are occupied; after `config.max_draws` blocks the last one is taken.
    A block always holds the vertex it is centred on, so none is empty.

    Args:
        store: labelled scenes. scene: which of them. rng: the only source of chance.
    """
    xyz = store[scene].xyz
    low, high = store.extents[scene].astype(np.float64)
    for _ in range(config.max_draws):
        center = xyz[rng.integers(len(xyz))].astype(np.float64)
        block_low = np.array([*(center[:2] - config.block / 2), low[2]])
        block_high = np.array([*(center[:2] + config.block / 2), high[2]])
        column = store.box(scene, block_low[:2] - config.context, block_high[:2] + config.context)
        coordinates = np.ascontiguousarray(column.xyz.T, np.float64)  # [3, Q]: numpy is several times faster along Q
        lowest, highest = block_low[:, None] - config.slack, block_high[:, None] + config.slack
        inside = ((coordinates >= lowest) & (coordinates <= highest)).all(axis=0)  # [Q]
        annotated = np.count_nonzero(column.label != store.meta.ignore) / len(column.label)
        occupied = _occupied_share(coordinates.compress(inside, axis=1), block_low, block_high)
        if annotated >= config.min_annotated and occupied >= config.min_occupied:
            break
    order = np.argsort(column.index, kind="stable")  # few runs that ascend: four times as fast as the default
    index, origin = column.index.take(order).astype(np.int64), np.array([*center[:2], store.floor(scene)], np.float32)
    return Block(index, column.xyz.take(order, axis=0), column.label.take(order), inside.take(order), origin)


def draw_points(block: Block, rgb: np.ndarray | None, rng: np.random.Generator, count: int) -> Chunk:
    """`count` vertices of the block, drawn with replacement; `rgb` is the whole scene's, [P, 3], or None."""
    drawn = rng.integers(len(block.index), size=count)
    index = block.index.take(drawn)
    rgb = None if rgb is None else rgb.take(index, axis=0)
    xyz, label, inside = block.xyz.take(drawn, axis=0), block.label.take(drawn), block.inside.take(drawn)
    return Chunk(xyz, rgb, label, inside, index, block.origin)


def _occupied_share(coordinates: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Share of the block's cells that hold a point; `coordinates` [3, Q] lie in [low, high] or a little outside."""
    extent = np.maximum(high - low, 1e-6)  # a flat scene has no height
    cells = coordinates - low[:, None]
    cells /= extent[:, None]
    cells *= OCCUPANCY_GRID[:, None]
    x, y, z = np.clip(cells.astype(np.int64), 0, OCCUPANCY_GRID[:, None] - 1)
    occupied = np.zeros(OCCUPANCY_GRID, bool)
    occupied.reshape(-1)[(x * OCCUPANCY_GRID[1] + y) * OCCUPANCY_GRID[2] + z] = True
    return np.count_nonzero(occupied) / occupied.size


def rotate_z(xyz: np.ndarray, angle: float) -> np.ndarray:
    """`xyz` [N, 3] turned by `angle` radians about the z axis; float32, computed in float64."""
    x, y = xyz[:, 0].astype(np.float64), xyz[:, 1].astype(np.float64)
    turned = xyz.astype(np.float32)
    turned[:, 0] = np.cos(angle) * x - np.sin(angle) * y
    turned[:, 1] = np.sin(angle) * x + np.cos(angle) * y
    return turned
