"""Training chunks cut on the device: the whole split lies there, batches are made by few kernels of fixed shapes.

The rule is that of `chunks.cut_block` and `chunks.draw_points`; from the same uniform numbers come the same blocks, and
the same points where a scene's order is that of its grid. No number comes back to the host, and nothing that is on the
device has a size that depends on the data, so a batch may be made within a CUDA graph.

Every point of the split takes 13 bytes, 16 with colour.

S scenes, P points of all of them one behind another, each scene's sorted by grid cell; G cells of all scenes;
B chunks a batch, T tries a chunk, C candidates a try, N points a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pointseg.config import DataConfig
from pointseg.data.chunks import OCCUPANCY_GRID
from pointseg.data.dataset import Batch, StepSampler
from pointseg.data.device_augment import (
    drop_vertices,
    gather_rows,
    input_dropout,
    move_chunks,
    move_vertices,
    moves_vertices,
    pick_members,
)
from pointseg.data.inputs import point_inputs
from pointseg.store import SceneStore


@dataclass(frozen=True)
class DeviceScenes:
    """A split on a device."""

    xyz: Tensor  # [P, 3] float32
    label: Tensor  # [P] uint8
    rgb: Tensor | None  # [P, 3] uint8
    first: Tensor  # [S] int64: first point of each scene
    count: Tensor  # [S] int64: its points
    low: Tensor  # [S, 3] float64: smallest coordinates
    high: Tensor  # [S, 3] float64: largest coordinates
    floor: Tensor  # [S] float32
    grid_shape: Tensor  # [S, 2] int64
    grid_size: Tensor  # [S] float64, metres
    grid_first: Tensor  # [S] int64: row of each scene's first cell in `cell_starts`
    cell_starts: Tensor  # [G + S] int64: first point of each cell, and each scene's end
    rows: int  # rows of cells that a box touches, at most
    candidates: int  # C: points in the cells that a box touches, at most
    ignore: int  # the label of points that are not annotated

    @classmethod
    def load(cls, store: SceneStore, config: DataConfig, device: torch.device) -> DeviceScenes:
        """Reads all scenes of the store, one at a time; only what chunks of `config` need."""
        total, scenes = int(store.offsets[-1]), range(len(store))
        xyz = torch.empty((total, 3), device=device)
        label = torch.empty(total, dtype=torch.uint8, device=device)
        rgb = torch.empty((total, 3), dtype=torch.uint8, device=device) if config.color else None
        grids = [store.grid(i) for i in scenes]
        for i, grid in enumerate(grids):
            rows = slice(store.offsets[i], store.offsets[i + 1])
            xyz[rows] = torch.from_numpy(grid.xyz.copy()).to(device)
            label[rows] = torch.from_numpy(grid.label.copy()).to(device)
            if rgb is not None:
                rgb[rows] = torch.from_numpy(store[i].rgb.take(grid.order, axis=0)).to(device)
        # A box of side w touches at most floor(w / cell) + 2 cells a side.
        touched = [int((config.block + 2 * config.context) / grid.size) + 2 for grid in grids]
        extents = store.extents.astype(np.float64)

        def on_device(values: object, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)

        return cls(
            xyz=xyz,
            label=label,
            rgb=rgb,
            first=on_device(store.offsets[:-1], torch.int64),
            count=on_device(np.diff(store.offsets), torch.int64),
            low=on_device(extents[:, 0], torch.float64),
            high=on_device(extents[:, 1], torch.float64),
            floor=on_device([store.floor(i) for i in scenes], torch.float32),
            grid_shape=on_device([grid.shape for grid in grids], torch.int64),
            grid_size=on_device([grid.size for grid in grids], torch.float64),
            grid_first=on_device(np.cumsum([0, *(len(grid.starts) for grid in grids[:-1])]), torch.int64),
            cell_starts=on_device(
                np.concatenate([grid.starts + first for grid, first in zip(grids, store.offsets, strict=False)]),
                torch.int64,
            ),
            rows=max(min(side, grid.shape[0]) for side, grid in zip(touched, grids, strict=True)),
            candidates=max(_fullest(grid.starts, grid.shape, side) for side, grid in zip(touched, grids, strict=True)),
            ignore=store.meta.ignore,
        )


@dataclass(frozen=True)
class Columns:
    """Tries, each a block of full height with its context: a row of C candidates, some of which are in the column."""

    index: Tensor  # [..., C] int64 into the split; anything where `member` is false
    member: Tensor  # [..., C] bool
    low: Tensor  # [..., 3] float64: the block itself
    high: Tensor  # [..., 3] float64

    def chosen(self, choice: Tensor) -> Columns:
        """One try [B, ...] of each chunk's [B, T, ...]: number `choice` [B] int64."""
        chunk = torch.arange(len(choice), device=choice.device)
        return Columns(*(values[chunk, choice] for values in (self.index, self.member, self.low, self.high)))


