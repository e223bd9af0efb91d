"""The names of the authors' released LatentGNN module, translated into those of `LatentGNN`.

Theirs: `down_channel_v2l` and `down_channel_l2v` (symmetric: `down_channel`); `LatentGNN_Kernel_<i>` with `psi_v2l` and
`psi_l2v` (`psi`) and perhaps `GraphConvWeight`; `up_channel`; each of them a 1 x 1 convolution and its normalisation;
and `gamma`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def translate_state_dict(state: Mapping[str, Tensor], *, kernels: int, symmetric: bool) -> dict[str, Tensor]:
    """A state dict of `LatentGNN` from one of the released module; ValueError if an entry is missing or left over."""
    left = dict(state)
    down = ["down_channel"] if symmetric else ["down_channel_v2l", "down_channel_l2v"]
    psi = ["psi"] if symmetric else ["psi_v2l", "psi_l2v"]
    inner = [f"LatentGNN_Kernel_{i}" for i in range(kernels)]

    own = {"scale": _take(left, "gamma").reshape(())}
    own |= _layer(left, down, "reduce")
    for direction, name in enumerate(psi):
        own |= _layer(left, [f"{kernel}.{name}" for kernel in inner], f"psi.{direction}")
    if f"{inner[0]}.GraphConvWeight.0.weight" in left:
        blocks = [f"{kernel}.GraphConvWeight" for kernel in inner]
        own["message"] = torch.stack([_take(left, f"{block}.0.weight").flatten(1).T for block in blocks])
        own |= _norm(left, blocks, "activation.0")
    own |= _layer(left, ["up_channel"], "expand")
    if left:
        raise ValueError(f"state: {min(left)} is left over: it is not of a module with {kernels} kernels like this one")
    return own


def _layer(left: dict[str, Tensor], names: Sequence[str], own: str) -> dict[str, Tensor]:
    """Several of their layers on the same input, side by side, as one of ours."""
    weights = [_take(left, f"{name}.0.weight").flatten(1) for name in names]
    return {f"{own}.linear.weight": torch.cat(weights)} | _norm(left, names, f"{own}.norm")


def _norm(left: dict[str, Tensor], names: Sequence[str], own: str) -> dict[str, Tensor]:
    """Their normalisations, side by side; nothing for a module without any."""
    entries = {}
    for entry in _NORM:
        if f"{names[0]}.1.{entry}" in left:
            values = [_take(left, f"{name}.1.{entry}") for name in names]
            entries[f"{own}.{entry}"] = torch.cat(values) if values[0].dim() else values[0]
    return entries


def _take(left: dict[str, Tensor], name: str) -> Tensor:
    if name not in left:
        raise ValueError(f"state must have {name}, as the released LatentGNNV1 of the same settings, got {_some(left)}")
    return left.pop(name)


def _some(left: Mapping[str, Tensor]) -> str:
    return ", ".join(sorted(left)[:3]) + (", ..." if len(left) > 3 else "") if left else "nothing more"
