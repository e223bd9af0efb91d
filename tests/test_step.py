"""One optimiser step: on several processes, in parts, in bfloat16; and the losses it has always given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pointseg.config import Config, TrainConfig
from pointseg.config_file import parse_config
from pointseg.data.dataset import Batch
from pointseg.distributed import Distributed, process_group
from pointseg.errors import InputError
from pointseg.models.layers import Layer
from pointseg.rundir import RunDirectory
from pointseg.training.ema import AveragedModel
from pointseg.training.step import TrainingStep, make_optimizer
from pointseg.training.train import train
from tests.test_train import SMALL

CPU = torch.device("cpu")
ALONE = Distributed(rank=0, world_size=1, device=CPU)
GOLDEN = Path(__file__).parent / "golden_losses.json"


@pytest.fixture
def config(make_store: Callable[..., Path]) -> Config:
    settings = [f"data.store={make_store(scenes=16)}", "train.log_every=1", "model.dropout=0", "train.epochs=6"]
    return parse_config(SMALL, [*settings, "train.batch_size=16"])  # 6 steps


def changed(config: Config, **settings) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))


def losses(config: Config, path: Path, context: Distributed = ALONE) -> list[float]:
    run = RunDirectory(path)
    train(config, run, context, progress=False)
    return [line["loss"] for line in run.read_metrics()]


def test_twenty_steps_give_the_stored_losses(make_store: Callable[..., Path], tmp_path: Path) -> None:
    """To 0.1 %: instruction sets differ in the order of sums and in fused multiply-add, and steps amplify that."""
    settings = [f"data.store={make_store(scenes=4)}", "train.epochs=10", "train.log_every=1", "train.optimizer=adamw"]
    settings += ["train.schedule=cosine", "train.label_smoothing=0.1", "train.clip_norm=1", "train.weight_decay=0.01"]
    got = losses(parse_config(SMALL, settings), tmp_path / "run")
    assert len(got) == 20
    assert got == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-3)


def _train_as_one_of_two(rank: int, config: Config, folder: Path) -> None:
    torch.set_num_threads(1)
    with process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2):
        context = Distributed(rank=rank, world_size=2, device=CPU)
        train(config, RunDirectory(folder / "two"), context, progress=False)


def test_two_processes_train_as_one(config: Config, tmp_path: Path) -> None:
    """2 x 8 chunks with BatchNorm statistics of all 16 are 1 x 16; without, they are not."""
    config = changed(config, sync_batchnorm=True)
    alone = losses(config, tmp_path / "one")
    torch.multiprocessing.spawn(_train_as_one_of_two, (config, tmp_path), nprocs=2)
    two = [line["loss"] for line in RunDirectory(tmp_path / "two").read_metrics()]
    assert two == pytest.approx(alone, rel=1e-4)
    weights = [RunDirectory(tmp_path / name).load_checkpoint()["model"] for name in ("one", "two")]
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=1e-2, atol=1e-3)


def test_a_batch_in_four_parts_is_the_same_batch(config: Config, tmp_path: Path, monkeypatch) -> None:
    """But for BatchNorm, whose statistics are of a part: here the networks have none."""
    monkeypatch.setattr("pointseg.models.layers.make_norm", lambda norm, channels: nn.Identity())
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, context="none", dropout=0.0))
    whole = losses(config, tmp_path / "whole")
    parts = losses(changed(config, accumulate=4), tmp_path / "parts")
    assert parts == pytest.approx(whole, rel=1e-4)
    assert whole[-1] < whole[0]


def test_wrong_splits_are_named() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(InputError, match=r"multiple of processes times train\.accumulate, 1 x 3, got 64"):
        TrainingStep(model, TrainConfig(accumulate=3), None, ALONE)
    with pytest.raises(InputError, match=r"train\.cuda_graph needs one process on a CUDA device, got 1 on cpu"):
        TrainingStep(model, TrainConfig(cuda_graph=True), None, ALONE)


def test_a_loss_that_is_not_finite_is_no_step_even_if_its_gradient_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def infinite(logits, *arguments, smoothing):
        return logits.sum() + float("inf"), arguments[1].sum()

    monkeypatch.setattr("pointseg.training.step.segmentation_loss", infinite)
    model = nn.Sequential(nn.Linear(3, 20))
    model.forward = lambda xyz, features: model[0](xyz)
    before = [p.detach().clone() for p in model.parameters()]
    label = torch.zeros(1, 4, dtype=torch.long)
    batch = Batch(xyz=torch.ones(1, 4, 3), features=None, label=label, inside=label == 0, scene=label[0, :1])
    loss, *_, norm = TrainingStep(model, TrainConfig(batch_size=1), None, ALONE)(batch, None, 1e-3, 0.5)
    assert not loss.isfinite()
    assert not norm.isfinite()
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_only_matrices_decay() -> None:
    model = nn.Sequential(Layer(3, 4), nn.Linear(4, 2))
    groups = make_optimizer(model, TrainConfig(optimizer="adamw", weight_decay=0.5), CPU).param_groups
    assert [len(group["params"]) for group in groups] == [2, 3]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(p.dim() == 2 for p in groups[0]["params"])


def test_the_average_follows_the_weights() -> None:
    model = nn.BatchNorm1d(2)
    average = AveragedModel(model, 0.5)
    expected = average.model.weight.clone()
    for step, value in enumerate((3.0, 5.0, -1.0, 2.0)):
        nn.init.constant_(model.weight, value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average.model.weight, expected)
    assert not average.model.weight.requires_grad


def test_bfloat16_keeps_statistics_and_loss_in_float32(config: Config, tmp_path: Path) -> None:
    precise = losses(config, tmp_path / "float32")
    coarse = losses(changed(config, precision="bfloat16"), tmp_path / "bfloat16")
    assert coarse != precise
    assert coarse == pytest.approx(precise, rel=0.03)
    state = RunDirectory(tmp_path / "bfloat16").load_checkpoint()
    assert {t.dtype for t in state["model"].values()} == {torch.float32, torch.int64}