def cut_columns(scenes: DeviceScenes, scene: Tensor, centre: Tensor, config: DataConfig) -> Columns:
    """Columns around random vertices; `scene` [B] int64, `centre` [B, T] float64 uniform in [0, 1) says which."""
    vertex = scenes.first[scene, None] + (centre * scenes.count[scene, None]).long()  # [B, T]
    middle = scenes.xyz[vertex, :2].double()
    low, high = (torch.empty((*vertex.shape, 3), dtype=torch.float64, device=vertex.device) for _ in range(2))
    low[..., :2], high[..., :2] = middle - config.block / 2, middle + config.block / 2
    low[..., 2], high[..., 2] = scenes.low[scene, 2, None], scenes.high[scene, 2, None]
    column_low, column_high = low[..., :2] - config.context, high[..., :2] + config.context

    # Cells the column touches: `rows` runs of the points, one for each row of cells along y.
    origin, size, shape = scenes.low[scene, None, :2], scenes.grid_size[scene, None, None], scenes.grid_shape[scene]
    first_cell = ((column_low - origin) / size).floor().long().clamp_min(0)  # [B, T, 2]
    last_cell = torch.minimum(((column_high - origin) / size).floor().long(), shape[:, None] - 1)
    x = first_cell[..., :1] + torch.arange(scenes.rows, device=vertex.device)  # [B, T, rows]
    row = scenes.grid_first[scene, None, None] + torch.minimum(x, last_cell[..., :1]) * shape[:, None, 1:]
    start = scenes.cell_starts[row + first_cell[..., 1:]]
    length = scenes.cell_starts[row + last_cell[..., 1:] + 1] - start
    end = torch.where(x <= last_cell[..., :1], length, 0).cumsum(dim=2)  # of each run among the candidates

    # Candidate j is in the first run that ends after j.
    number = torch.arange(scenes.candidates, device=vertex.device).expand(*vertex.shape, -1).contiguous()
    run = torch.searchsorted(end, number, right=True)
    exists = run < scenes.rows
    run = run.clamp_max(scenes.rows - 1)
    index = number + (start - end + length).gather(2, run)
    index = torch.where(exists, index, vertex[..., None])
    xy = scenes.xyz[index, :2]
    member = exists & _within(xy, column_low, column_high)
    return Columns(index, member, low, high)


def valid_tries(scenes: DeviceScenes, columns: Columns, config: DataConfig) -> Tensor:
    """Which columns [B, T] may become chunks: enough of their points annotated, enough cells of the block occupied."""
    annotated = columns.member & (scenes.label[columns.index] != scenes.ignore)
    share = annotated.sum(dim=-1).double() / columns.member.sum(dim=-1)
    return (share >= config.min_annotated) & (_occupied_share(scenes, columns, config) >= config.min_occupied)


def first_valid(valid: Tensor) -> Tensor:
    """Number [B] of the first valid try of [B, T]; of the last one where none is."""
    return (valid.cumsum(dim=1) == 0).sum(dim=1).clamp_max(valid.shape[1] - 1)


