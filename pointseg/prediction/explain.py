"""What LatentGNN does in a trained network: what latent nodes collect, and to which points others listen.

Per chunk and level the module has Psi [D, M], how much each of M centres gives to each of D latent nodes, and the
affinity A [M, M] of equation (13), how much each centre hears of each other. Over a scene the nodes mean the same in
every chunk, since weights are shared; affinities are within a chunk.

P points of the scene, N points of a chunk, M centres of a level, D latent nodes of all kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.config import Config
from pointseg.data.inputs import point_inputs
from pointseg.data.tiling import TiledChunk, batches, covering_chunks
from pointseg.errors import InputError
from pointseg.models import LatentGNN
from pointseg.progress import progress_bar
from pointseg.store import floor_height

LISTENERS = 4  # centres of the first level whose affinity is shown


@dataclass(frozen=True)
class LevelContext:
    """One module, over a scene. Distances are horizontal and vertical alike, in metres."""

    centres: np.ndarray  # [Q, 3] float32: the level's centres of all chunks that lie inside their columns
    nodes: np.ndarray  # [Q, D] float32: Psi at them, of unit mean square over a chunk
    scale: float  # lambda of equation (15)
    added: float  # length of what the module adds over that of the features it is added to
    reach: float  # mean distance between a centre and what it hears, weighted by the affinity
    chance: float  # the same if every centre heard all centres of its chunk equally
    far: float  # share of the affinity beyond 0.5 m ...
    far_chance: float  # ... and of all pairs of centres


@dataclass(frozen=True)
class Listener:
    """A centre of the first level and what it hears, within one chunk."""

    point: np.ndarray  # [3] float32
    prediction: int  # the class that the network gives it
    centres: np.ndarray  # [M, 3] float32
    affinity: np.ndarray  # [M] float32, sum 1


@dataclass(frozen=True)
class Explanation:
    levels: tuple[LevelContext, ...]
    listeners: tuple[Listener, ...]


def explain_scene(
    model: nn.Module,
    xyz: np.ndarray,
    rgb: np.ndarray | None,
    config: Config,
    device: torch.device,
    *,
    progress: bool = False,
) -> Explanation:
    """Looks into the LatentGNN modules of `model` while it labels a scene.

    Args:
        model: in evaluation mode, with LatentGNN modules in `model.context` and `model.level_points`.
        xyz: [P, 3] float32 metres, +z up. rgb: [P, 3] uint8, where the network takes colours.

    Raises:
        InputError: a network without LatentGNN.
    """
    modules = list(getattr(model, "context", ()))
    if not modules or not all(isinstance(module, LatentGNN) for module in modules):
        raise InputError(f"run: expected a network with LatentGNN to explain, got {config.model.describe()}")
    levels = [_Sums() for _ in modules]
    middle = (xyz[:, :2].min(axis=0) + xyz[:, :2].max(axis=0)) / 2
    floor, nearest, listeners = floor_height(xyz), np.inf, ()
    chunks = covering_chunks(xyz, config.data, np.random.default_rng([config.evaluate.seed, 0]))
    work = list(batches(chunks, config.evaluate.batch_size))
    for batch in progress_bar(work, desc="explaining", unit="batch", shown=progress):
        seen = _look(model, modules, batch, xyz, rgb, floor, config, device)
        for sums, level in zip(levels, seen.levels, strict=True):
            sums.add(batch, level)
        for number, chunk in enumerate(batch):
            away = float(np.hypot(*(chunk.center - middle)))
            if away < nearest:
                nearest, listeners = away, _listeners(seen, number)
    results = (sums.result(module.scale.item()) for sums, module in zip(levels, modules, strict=True))
    return Explanation(tuple(results), listeners)


@dataclass(frozen=True)
class _Level:
    """One module in a batch of B chunks."""

    points: Tensor  # [B, M, 3]
    index: Tensor  # [B, M]: which of the chunk's points they are
    nodes: Tensor  # [B, M, D]
    affinity: Tensor  # [B, M, M], rows of sum 1
    added: float


@dataclass(frozen=True)
class _Seen:
    levels: list[_Level]
    prediction: Tensor  # [B, N]


@torch.no_grad()
def _look(
    model: nn.Module,
    modules: list[LatentGNN],
    batch: list[TiledChunk],
    xyz: np.ndarray,
    rgb: np.ndarray | None,
    floor: float,
    config: Config,
    device: torch.device,
) -> _Seen:
    """One forward pass, with what goes into and comes out of every module."""
    passed: list[tuple[Tensor, Tensor]] = []
    hooks = [module.register_forward_hook(lambda _, x, y: passed.append((x[0], y))) for module in modules]
    try:
        index = np.stack([chunk.index for chunk in batch])
        colors = None if rgb is None else torch.from_numpy(rgb[index]).to(device)
        origin = torch.tensor([[*chunk.center, floor] for chunk in batch], dtype=torch.float32, device=device)
        raw = torch.from_numpy(xyz[index]).to(device)
        points, features = point_inputs(raw, colors, origin, config.data)
        prediction = model(points, features).argmax(dim=-1)
    finally:
        for hook in hooks:
            hook.remove()
    levels = []
    for module, index, (x, y) in zip(modules, model.level_indices(points), passed, strict=True):
        affinity = module.effective_affinity(x).mean(dim=1)
        affinity = affinity / affinity.sum(dim=-1, keepdim=True).clamp_min(1e-20)
        centres = torch.gather(raw, 1, index.unsqueeze(2).expand(-1, -1, 3))
        nodes = module.latent_weights(x).transpose(1, 2)
        levels.append(_Level(centres, index, nodes, affinity, float((y - x).norm() / x.norm())))
    return _Seen(levels, prediction)


def _listeners(seen: _Seen, number: int) -> tuple[Listener, ...]:
    """Of chunk `number`: a centre of each of its commonest predicted classes, the one nearest to the class's middle."""
    level = seen.levels[0]
    points, classes = level.points[number], seen.prediction[number][level.index[number]]
    found = []
    counts = torch.bincount(classes)
    for label in counts.argsort(descending=True)[:LISTENERS].tolist():
        members = (classes == label).nonzero().flatten()
        if len(members):
            middle = points[members].mean(dim=0)
            row = members[(points[members] - middle).square().sum(dim=1).argmin()]
            arrays = (points[row], points, level.affinity[number, row])
            point, centres, affinity = (array.cpu().numpy() for array in arrays)
            found.append(Listener(point, label, centres, affinity))
    return tuple(found)


