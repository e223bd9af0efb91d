"""The settings of the networks, each with its only default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pointseg.config_checks import OutOfRange, not_negative, positive, share


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """One ball query and the shared MLP over its neighbourhoods."""

    radius: float  # metres
    neighbours: int = 32
    mlp: tuple[int, ...]  # output channels of each linear + BatchNorm + ReLU layer

    def __post_init__(self) -> None:
        positive(self, "radius", "neighbours", "mlp")


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """One set-abstraction layer: `points` centres, one scale (SSG) or several (MSG)."""

    points: int
    scales: tuple[ScaleConfig, ...]

    def __post_init__(self) -> None:
        positive(self, "points", "scales")


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
        positive(self, "latent_dims", "kernels", "channel_stride")


@dataclass(frozen=True, kw_only=True)
class PointNetConfig:
    """PointNet (Qi et al. 2017)."""

    transforms: bool = False  # input and feature transforms with their regulariser; without: the network for scenes
    dropout: float = 0.3

    def __post_init__(self) -> None:
        share(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class XConvConfig:
    """One X-Conv layer of PointCNN."""

    neighbours: int  # K
    dilation: int = 1  # every dilation-th of the K x dilation nearest points
    points: int = 0  # representative points; 0: all of the input's
    channels: int

    def __post_init__(self) -> None:
        positive(self, "neighbours", "dilation", "channels")
        not_negative(self, "points")


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
        positive(self, "head")
        share(self, "dropout")
        if len(self.encoder) < 2 or len(self.decoder) != len(self.encoder):
            raise OutOfRange(
                "encoder and decoder must have the same number of layers, at least 2, "
                f"got {len(self.encoder)} and {len(self.decoder)}"
            )


@dataclass(frozen=True, kw_only=True)
class VoxelCNNConfig:
    """3DCNN (Dai et al. 2017)."""

    hidden: int = 1024  # channels of the fully connected layer
    dropout: float = 0.5

    def __post_init__(self) -> None:
        positive(self, "hidden")
        share(self, "dropout")


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
        positive(self, "levels", "fp_mlps", "head")
        share(self, "dropout")
        if len(self.fp_mlps) != len(self.levels):
            raise OutOfRange(
                f"fp_mlps must have one entry per level: {len(self.levels)} levels, got {len(self.fp_mlps)} entries"
            )
        if self.network in ("pointnet", "voxel_cnn") and self.context != "none":
            raise OutOfRange(
                f"context must be none with network {self.network}, which has no levels, got {self.context}"
            )
        levels, latent = len(self._encoder()), len(self.latent_gnn.latent_dims)
        if self.context == "latent_gnn" and latent != levels:
            raise OutOfRange(
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