class DeviceChunks:
    """Batches like those of `dataset.training_loader`, made on the device; one pass over the rest of a run.

    The numbers of a step are a function of (seed, step, process): a resumed run goes on as if it had never stopped.
    They are other numbers than the loader's, and depend on how many processes there are.
    """

    def __init__(self, store: SceneStore, config: DataConfig, sampler: StepSampler, device: torch.device) -> None:
        self.scenes = DeviceScenes.load(store, config, device)
        self.config = config
        self.sampler = sampler
        self.device = device
        self.generator = torch.Generator(device)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        sampler, scenes = self.sampler, len(self.scenes.first)
        for step, draws in enumerate(sampler, sampler.first_step):
            seed = np.random.SeedSequence([sampler.seed, step, sampler.rank])
            self.generator.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
            scene = torch.tensor([draw.item % scenes for draw in draws])
            if self.device.type == "cuda":
                scene = scene.pin_memory()
            yield self.make(scene.to(self.device, non_blocking=True))

    def make(self, scene: Tensor) -> Batch:
        """A chunk of each of `scene` [B] int64, from the generator's next numbers."""
        scenes, config, random = self.scenes, self.config, self.generator
        tries = torch.rand((len(scene), config.max_draws), dtype=torch.float64, generator=random, device=self.device)
        columns = cut_columns(scenes, scene, tries, config)
        column = columns.chosen(first_valid(valid_tries(scenes, columns, config)))
        origin = torch.cat([column.low[:, :2] + config.block / 2, scenes.floor[scene, None]], dim=1).float()
        vertices = scenes.xyz[column.index] - origin[:, None]  # [B, C, 3]
        member = drop_vertices(vertices, column.member, random, config.augment)
        draws = torch.rand((len(scene), config.num_points), dtype=torch.float64, generator=random, device=self.device)
        place = pick_members(member, draws)  # [B, N]
        index = column.index.gather(1, place)
        xyz, label = scenes.xyz[index], scenes.label[index].long()
        rgb = None if scenes.rgb is None else scenes.rgb[index]
        inside = _within(xyz, column.low - config.slack, column.high + config.slack)
        if moves_vertices(config.augment):
            xyz = move_vertices(vertices, member, place, random, config) + origin[:, None]
        xyz, origin = move_chunks(xyz, origin, random, config)
        if config.augment.input_dropout:
            source, inside = input_dropout(inside, random, config.augment.input_dropout)
            xyz, label = gather_rows(xyz, source), label.gather(1, source)
            rgb = None if rgb is None else gather_rows(rgb, source)
        xyz, features = point_inputs(xyz, rgb, origin, config)
        return Batch(xyz=xyz, features=features, label=label, inside=inside, scene=scene)


def _within(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which of `points` [..., n, D] float32 are in the boxes [..., D] float64: [..., n] bool, exactly.

    A float32 number is at least x where it is at least the smallest float32 that is: the bounds are rounded inwards.
    """
    down, up = (torch.full((), sign * torch.inf, device=points.device) for sign in (-1, 1))
    low32, high32 = low.float(), high.float()
    low32 = torch.where(low32.double() < low, torch.nextafter(low32, up), low32).unsqueeze(-2)
    high32 = torch.where(high32.double() > high, torch.nextafter(high32, down), high32).unsqueeze(-2)
    return ((points >= low32) & (points <= high32)).all(dim=-1)


def _occupied_share(scenes: DeviceScenes, columns: Columns, config: DataConfig) -> Tensor:
    """Share [B, T] of each block's cells that hold a point; the arithmetic is that of `chunks.cut_block`."""
    xyz = scenes.xyz[columns.index]
    inside = columns.member & _within(xyz, columns.low - config.slack, columns.high + config.slack)
    extent = (columns.high - columns.low).clamp_min(1e-6)
    key, cells = torch.zeros((), dtype=torch.int64, device=xyz.device), int(OCCUPANCY_GRID.prod())
    for axis, count in enumerate(OCCUPANCY_GRID.tolist()):
        place = (xyz[..., axis] - columns.low[..., axis, None]) / extent[..., axis, None] * count
        key = key * count + place.long().clamp(0, count - 1)
    occupied = torch.zeros((*inside.shape[:-1], cells + 1), dtype=torch.bool, device=xyz.device)
    occupied.scatter_(-1, torch.where(inside, key, cells), True)  # the cell too many takes what is not inside
    return occupied[..., :-1].sum(dim=-1).double() / cells


def _fullest(starts: np.ndarray, shape: tuple[int, int], side: int) -> int:
    """The most points in any square of `side` x `side` neighbouring cells of a grid."""
    totals = np.pad(np.diff(starts).reshape(shape).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    x, y = (min(side, count) for count in shape)
    return int((totals[x:, y:] - totals[:-x, y:] - totals[x:, :-y] + totals[:-x, :-y]).max())
