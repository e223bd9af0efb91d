"""What context modules add to Mask R-CNN: the rows of Tables 1 and 2 of the LatentGNN paper.

The paper's counts are those of a channel stride of 16, while the authors' released detectors have 8 as their default.
Some rows fit with the graph convolution W of every kernel, some without: the paper does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pointseg.images.context import LATENT_DIMS
from pointseg.models import LatentGNN, NonLocalBlock
from pointseg.models.cost_tables import format_table
from pointseg.models.costs import count_flops

IMAGE = (800, 1344)  # height and width, pixels: 800 x 1333 made divisible by 32
CHANNELS = {3: 512, 4: 1024, 5: 2048}  # of a ResNet with bottlenecks after each stage
_STRIDES = {3: 8, 4: 16, 5: 32}  # pixels of the image per position
NOTE = """\
#Params of the paper's Tables 1 and 2 beside ours, in M, with the channel stride that fits (16) and the one of the
authors' released detectors (8), with and without the graph convolution W. GFLOP at 800 x 1344, matrix products
included, stride 16 with W; the paper's #FLOPs fit no single image size."""


@dataclass(frozen=True)
class Row:
    name: str
    stages: tuple[int, ...]
    kernels: int  # 0: the non-local block
    paper: float  # parameters, in M


ROWS = (
    Row("non-local, stage 4", (4,), 0, 2.09),
    Row("LatentGNN, stage 3", (3,), 1, 0.06),
    Row("LatentGNN, stage 4", (4,), 1, 0.20),
    Row("LatentGNN, stage 5", (5,), 1, 0.81),
    Row("LatentGNN, stages 3 4 5", (3, 4, 5), 1, 1.07),
    Row("LatentGNN, stage 4, 2 kernels", (4,), 2, 0.29),
    Row("LatentGNN, stage 4, 3 kernels", (4,), 3, 0.38),
    Row("LatentGNN, stages 3 4 5, 3 kernels", (3, 4, 5), 3, 1.89),
)


def context_modules(row: Row, channel_stride: int, graph_conv: bool = True) -> dict[int, nn.Module]:
    """By stage, on the device "meta": nothing is allocated."""
    with torch.device("meta"):
        if not row.kernels:
            return {stage: NonLocalBlock(CHANNELS[stage], norm="frozen") for stage in row.stages}
        options = {"kernels": row.kernels, "graph_conv": graph_conv, "norm": "frozen"}
        return {s: LatentGNN(CHANNELS[s], LATENT_DIMS[s], channel_stride, **options) for s in row.stages}


def parameters(modules: dict[int, nn.Module]) -> int:
    return sum(p.numel() for module in modules.values() for p in module.parameters())


def flops(modules: dict[int, nn.Module], height: int = IMAGE[0], width: int = IMAGE[1]) -> int:
    """Of one image of `height` x `width` pixels."""
    total = 0
    for stage, module in modules.items():
        size = height // _STRIDES[stage], width // _STRIDES[stage]
        total += count_flops(module, torch.empty(1, CHANNELS[stage], *size, device="meta"))
    return total


def format_image_costs() -> str:
    table = [("", "paper", "stride 16", "without W", "stride 8", "GFLOP")]
    for row in ROWS:
        counts = [
            parameters(context_modules(row, *settings)) / 1e6 for settings in ((16, True), (16, False), (8, True))
        ]
        shown = [f"{count:.3f}" for count in counts] if row.kernels else [f"{counts[0]:.3f}", "", ""]
        table.append((row.name, f"{row.paper:.2f}", *shown, f"{flops(context_modules(row, 16)) / 1e9:.2f}"))
    return f"{format_table(table)}\n\n{NOTE}\n"