class _Sums:
    """What is added up of one level over the batches of a scene."""

    def __init__(self) -> None:
        self.centres: list[np.ndarray] = []
        self.nodes: list[np.ndarray] = []
        self.means: list[list[float]] = []

    def add(self, batch: list[TiledChunk], level: _Level) -> None:
        distance = torch.cdist(level.points, level.points)
        far = (distance > 0.5).float()
        for number, chunk in enumerate(batch):
            inside = chunk.scored[level.index[number].cpu().numpy()]
            self.centres.append(level.points[number].cpu().numpy()[inside])
            self.nodes.append(level.nodes[number].cpu().numpy()[inside])
            hearing = level.affinity[number].sum(dim=1) > 0.5  # a centre that no node reaches has a row of zeros
            if hearing.any():
                weight, apart, beyond = (of[number, hearing] for of in (level.affinity, distance, far))
                heard = [(weight * of).sum(dim=1).mean() for of in (apart, beyond)]
                self.means.append([level.added, *map(float, (heard[0], apart.mean(), heard[1], beyond.mean()))])

    def result(self, scale: float) -> LevelContext:
        means = np.mean(self.means, axis=0) if self.means else np.zeros(5)
        added, reach, chance, far, far_chance = (float(mean) for mean in means)
        return LevelContext(
            centres=np.concatenate(self.centres),
            nodes=np.concatenate(self.nodes),
            scale=scale,
            added=added,
            reach=reach,
            chance=chance,
            far=far,
            far_chance=far_chance,
        )
