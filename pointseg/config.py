"""Every setting of an experiment with its only default. `config_file.py` reads and writes them as YAML.

A value out of range is an `InputError` that names the key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from pointseg.errors import InputError

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
        _not_negative(self, "patches", "normal_noise", "smooth_noise", "elastic", "jitter", "tilt")
        _positive(self, "patch_radius", "smooth_length", "elastic_length")
        _share(self, "thin", "flip", "mix", "input_dropout")
        for name in ("scale", "scale_axes"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be 0 or more and less than 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the points come from and how training chunks are cut (PointNet++'s ScanNet protocol)."""

    store: str = "data/store"  # folder with train.h5, val.h5, test.h5 as `pointseg preprocess` writes them
    num_points: int = 8192  # points of a chunk, drawn with replacement
    color: bool = False  # feed r, g, b in 0..1 as point features; the paper's system does not
    height: bool = False  # feed the height above the scene's floor, metres, as a point feature
    center: bool = (
        False  # move the block's centre to x = y = 0 and the scene's floor to z = 0, for absolute coordinates
    )
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
        _positive(self, "num_points", "block", "max_draws", "chunks_per_scene")
        _not_negative(self, "context", "slack", "workers")
        _share(self, "min_annotated", "min_occupied")
        if self.device_chunks and self.augment.mix:
            raise InputError(f"augment.mix must be 0 with device_chunks, got {self.augment.mix}")


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """One ball query and the shared MLP over its neighbourhoods."""

    radius: float  # metres
    neighbours: int = 32
    mlp: tuple[int, ...]  # output channels of each linear + BatchNorm + ReLU layer

    def __post_init__(self) -> None:
        _positive(self, "radius", "neighbours", "mlp")


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """One set-abstraction layer: `points` centres, one scale (SSG) or several (MSG)."""

    points: int
    scales: tuple[ScaleConfig, ...]

    def __post_init__(self) -> None:
        _positive(self, "points", "scales")


def _ssg_levels() -> tuple[LevelConfig, ...]:
    rows = (
        (1024, 0.1, (32, 32, 64)),
        (256, 0.2, (64, 64, 128)),
        (64, 0.4, (128, 128, 256)),
        (16, 0.8, (256, 256, 512)),
    )
    return tuple(LevelConfig(points=n, scales=(ScaleConfig(radius=r, mlp=mlp),)) for n, r, mlp in rows)


@dataclass(frozen=True, kw_only=True)
class LatentGNNConfig:
    """LatentGNN modules (Zhang et al. 2019), one after each set-abstraction layer."""

    latent_dims: tuple[int, ...] = (80, 40, 20, 10)  # latent nodes d after each level
    kernels: int = 1  # K low-rank kernels in the mixture, eq. (14)
    channel_stride: int = 4  # channels are reduced by this factor inside the module
    mode: Literal["asymmetric", "symmetric"] = "asymmetric"  # "symmetric": Psi is shared by both directions
    # How kernels are combined: "features" after h, as in section 4.1.1; "affinity" before it, eq. (14) to the letter.
    mixture: Literal["features", "affinity"] = "features"
    graph_conv: bool = True  # W and h of eq. (2); the paper's parameter counts have them, its released module need not
    norm: Literal["batch", "frozen", "none"] = "batch"  # "frozen": statistics that stay 0 and 1

    def __post_init__(self) -> None:
        _positive(self, "latent_dims", "kernels", "channel_stride")


