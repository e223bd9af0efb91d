"""The next batch, made ready while the network trains on this one.

Farthest-point sampling, ball query and 3-NN depend on the coordinates alone. On a GPU they run for long on few
multiprocessors, so the next batch's share a stream of their own with its copy to the device (and its making, where
chunks are made there), beside the step under way. On the CPU nothing is gained: training has all cores, and the
geometry, 1 or 2 % of a step (`benchmarks/geometry_ahead.py`), is left to the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pointseg.data.dataset import Batch
from pointseg.models.pointnet2 import Geometry, PointNet2


def ahead(batches: Iterable[Batch], model: nn.Module, device: torch.device) -> Iterator[tuple[Batch, Geometry | None]]:
    """Each of `batches` on `device` with its geometry: what `model(xyz, features)` may take as its third argument.

    The geometry is None where it would not be computed ahead: on the CPU, and for networks that have none. Tensors
    are ready for kernels on the stream that was current at the first call.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch, None
        return
    source = iter(batches)
    training, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)

    def prepare() -> tuple[Batch, Geometry | None] | None:
        with torch.cuda.stream(side):
            batch = next(source, None)
            if batch is None:
                return None
            batch = _to(batch, device)
            return batch, model.geometry(batch["xyz"]) if isinstance(model, PointNet2) else None

    upcoming = prepare()
    while upcoming is not None:
        current = upcoming
        training.wait_stream(side)
        for tensor in _tensors(current):
            tensor.record_stream(training)  # or its memory might be given to the batch after next too early
        upcoming = prepare()
        yield current


def _to(batch: Batch, device: torch.device) -> Batch:
    moved = {key: None if value is None else value.to(device, non_blocking=True) for key, value in batch.items()}
    return Batch(**moved)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in dictionaries and tuples."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (dict, tuple)):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(item)
