"""What a reproduction of the paper's Table 3 trains: the rows, and how much of the paper's budget each scale takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pointseg.config import Config
from pointseg.config_file import PACKAGED, load_config
from pointseg.errors import InputError

# Of the paper's schedule: 200 epochs of ScanNet's 1201 training scans.
PAPER_CHUNKS = 200 * 1201


@dataclass(frozen=True)
class Row:
    """A network of the table: a configuration's name and the row of `pointseg.scannet.published` it stands for."""

    config: str
    published: str

    @property
    def file(self) -> Path:
        return PACKAGED / f"{self.config}.yaml"


ROWS = (
    Row("pointnet2_ssg", "PointNet++ SSG"),
    Row("pointnet2_ssg_nonlocal", "PointNet++ SSG + non-local"),
    Row("pointnet2_ssg_latentgnn", "PointNet++ SSG + LatentGNN"),
    Row("pointnet2_ssg_latentgnn_k3", "PointNet++ SSG + LatentGNN, 3 kernels"),
)
# With --all. The first row stays the one that the others are compared with.
OTHER_ROWS = (
    Row("pointnet2_msg", "PointNet++ MSG"),
    Row("pointnet", "PointNet"),
    Row("pointcnn", "PointCNN"),
    Row("voxel_cnn", "3DCNN"),
)


@dataclass(frozen=True)
class Scale:
    """How long a row is trained, and what differs from its configuration for all rows alike."""

    chunks: int | None  # training chunks of a run; the decay is shortened in proportion. None: as configured
    overrides: tuple[str, ...] = ()
    own_rooms: bool = False  # makes a few small synthetic rooms of its own


SCALES = {
    "smoke": Scale(
        chunks=24,
        overrides=(
            *("data.num_points=1024", "data.workers=0", "train.batch_size=4", "train.lr=0.003"),
            *("evaluate.resamples=50", "evaluate.pictures=1"),
        ),
        own_rooms=True,
    ),
    # Small batches for many steps; evaluation of drawn points costs as much as training does, so every vertex only.
    "cpu": Scale(
        chunks=24_000,
        overrides=("train.batch_size=16", "train.precision=bfloat16", "evaluate.protocols=[every_vertex]"),
    ),
    "paper": Scale(chunks=None),
}


def row_config(row: Row, scale: Scale, store: Path, scenes: int, overrides: tuple[str, ...] = ()) -> Config:
    """The configuration of a row's runs, but for their seed.

    Args:
        scenes: of the training split; they decide how many epochs the scale's chunks are.
        overrides: `section.key=value`, for all rows alike; they come last.
    """
    config = load_config(row.file, (f"data.store={store}", *scale.overrides, *overrides))
    return config if scale.chunks is None else shortened(config, scale.chunks, scenes)


def shortened(config: Config, chunks: int, scenes: int) -> Config:
    """`config` trained for about `chunks` chunks, whole epochs; its decay is shortened as they are to the paper's."""
    if chunks < config.train.batch_size:
        raise InputError(f"chunks must be at least the batch of {config.train.batch_size}, got {chunks}")
    epoch = scenes * config.data.chunks_per_scene
    epochs = max(round(chunks / epoch), 1)
    decay = max(round(config.train.decay_samples * epochs * epoch / PAPER_CHUNKS), 1)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=epochs, decay_samples=decay))