@dataclass(frozen=True, kw_only=True)
class PointNetConfig:
    """PointNet (Qi et al. 2017)."""

    transforms: bool = False  # input and feature transforms with their regulariser; without: the network for scenes
    dropout: float = 0.3

    def __post_init__(self) -> None:
        _share(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class XConvConfig:
    """One X-Conv layer of PointCNN."""

    neighbours: int  # K
    dilation: int = 1  # every dilation-th of the K x dilation nearest points
    points: int = 0  # representative points; 0: all of the input's
    channels: int

    def __post_init__(self) -> None:
        _positive(self, "neighbours", "dilation", "channels")
        _not_negative(self, "points")


def _xconv_layers(*rows: tuple[int, int, int, int]) -> tuple[XConvConfig, ...]:
    return tuple(XConvConfig(neighbours=k, dilation=d, points=p, channels=c) for k, d, p, c in rows)


def _pointcnn_encoder() -> tuple[XConvConfig, ...]:
    return _xconv_layers((8, 1, 0, 256), (12, 2, 768, 512), (16, 2, 384, 768), (16, 4, 128, 1024))


def _pointcnn_decoder() -> tuple[XConvConfig, ...]:
    return _xconv_layers((16, 4, 0, 1024), (16, 2, 0, 768), (12, 2, 0, 512), (8, 2, 0, 256))


@dataclass(frozen=True, kw_only=True)
class PointCNNConfig:
    """PointCNN (Li et al. 2018), its released ScanNet network."""

    encoder: tuple[XConvConfig, ...] = field(default_factory=_pointcnn_encoder)  # fine to coarse
    decoder: tuple[XConvConfig, ...] = field(default_factory=_pointcnn_decoder)  # coarse to fine; points unused
    head: int = 256  # channels of the two layers before the classifier
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _positive(self, "head")
        _share(self, "dropout")
        if len(self.encoder) < 2 or len(self.decoder) != len(self.encoder):
            raise InputError(
                "encoder and decoder must have the same number of layers, at least 2, "
                f"got {len(self.encoder)} and {len(self.decoder)}"
            )


@dataclass(frozen=True, kw_only=True)
class VoxelCNNConfig:
    """3DCNN (Dai et al. 2017)."""

    hidden: int = 1024  # channels of the fully connected layer
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _positive(self, "hidden")
        _share(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network of the paper's Table 3, with an optional module of long-range context after each encoder level."""

    network: Literal["pointnet2", "pointnet", "pointcnn", "voxel_cnn"] = "pointnet2"
    context: Literal["none", "latent_gnn", "non_local"] = "latent_gnn"  # of "pointnet2" and "pointcnn"
    latent_gnn: LatentGNNConfig = field(default_factory=LatentGNNConfig)
    pointnet: PointNetConfig = field(default_factory=PointNetConfig)
    pointcnn: PointCNNConfig = field(default_factory=PointCNNConfig)
    voxel_cnn: VoxelCNNConfig = field(default_factory=VoxelCNNConfig)
    # The rest is "pointnet2".
    levels: tuple[LevelConfig, ...] = field(default_factory=_ssg_levels)
    # Feature-propagation MLPs, coarse to fine; one per level.
    fp_mlps: tuple[tuple[int, ...], ...] = ((256, 256), (256, 256), (256, 128), (128, 128, 128))
    head: int = 128  # channels of the layer before the classifier
    dropout: float = 0.5

    def __post_init__(self) -> None:
        _positive(self, "levels", "fp_mlps", "head")
        _share(self, "dropout")
        if len(self.fp_mlps) != len(self.levels):
            raise InputError(
                f"fp_mlps must have one entry per level: {len(self.levels)} levels, got {len(self.fp_mlps)} entries"
            )
        if self.network in ("pointnet", "voxel_cnn") and self.context != "none":
            raise InputError(
                f"context must be none with network {self.network}, which has no levels, got {self.context}"
            )
        levels, latent = len(self._encoder()), len(self.latent_gnn.latent_dims)
        if self.context == "latent_gnn" and latent != levels:
            raise InputError(
                f"latent_gnn.latent_dims must have one entry per level: {levels} levels, got {latent} entries"
            )

    def _encoder(self) -> tuple[LevelConfig, ...] | tuple[XConvConfig, ...]:
        return self.pointcnn.encoder if self.network == "pointcnn" else self.levels

    @property
    def fewest_points(self) -> int:
        """Points that a chunk must have: the network samples as many centres from it."""
        return max(layer.points for layer in self._encoder()) if self.network in ("pointnet2", "pointcnn") else 1

    def describe(self) -> str:
        """The network's name in tables, as in the paper's: `PointNet++ SSG + LatentGNN, 3 kernels`."""
        scales = max(len(level.scales) for level in self.levels)
        kernels = self.latent_gnn.kernels
        network = {
            "pointnet2": f"PointNet++ {'MSG' if scales > 1 else 'SSG'}",
            "pointnet": f"PointNet{' with transforms' if self.pointnet.transforms else ''}",
            "pointcnn": "PointCNN",
            "voxel_cnn": "3DCNN",
        }[self.network]
        context = {
            "none": "",
            "latent_gnn": f" + LatentGNN, {kernels} kernel{'s' if kernels > 1 else ''}",
            "non_local": " + non-local blocks",
        }[self.context]
        return network + context


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
        _positive(self, "epochs", "batch_size", "lr", "lr_decay", "decay_samples", "log_every", "checkpoint_every")
        _positive(self, "accumulate", "validate_chunks")
        _not_negative(self, "lr_floor", "weight_decay", "clip_norm", "seed")
        _not_negative(self, "evaluate_every", "validate_every", "keep_every")
        _share(self, "bn_momentum", "bn_decay", "bn_floor", "warmup", "label_smoothing")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must be 0 or more and less than 1, got {self.ema}")
        if self.schedule == "onecycle" and not 0 < self.warmup < 1:
            raise InputError(f"warmup must be between 0 and 1 with schedule onecycle, got {self.warmup}")


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
        _positive(self, "protocols", "batch_size", "votes", "literal_batch")
        _not_negative(self, "slack", "resamples", "pictures", "display_points", "seed")
        if len(set(self.protocols)) < len(self.protocols):
            raise InputError(f"protocols must be named once each, got {', '.join(self.protocols)}")
        _share(self, "min_inside")


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


def _positive(config: Any, *names: str) -> None:
    """Numbers must be > 0; tuples must not be empty and hold numbers > 0."""
    for name in names:
        value = getattr(config, name)
        numbers = _numbers(value)
        if value == () or any(number <= 0 for number in numbers):
            raise InputError(f"{name} must be {'positive' if numbers else 'non-empty'}, got {value}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def _not_negative(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise InputError(f"{name} must be 0 or more, got {getattr(config, name)}")


def _share(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"{name} must be between 0 and 1, got {getattr(config, name)}")
