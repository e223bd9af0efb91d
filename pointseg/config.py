"""Every setting of an experiment with its only default; those of the networks are `config_networks.py`'s.

`config_file.py` reads and writes them as YAML. A value out of range is an `InputError` that names the setting.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from pointseg.config_checks import OutOfRange, not_negative, positive, share
from pointseg.config_networks import (
    LatentGNNConfig,
    LevelConfig,
    ModelConfig,
    PointCNNConfig,
    PointNetConfig,
    ScaleConfig,
    VoxelCNNConfig,
    XConvConfig,
)
from pointseg.errors import InputError

__all__ = [
    "AugmentConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "LatentGNNConfig",
    "LevelConfig",
    "ModelConfig",
    "PointCNNConfig",
    "PointNetConfig",
    "Protocol",
    "ScaleConfig",
    "TrainConfig",
    "VoxelCNNConfig",
    "XConvConfig",
    "as_tree",
]

Protocol = Literal["every_vertex", "benchmark", "pointnet2", "pointnet2_literal"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of training chunks, each off by default; their meaning stands in `data/augment.py`.

    A size is the largest: each chunk draws its own, uniform between none and that.
    """

    # Of the vertices of a block, before its points are drawn.
    thin: float = 1.0  # least share of the vertices that is kept; the share is uniform between this and 1
    patches: int = 0  # up to this many balls of vertices are left out
    patch_radius: float = 0.3  # largest radius of such a ball, metres
    normal_noise: float = 0.0  # white noise along the normals: largest standard deviation, metres
    smooth_noise: float = 0.0  # noise along the normals that is smooth in space: the same
    smooth_length: float = 0.2  # over which it is smooth, metres
    elastic: float = 0.0  # displacement that is smooth in space: largest standard deviation, metres
    elastic_length: float = 0.5  # over which it is smooth, metres
    jitter: float = 0.0  # white noise of each coordinate: standard deviation, metres; cut off at four of them
    # Of the chunk as a whole.
    scale: float = 0.0  # by one factor, uniform in 1 +- scale
    scale_axes: float = 0.0  # by a factor for each axis, uniform in 1 +- scale_axes
    flip: float = 0.0  # probability of a mirror image, for x and for y
    tilt: float = 0.0  # about a random horizontal axis by at most this, degrees
    mix: float = 0.0  # probability that half of the points come from a chunk of another scene
    # PointNet++'s released script has 0.875: this times u of the points become copies of the first and weigh nothing.
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        not_negative(self, "patches", "normal_noise", "smooth_noise", "elastic", "jitter", "tilt")
        positive(self, "patch_radius", "smooth_length", "elastic_length")
        share(self, "thin", "flip", "mix", "input_dropout")
        for name in ("scale", "scale_axes"):
            if not 0 <= getattr(self, name) < 1:
                raise OutOfRange(f"{name} must be 0 or more and less than 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the points come from and how training chunks are cut (PointNet++'s ScanNet protocol)."""

    store: str = "data/store"  # folder with train.h5, val.h5, test.h5 as `pointseg preprocess` writes them
    num_points: int = 8192  # points of a chunk, drawn with replacement
    color: bool = False  # feed r, g, b in 0..1 as point features; the paper's system does not
    height: bool = False  # feed the height above the scene's floor, metres, as a point feature
    center: bool = False  # move the block's centre to x = y = 0 and the scene's floor to z = 0
    block: float = 1.5  # side of a chunk's square base, metres; full height
    context: float = 0.2  # margin around the block whose points are seen but not supervised, metres
    slack: float = 0.01  # points this far outside the block are still supervised, metres
    # A draw is valid when this share of its points is annotated. 0.7 is what PointNet++'s paper and script say.
    # Run by Python 2 the script divides integers and so asks for 1.0: not one unannotated point, context included.
    min_annotated: float = 0.7
    min_occupied: float = 0.02  # ... and this share of the block's 31 x 31 x 62 cells is occupied
    max_draws: int = 10  # then the last non-empty draw is taken
    rotate: bool = True  # augmentation: rotation about z by a uniform angle
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # further ones, not in the paper's recipe
    chunks_per_scene: int = 1  # draws per scan and epoch
    workers: int = 2  # loader processes per training process; 0 loads in the training process
    device_chunks: bool = False  # the training split lies on the device, 13 bytes a point, and chunks are cut there

    def __post_init__(self) -> None:
        positive(self, "num_points", "block", "max_draws", "chunks_per_scene")
        not_negative(self, "context", "slack", "workers")
        share(self, "min_annotated", "min_occupied")
        if self.device_chunks and self.augment.mix:
            raise OutOfRange(f"augment.mix must be 0 with device_chunks, got {self.augment.mix}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation; the defaults are the paper's: Adam, staircase decay, 200 epochs of batch 64."""

    epochs: int = 200
    batch_size: int = 64  # chunks per step over all processes together
    accumulate: int = 1  # parts in which a process takes its share of a batch, one after another, to save memory
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-3
    schedule: Literal["staircase", "cosine", "onecycle"] = "staircase"  # what they are: training/schedule.py
    warmup: float = 0.0  # share of the steps over which the learning rate rises
    lr_decay: float = 0.7  # staircase: factor every `decay_samples` chunks seen
    lr_floor: float = 1e-5
    decay_samples: int = 200_000
    bn_momentum: float = 0.5  # PyTorch's convention; times `bn_decay` every `decay_samples`
    bn_decay: float = 0.5
    bn_floor: float = 0.01
    weight_decay: float = 0.0  # of matrices; biases and BatchNorm's parameters have none
    clip_norm: float = 0.0  # a longer gradient is shortened to this; 0: none is
    label_smoothing: float = 0.0  # share of the target that is spread evenly over all classes
    # Weights to begin with: "" random ones, "pretrained" the network that ships, else a run directory or a checkpoint.
    init: str = ""
    ema: float = 0.0  # decay of a moving average of the weights, kept and evaluated beside them; 0: none
    class_weights: bool = True  # 1 / log(1.2 + frequency) per class
    unannotated: Literal["ignore", "class"] = "ignore"  # "class": PointNet++'s 21st output, trained like any other
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16: autocast
    sync_batchnorm: bool = False  # BatchNorm statistics of all processes' chunks, not of each process's own
    compile: bool = False  # torch.compile the network
    cuda_graph: bool = False  # record the whole step as a CUDA graph; one process on a GPU
    seed: int = 0
    log_every: int = 10  # steps between lines of metrics.jsonl
    checkpoint_every: int = 1  # epochs between checkpoints; the last step always writes one
    keep_every: int = 0  # epochs between checkpoints that are kept beside the last one; 0: none
    evaluate_every: int = 0  # epochs between evaluations on the evaluation split; 0: none while training
    validate_every: int = 0  # epochs between glances at loss and accuracy on chunks of that split; 0: none
    validate_chunks: int = 64  # how many chunks, always the same
    on_nonfinite: Literal["stop", "skip"] = "stop"  # a loss that is not finite names its scenes, then stops or skips

    def __post_init__(self) -> None:
        positive(self, "epochs", "batch_size", "lr", "lr_decay", "decay_samples", "log_every", "checkpoint_every")
        positive(self, "accumulate", "validate_chunks")
        not_negative(self, "lr_floor", "weight_decay", "clip_norm", "seed")
        not_negative(self, "evaluate_every", "validate_every", "keep_every")
        share(self, "bn_momentum", "bn_decay", "bn_floor", "warmup", "label_smoothing")
        if not 0 <= self.ema < 1:
            raise OutOfRange(f"ema must be 0 or more and less than 1, got {self.ema}")
        if self.schedule == "onecycle" and not 0 < self.warmup < 1:
            raise OutOfRange(f"warmup must be between 0 and 1 with schedule onecycle, got {self.warmup}")
        for name, start in (("lr_floor", "lr"), ("bn_floor", "bn_momentum")):
            if getattr(self, name) > getattr(self, start):
                raise OutOfRange(f"{name} must be at most {start}, {getattr(self, start)}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Scoring of whole scenes."""

    split: Literal["train", "val", "test"] = "val"  # "test" has no labels: predictions can be exported, not scored
    # "every_vertex": each vertex gets a prediction. "benchmark": the same, scored as ScanNet's benchmark does.
    # "pointnet2": PointNet++'s released script, drawn points only. "pointnet2_literal": the same with all its quirks.
    protocols: tuple[Protocol, ...] = ("every_vertex", "pointnet2")
    batch_size: int = 8  # chunks per forward pass
    averaged: bool = True  # score and predict with the average of the weights where the run kept one (train.ema)
    votes: int = 1  # passes over a scene, each with another permutation and rotation ("every_vertex" only)
    slack: float = 0.001  # "pointnet2": points this far outside a column are still scored, metres
    min_inside: float = 0.01  # "pointnet2": columns with a smaller share of inside points are dropped
    literal_batch: int = 32  # "pointnet2_literal": columns of a batch; the released script's default
    resamples: int = 1000  # draws of the scenes, with replacement, behind each 95 % interval; 0: no intervals
    pictures: int = 4  # scenes, half of them the worst and half the best, whose every point and prediction is kept
    display_points: int = 20_000  # of every scene, evenly thinned, are kept for the report's 3D views; 0: none
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "protocols", "batch_size", "votes", "literal_batch")
        not_negative(self, "slack", "resamples", "pictures", "display_points", "seed")
        if len(set(self.protocols)) < len(self.protocols):
            raise OutOfRange(f"protocols must be named once each, got {', '.join(self.protocols)}")
        share(self, "min_inside")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvalConfig = field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        for key, value in _values(as_tree(self), ""):
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{key} must be finite, got {value}")
            if key.endswith("seed") and value >= 2**63:
                raise InputError(f"{key} must be less than 2**63, got {value}")
        centres = self.model.fewest_points
        if self.data.num_points < centres:
            raise InputError(
                f"data.num_points must be at least the {centres} centres that the network samples, "
                f"got {self.data.num_points}"
            )
        absolute = self.model.network in ("pointnet", "pointcnn", "voxel_cnn")
        if absolute and not self.data.center:
            raise InputError(f"data.center must be true with model.network {self.model.network}, got false")
        if self.model.network == "voxel_cnn" and (self.data.color or self.data.height):
            raise InputError("data.color and data.height must be false with model.network voxel_cnn, got true")


def as_tree(config: Config) -> dict[str, Any]:
    """Dictionaries and lists all the way down, every setting present."""
    return msgspec.to_builtins(dataclasses.asdict(config))


def _values(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of dictionaries and lists with its dotted name."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield prefix, tree
        return
    for name, value in items:
        yield from _values(value, f"{prefix}.{name}" if prefix else str(name))
