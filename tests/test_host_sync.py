"""No training step waits for the device: no operation in it hands a number or a size to the host, or data back.

On a GPU PyTorch itself raises at such an operation. Elsewhere the operations of the same step are looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pointseg.config import TrainConfig
from pointseg.data.dataset import Batch
from pointseg.distributed import Distributed
from pointseg.models import PointNet2, build_model
from pointseg.models.layers import Layer
from pointseg.scannet.labels import IGNORE, NUM_CLASSES
from pointseg.training.ema import AveragedModel
from pointseg.training.step import TrainingStep
from tests.test_networks import NETWORKS, clouds

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
SETTINGS = {
    "published": TrainConfig(batch_size=2),
    "everything": TrainConfig(
        batch_size=2,
        accumulate=2,
        optimizer="adamw",
        weight_decay=0.01,
        clip_norm=1.0,
        label_smoothing=0.1,
        precision="bfloat16",
        on_nonfinite="skip",
        unannotated="class",
    ),
}

aten = torch.ops.aten
WAITING = {
    *(aten._local_scalar_dense.default, aten.equal.default),  # a number: item(), bool(), int(), float()
    *(aten.nonzero.default, aten.masked_select.default, aten.repeat_interleave.Tensor, aten.bincount.default),  # a size
    *(aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default),
    aten.lift_fresh.default,  # torch.tensor(numbers): a copy from memory that is not pinned
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}  # by a mask: its size is not known


class NothingWaits(TorchDispatchMode):
    """Raises at operations that would wait on a GPU, the backward pass included."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masked = func.overloadpacket in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or func in WAITING:
            raise RuntimeError(f"{func} would wait for the device")
        return func(*args, **(kwargs or {}))


def _refuse(*arguments, **options):
    raise RuntimeError("this would wait for the device")


@contextmanager
def nothing_waits(device: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if device == "cpu":
            for name in ("tolist", "numpy", "cpu", "__array__"):  # not operations where the data is on the host
                patch.setattr(Tensor, name, _refuse)
            with NothingWaits():
                yield
            return
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def chunks(device: str) -> Batch:
    xyz = clouds(2).to(device)
    label = torch.randint(0, NUM_CLASSES, xyz.shape[:2], device=device)
    label[:, ::7] = IGNORE
    return Batch(xyz=xyz, features=None, label=label, inside=xyz[..., 0] > -0.6, scene=label[:, 0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_step_does_not_wait(settings, name, device, monkeypatch):
    monkeypatch.setattr(Layer, "fused", False)  # as on a GPU: what the CPU computes has sizes that depend on data
    torch.manual_seed(0)
    outputs = NUM_CLASSES + (SETTINGS[settings].unannotated == "class")
    model = build_model(NETWORKS[name], outputs).to(device)
    weight = torch.rand(outputs, device=device)
    context = Distributed(rank=0, world_size=1, device=torch.device(device))
    step, average = TrainingStep(model, SETTINGS[settings], weight, context), AveragedModel(model, 0.99)
    batch = chunks(device)

    def take(number: int) -> Tensor:
        geometry = model.geometry(batch["xyz"]) if isinstance(model, PointNet2) else None
        outcome = step(batch, geometry, 1e-3, 0.1)
        average.update(number)
        return outcome

    take(0)  # what libraries and the optimiser make once
    with nothing_waits(device):
        outcome = take(1)
    assert outcome.isfinite().all()
    assert outcome[2] > 0


STATEMENTS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool((x > 1).any()),
    "equal": lambda x: torch.equal(x, x),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "mask": lambda x: x[x > 1],
    "nonzero": lambda x: torch.where(x > 1),
    "masked_select": lambda x: torch.masked_select(x, x > 1),
    "unique": lambda x: x.unique(),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "numbers": lambda x: x + torch.tensor([1.0], device=x.device),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", STATEMENTS)
def test_what_waits_is_noticed(name, device):
    x = torch.arange(4.0, device=device)
    with pytest.raises(RuntimeError), nothing_waits(device):
        STATEMENTS[name](x)
