"""LatentGNN and non-local blocks inside ResNets.

Stages have the papers' numbers: stage 3, 4, 5 is `layer2`, `layer3`, `layer4` of the usual implementations. Widths,
places and strides: Zhang et al., "LatentGNN", ICML 2019, section 4.1, and the authors' detector; for the non-local
block Wang et al., "Non-local Neural Networks", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from pointseg.errors import InputError
from pointseg.models import LatentGNN, NonLocalBlock
from pointseg.models.layers import Norm

LATENT_DIMS = {3: 150, 4: 100, 5: 50}  # latent nodes d after each stage
STRIDES = {"latent_gnn": 8, "non_local": 2}  # channels are reduced by this factor inside the module
_NAME = "context"  # of the module within its stage

Kind = Literal["latent_gnn", "non_local"]
Position = Literal["after", "before_last"]


def insert_context(
    backbone: nn.Module,
    stages: Sequence[int] = (3, 4, 5),
    kind: Kind = "latent_gnn",
    position: Position = "after",
    *,
    channel_stride: int | None = None,
    latent_dims: Mapping[int, int] | None = None,
    kernels: int = 1,
    mode: Literal["asymmetric", "symmetric"] = "asymmetric",
    graph_conv: bool = True,
    norm: Norm = "frozen",
) -> dict[int, nn.Module]:
    """Puts a context module into stages of `backbone`, in place, and returns the new modules by stage.

    Every weight that was there keeps its value and its name in the state dict; the new ones are
    `layer<n>.context.*`. The modules start as the identity (scale 0), so the outputs do not change, to the bit, until
    they are trained: give the optimiser the parameters after this call.

    Args:
        backbone: any network on [B, channels, H, W] whose `layer2` .. `layer4` are `nn.Sequential`s of blocks:
            torchvision's and timm's ResNets, `model.backbone.body` of torchvision's detectors, one's own.
        stages: which of the stages 3, 4, 5.
        kind: the module, LatentGNN or the dense non-local block (affinity X X^T, as in LatentGNN's paper).
        position: "after" the whole stage, before the next stage and the FPN see it (LatentGNN's detectors), or
            "before_last", before the stage's last block (Wang et al.).
        channel_stride: reduction of the channels inside; None is 8 for LatentGNN (the authors' default; the parameter
            counts of the paper's tables are those of 16) and 2 for the non-local block.
        latent_dims: d of each stage; None is the paper's 150, 100, 50.
        kernels, mode, graph_conv: of `LatentGNN`.
        norm: "frozen", as in the authors' detectors, is the identity until weights are loaded; "batch" for large
            batches; "none".

    Raises:
        InputError: a stage that is not there, has no blocks or a module already; an unknown name.
    """
    if kind not in STRIDES:
        raise InputError(f"kind must be 'latent_gnn' or 'non_local', got {kind!r}")
    if position not in ("after", "before_last"):
        raise InputError(f"position must be 'after' or 'before_last', got {position!r}")
    sequences = {stage: _blocks(backbone, stage, position) for stage in stages}
    dims, stride = latent_dims or LATENT_DIMS, channel_stride or STRIDES[kind]
    channels = _widths(backbone, sequences)
    inserted: dict[int, nn.Module] = {}
    for stage, width in channels.items():
        try:
            if kind == "latent_gnn":
                options = {"kernels": kernels, "mode": mode, "graph_conv": graph_conv, "norm": norm}
                inserted[stage] = LatentGNN(width, _latent_dim(dims, stage), stride, **options)
            else:
                inserted[stage] = NonLocalBlock(width, stride, norm=norm)
        except ValueError as error:
            raise InputError(f"stage {stage}: {error}") from None
    for stage, module in inserted.items():
        like = next(sequences[stage].parameters())
        _insert(sequences[stage], module.to(like.device, like.dtype).train(backbone.training), position)
    return inserted


def _blocks(backbone: nn.Module, stage: int, position: Position) -> nn.Sequential:
    if stage not in LATENT_DIMS:
        raise InputError(f"stages must be among 3, 4, 5 (layer2, layer3, layer4), got {stage}")
    name = f"layer{stage - 1}"
    blocks = getattr(backbone, name, None)
    if not isinstance(blocks, nn.Sequential) or len(blocks) < (2 if position == "before_last" else 1):
        found = "none" if blocks is None else f"{type(blocks).__name__} of length {len(list(blocks.children()))}"
        raise InputError(f"backbone.{name} must be an nn.Sequential of blocks, got {found}")
    if hasattr(blocks, _NAME):
        raise InputError(f"backbone.{name} must have no context module yet, it has {type(blocks.context).__name__}")
    return blocks


def _latent_dim(dims: Mapping[int, int], stage: int) -> int:
    if stage not in dims:
        raise InputError(f"latent_dims must have an entry for stage {stage}, got {dict(dims)}")
    return dims[stage]


def _insert(blocks: nn.Sequential, module: nn.Module, position: Position) -> None:
    """Under a name of its own, so that no block is renumbered; an nn.Sequential runs in the order of its children."""
    name, last = list(blocks.named_children())[-1]
    if position == "before_last":
        delattr(blocks, name)
    blocks.add_module(_NAME, module)
    if position == "before_last":
        blocks.add_module(name, last)


def _widths(backbone: nn.Module, stages: Mapping[int, nn.Sequential]) -> dict[int, int]:
    """The channels that each stage puts out, found by sending a small black image through."""
    widths: dict[int, int] = {}

    def record(stage: int):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            widths[stage] = output.shape[1]

        return hook

    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise InputError(f"backbone must begin with a convolution, got {type(backbone).__name__} without any")
    handles = [blocks.register_forward_hook(record(stage)) for stage, blocks in stages.items()]
    try:
        with _evaluating(backbone), torch.no_grad():
            backbone(first.weight.new_zeros(1, first.in_channels, 64, 64))
    finally:
        for handle in handles:
            handle.remove()
    missing = [stage for stage in stages if stage not in widths]
    if missing:
        raise InputError(f"backbone must run its stage {missing[0]} (layer{missing[0] - 1}), its forward pass did not")
    return {stage: widths[stage] for stage in stages}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, so that no running statistic moves; then every module is as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
