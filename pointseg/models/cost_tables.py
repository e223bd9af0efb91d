"""The tables of `pointseg costs`: what `costs.py` counts and measures beside the figures of the LatentGNN paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pointseg.config import LatentGNNConfig, ModelConfig
from pointseg.models.costs import Cost, NetworkCost

_MI = 2**20

NOTE = """\
The paper's Table 3 gives what the modules add to PointNet++ SSG for one cloud, as #FLOPs and #Params. Its figures are
those of multiplications and additions counted as pairs, in 2**20, of the 1 x 1 convolutions alone (the column
"convolutions"): it leaves out the products of activations, such as Psi^T X, which are in our FLOPs. Its parameters are
ours, with W and BatchNorm, to 0.015 M."""


class Published(NamedTuple):
    """What the context modules add, in the paper's Table 3."""

    parameters: float
    macs: float


def published(model: ModelConfig) -> Published | None:
    """The paper's figures for the context modules of `model`, if it is one of its rows."""
    rows = {
        ModelConfig(context="non_local"): Published(0.70e6, 31e6),
        ModelConfig(context="latent_gnn"): Published(0.31e6, 15e6),
        ModelConfig(context="latent_gnn", latent_gnn=LatentGNNConfig(kernels=3)): Published(0.54e6, 30e6),
    }
    return rows.get(model)


def format_costs(networks: Sequence[tuple[ModelConfig, NetworkCost]], batch: int) -> str:
    """One line a network, what its context modules add beside the paper's figures, then every network by module."""
    header = ("", "parameters", "GFLOP", "activations", "step")
    rows = [(model.describe(), *_cells(cost.total, batch)) for model, cost in networks]
    parts = [format_table([header, *rows])]
    added = [(model, cost) for model, cost in networks if cost.context]
    if added:
        parts += [_added_table(added, batch), NOTE]
    for model, cost in networks:
        inner = [(part or "elsewhere", *_cells(one, batch)) for part, one in cost.parts.items()]
        parts.append(format_table([(model.describe(), *header[1:]), *inner]))
    parts.append(
        "FLOPs of a forward pass and activations kept for the backward pass are those of one cloud; a step is a\n"
        f"training step of {batch}. Elsewhere: sampling, searching, layers called in pieces, the loss, the optimiser."
    )
    return "\n\n".join(parts) + "\n"


def _added_table(networks: Sequence[tuple[ModelConfig, NetworkCost]], batch: int) -> str:
    header = ("the context modules add", "parameters", "paper", "convolutions", "paper", "GFLOP", "activations", "step")
    rows = []
    for model, cost in networks:
        row, paper = _cells(cost.added, batch), published(model)
        share = f"{row[3]} {cost.added.milliseconds / cost.total.milliseconds:.0%}" if cost.added.milliseconds else "-"
        rows.append(
            (
                model.describe(),
                row[0],
                f"{paper.parameters / 1e6:.2f} M" if paper else "-",
                f"{cost.convolution_macs / _MI:.1f} Mi",
                f"{paper.macs / 1e6:.0f} M" if paper else "-",
                row[1],
                row[2],
                share,
            )
        )
    return format_table([header, *rows])


def _cells(cost: Cost, batch: int) -> tuple[str, str, str, str]:
    time = "-" if cost.milliseconds is None else f"{cost.milliseconds:.1f} ms"
    return (
        f"{cost.parameters / 1e6:.3f} M",
        f"{cost.flops / batch / 1e9:.3f}",
        f"{cost.kept_bytes / batch / _MI:.1f} MiB",
        time,
    )


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header; the first column is flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
