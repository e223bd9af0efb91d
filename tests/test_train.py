"""Training: the same run twice, stopped and resumed, with losses that are not finite, on a small network."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from benchmarks.interruptions import MEASURED
from pointseg.config import Config
from pointseg.config_file import parse_config
from pointseg.data.dataset import Collate
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.rundir import RunDirectory, load_checkpoint
from pointseg.scannet.labels import IGNORE, colorize
from pointseg.store import SceneStore, write_store
from pointseg.training.faults import EXIT_PREEMPTED, Interrupted
from pointseg.training.step import TrainingStep
from pointseg.training.train import train

ALONE = Distributed(rank=0, world_size=1, device=torch.device("cpu"))
SMALL = """
data: {num_points: 128, min_occupied: 0.0, workers: 0}
model:
  levels:
  - {points: 32, scales: [{radius: 0.5, neighbours: 8, mlp: [8, 8]}]}
  - {points: 8, scales: [{radius: 1.0, neighbours: 8, mlp: [16]}]}
  fp_mlps: [[16], [16]]
  latent_gnn: {latent_dims: [4, 2]}
  head: 16
train: {batch_size: 2, epochs: 4, log_every: 2, decay_samples: 4}
"""


@pytest.fixture
def config(make_store: Callable[..., Path]) -> Config:
    return parse_config(SMALL, [f"data.store={make_store(scenes=3)}"])  # 12 draws, 6 steps


def run(config: Config, path: Path, **options) -> RunDirectory:
    directory = RunDirectory(path)
    train(config, directory, ALONE, progress=False, **options)
    return directory


def assert_same(one: RunDirectory, two: RunDirectory) -> None:
    """Weights, BatchNorm statistics, optimiser and metrics are equal, bit for bit."""
    a, b = one.load_checkpoint(), two.load_checkpoint()
    assert a["step"] == b["step"]
    assert a["model"].keys() == b["model"].keys()
    for name, tensor in a["model"].items():
        assert torch.equal(tensor, b["model"][name]), name
    for key, state in a["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b["optimizer"]["state"][key][name]), (key, name)
    lines = [[{k: v for k, v in line.items() if k not in MEASURED} for line in r.read_metrics()] for r in (one, two)]
    assert lines[0] == lines[1]


def test_the_same_seed_gives_the_same_run(config: Config, tmp_path: Path) -> None:
    first, second = run(config, tmp_path / "a"), run(config, tmp_path / "b")
    assert_same(first, second)
    other = run(dataclasses.replace(config, train=dataclasses.replace(config.train, seed=1)), tmp_path / "c")
    assert list(first.read_metrics())[-1]["loss"] != list(other.read_metrics())[-1]["loss"]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_and_resumed_equals_never_stopped(config: Config, tmp_path: Path, stop: int) -> None:
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, log_every=1))
    unbroken = run(config, tmp_path / "unbroken")
    run(config, tmp_path / "stopped", stop_after=stop)
    assert RunDirectory(tmp_path / "stopped").load_checkpoint()["step"] == stop
    assert_same(unbroken, run(config, tmp_path / "stopped", resume=True))


def test_checkpoints_that_are_kept(config: Config, tmp_path: Path) -> None:
    settings = dataclasses.replace(config.train, keep_every=2)
    directory = run(dataclasses.replace(config, train=settings), tmp_path / "run")
    kept = sorted(path.name for path in directory.checkpoint_file.parent.glob("step_*.pt"))
    assert kept == ["step_00000003.pt", "step_00000006.pt"]  # after two and four epochs of three chunks
    stopped = run(config, tmp_path / "stopped", stop_after=3).load_checkpoint()["model"]
    third = load_checkpoint(directory.kept_checkpoint_file(3))["model"]
    assert all(torch.equal(third[name], tensor) for name, tensor in stopped.items())


def test_a_crash_loses_only_what_came_after_the_checkpoint(config: Config, tmp_path: Path) -> None:
    """Lines logged after the last checkpoint are dropped on resume, a half-written one included."""
    unbroken = run(config, tmp_path / "unbroken")
    crashed = run(config, tmp_path / "crashed", stop_after=4)
    crashed.append_metrics({"step": 5, "loss": 1e9})
    with crashed.metrics_file.open("a") as file:
        file.write('{"step": 6, "lo')
    assert_same(unbroken, run(config, tmp_path / "crashed", resume=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_step_with_a_checkpoint(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    unbroken = run(config, tmp_path / "unbroken")
    forward = TrainingStep._forward
    calls = []

    def interrupted_forward(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return forward(*arguments)

    monkeypatch.setattr(TrainingStep, "_forward", interrupted_forward)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped:
        run(config, tmp_path / "stopped")
    assert stopped.value.preempted == (number != signal.SIGINT)
    assert signal.getsignal(number) is before
    assert RunDirectory(tmp_path / "stopped").load_checkpoint()["step"] == 3
    monkeypatch.setattr(TrainingStep, "_forward", forward)
    assert_same(unbroken, run(config, tmp_path / "stopped", resume=True))


def poison(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Makes a coordinate of the `at`-th batch NaN."""
    collate = Collate.__call__
    calls = []

    def poisoned(self, items):
        batch = collate(self, items)
        calls.append(1)
        if len(calls) == at:
            batch["xyz"][0, 0, 0] = float("nan")
        return batch

    monkeypatch.setattr(Collate, "__call__", poisoned)


def test_a_loss_that_is_not_finite_names_its_scenes_and_stops(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, at=5)
    with pytest.raises(InputError, match=r"step 4: loss is nan, gradient nan on scene000\d_00, scene000\d_00: not fin"):
        run(config, tmp_path / "run")
    state = RunDirectory(tmp_path / "run").load_checkpoint()  # of the epoch before
    assert state["step"] in (2, 3, 4)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    batch = torch.load(tmp_path / "run" / "failures" / "step_00000004_process_0.pt")
    assert batch["xyz"].shape == (2, 128, 3)
    assert batch["xyz"].isnan().sum() == 1


def test_or_is_skipped(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    poison(monkeypatch, at=3)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, on_nonfinite="skip"))
    state = run(config, tmp_path / "run").load_checkpoint()
    assert state["step"] == 6
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert "step 2: loss is nan, gradient" in capsys.readouterr().err


def test_a_run_on_chunks_cut_on_the_device_resumes_bit_for_bit(config: Config, tmp_path: Path) -> None:
    augment = dataclasses.replace(config.data.augment, scale=0.1, thin=0.5, normal_noise=0.01)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, device_chunks=True, augment=augment))
    whole = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_after=4)
    assert_same(whole, run(config, tmp_path / "parts", resume=True))


def test_batches_without_annotation_are_harmless(config: Config, tmp_path: Path, monkeypatch) -> None:
    grid = SceneStore.grid

    def unannotated(self, i):
        points = grid(self, i)
        return points._replace(label=points.label * 0 + IGNORE)

    monkeypatch.setattr(SceneStore, "grid", unannotated)
    directory = run(config, tmp_path / "run")
    assert all(tensor.isfinite().all() for tensor in directory.load_checkpoint()["model"].values())
    assert all(line["loss"] == 0 and line["accuracy"] == 0 for line in directory.read_metrics())


def test_unannotated_as_a_class_trains_21_outputs(config: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, unannotated="class", epochs=1))
    weights = run(config, tmp_path / "run").load_checkpoint()["model"]
    assert 21 in {tensor.shape[0] for tensor in weights.values() if tensor.dim()}


def test_bfloat16_trains(config: Config, tmp_path: Path) -> None:
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, precision="bfloat16"))
    directory = run(config, tmp_path / "run")
    assert all(tensor.dtype != torch.bfloat16 for tensor in directory.load_checkpoint()["model"].values())


def test_a_run_is_never_overwritten(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "run", stop_after=1)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="already holds a run"):
        run(config, tmp_path / "run")
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_resume_refuses_another_experiment(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "run", stop_after=2)
    faster = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=1.0))
    with pytest.raises(InputError, match=r"resume: train\.lr differs"):
        run(faster, tmp_path / "run", resume=True)
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=5))
    resumed = run(longer, tmp_path / "run", resume=True)
    assert resumed.load_checkpoint()["step"] == 8
    assert resumed.load_config() == longer
    with pytest.raises(InputError, match=r"resume: train\.epochs must reach step 8, where the run is, got 4: 6 steps"):
        run(config, tmp_path / "run", resume=True)
    assert resumed.load_config() == longer
    with pytest.raises(InputError, match="is not a run directory"):
        run(config, tmp_path / "elsewhere", resume=True)


def test_the_run_directory_explains_itself(config: Config, tmp_path: Path) -> None:
    directory = run(config, tmp_path / "run")
    assert directory.load_config() == config
    meta = directory.load_meta()
    assert {"pointseg", "torch", "commit", "arguments", "device", "seed", "store", "label_counts"} <= meta.keys()
    lines = list(directory.read_metrics())
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["lr"] for line in lines] == pytest.approx([1e-3, 7e-4, 4.9e-4])
    assert lines[-1]["epoch"] == 4
    assert all(0 <= line["data_wait"] <= 1 and line["chunks_per_second"] > 0 for line in lines)
    assert all(line["memory"]["process_peak_mb"] > 10 for line in lines)


def test_evaluation_while_training_changes_nothing(config: Config, make_store, tmp_path: Path) -> None:
    make_store("val", scenes=2, points=500, seed=9)
    plain = run(config, tmp_path / "plain")
    looks = {"evaluate_every": 2, "validate_every": 1, "validate_chunks": 3}
    changed = dataclasses.replace(config, train=dataclasses.replace(config.train, **looks))
    evaluated = run(changed, tmp_path / "evaluated")
    for name, tensor in plain.load_checkpoint()["model"].items():
        assert torch.equal(tensor, evaluated.load_checkpoint()["model"][name]), name
    scores = [line["eval"] for line in evaluated.read_metrics() if "eval" in line]
    assert len(scores) == 2
    assert 0 <= scores[0]["every_vertex"]["pixel"]["accuracy"] <= 1


def test_an_evaluation_left_over_by_a_stop_is_done_once(config: Config, make_store, tmp_path: Path) -> None:
    make_store("val", scenes=2, points=500, seed=9)
    config = replace(config, train=replace(config.train, evaluate_every=2))
    whole = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_after=3)
    for stop in (3, None):  # the first one trains nothing
        parts = run(config, tmp_path / "parts", resume=True, stop_after=stop)
    assert_same(whole, parts)


@pytest.mark.parametrize("setting", ["evaluate_every", "validate_every"])
def test_a_split_that_cannot_be_looked_at_is_named_at_once(
    config: Config, make_store, tmp_path: Path, setting: str
) -> None:
    store = SceneStore(make_store("val", scenes=1) / "val.h5")
    config = replace(config, train=replace(config.train, **{setting: 1}))
    for scenes, message in (
        ([replace(store[0], label=None)], r"val\.h5: expected labelled scenes, got scene0000_00 without labels"),
        ([], r"val\.h5: expected annotated points, got none in 0 scenes"),
    ):
        write_store(store.path, "val", scenes, store.meta)
        with pytest.raises(InputError, match=message):
            run(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_store_without_colours_is_not_taken_for_a_black_one(config: Config, make_store, tmp_path: Path) -> None:
    store = SceneStore(make_store(scenes=1) / "train.h5")
    write_store(store.path, "train", [store[0]], replace(store.meta, created={"without": "rgb"}))
    with pytest.raises(InputError, match=r"data\.color must be false with .*train\.h5, which has no colours, got true"):
        run(replace(config, data=replace(config.data, color=True)), tmp_path / "run")


def test_the_progress_bar_shows_the_best_accuracy_so_far(config: Config, make_store, tmp_path: Path, capsys) -> None:
    make_store("val", scenes=2, points=500, seed=9)
    config = replace(config, train=replace(config.train, evaluate_every=2))
    directory = RunDirectory(tmp_path / "run")
    train(config, directory, ALONE)
    bar = capsys.readouterr().err
    scores = [line["eval"]["every_vertex"] for line in directory.read_metrics() if "eval" in line]
    best = max(score["voxel_4.84cm"]["accuracy"] for score in scores)
    assert f"best voxel acc {best:.1%}" in bar
    assert "epoch 4.0, loss" in bar
    assert re.search(r"6/6 \[\d\d:\d\d<\d\d:\d\d", bar)  # time used, time left


def test_validation_is_of_chunks_that_stay_the_same(config: Config, make_store, tmp_path: Path) -> None:
    make_store("val", scenes=3, points=500, seed=9)
    settings = dataclasses.replace(config.train, validate_every=1, validate_chunks=5, lr=1e-30, lr_floor=0.0)
    data = dataclasses.replace(config.data, augment=dataclasses.replace(config.data.augment, scale=0.5))
    still = dataclasses.replace(config, train=dataclasses.replace(settings, bn_momentum=0.0, bn_floor=0.0), data=data)
    looks = [line["validation"] for line in run(still, tmp_path / "still").read_metrics() if "validation" in line]
    assert len(looks) == 4
    assert all(look == looks[0] for look in looks)
    assert looks[0]["loss"] > 1

    learning = dataclasses.replace(config, train=dataclasses.replace(settings, lr=1e-3, ema=0.5))
    whole = run(learning, tmp_path / "whole")
    run(learning, tmp_path / "parts", stop_after=3)
    assert_same(whole, run(learning, tmp_path / "parts", resume=True))
    lines = [line for line in whole.read_metrics() if "validation" in line]
    assert lines[0]["validation"] != lines[-1]["validation"] != lines[-1]["validation_ema"]


def test_tensorboard_shows_what_metrics_say(config: Config, make_store, tmp_path: Path) -> None:
    make_store("val", scenes=2, points=500, seed=9)
    settings = dataclasses.replace(config.train, evaluate_every=2, validate_every=2, ema=0.9)
    config = dataclasses.replace(config, train=settings)
    directory = run(config, tmp_path / "run")
    shown = EventAccumulator(str(directory.tensorboard), {"tensors": 0, "scalars": 0}).Reload()
    averaged = EventAccumulator(str(directory.tensorboard / "averaged"), {"tensors": 0, "scalars": 0}).Reload()

    def scalar(board: EventAccumulator, name: str) -> list[tuple[int, float]]:
        return [(event.step, pytest.approx(event.value)) for event in board.Scalars(name)]

    steps = [line for line in directory.read_metrics() if "loss" in line]
    for name, key in (("loss/training", "loss"), ("learning_rate", "lr"), ("speed/data_wait", "data_wait")):
        assert [(line["step"], line[key]) for line in steps] == scalar(shown, name)
    memory = [(line["step"], line["memory"]["process_peak_mb"]) for line in steps]
    assert memory == scalar(shown, "memory/process_peak_mb")
    evaluations = [line for line in directory.read_metrics() if "eval" in line]
    for board, key in ((shown, "eval"), (averaged, "eval_ema")):
        results = [(line["step"], line[key]["every_vertex"]) for line in evaluations]
        looks = [line for line in directory.read_metrics() if key.replace("eval", "validation") in line]
        losses = [(line["step"], line[key.replace("eval", "validation")]["loss"]) for line in looks]
        assert losses == scalar(board, "loss/validation")
        voxels = [(step, result["voxel_4.84cm"]["accuracy"]) for step, result in results]
        assert voxels == scalar(board, "accuracy/every_vertex/voxel_4.84cm")
        for score in ("iou", "accuracy"):
            walls = [(step, result["per_class"]["wall"][score]) for step, result in results]
            assert walls == scalar(board, f"{score}_of_class/every_vertex/wall")
        assert [event.step for event in board.Tensors("scene/prediction_VERTEX")] == [3, 6]
    store = SceneStore(Path(config.data.store) / "val.h5")[0]
    vertices, colors = (
        make_ndarray(shown.Tensors(f"scene/truth_{kind}")[0].tensor_proto) for kind in ("VERTEX", "COLOR")
    )
    assert vertices.shape == colors.shape == (1, 500, 3)
    order = np.lexsort(vertices[0].T), np.lexsort(store.xyz.T)
    np.testing.assert_array_equal(vertices[0][order[0]], store.xyz[order[1]])
    np.testing.assert_array_equal(colors[0][order[0]], colorize(store.label)[order[1]])


def test_a_signal_to_the_whole_process_group(config: Config, tmp_path: Path) -> None:
    """As Ctrl-C or a batch system sends it: loader processes included."""
    (tmp_path / "long.yaml").write_text(SMALL)
    command = [sys.executable, "-m", "pointseg", "train", "--config", tmp_path / "long.yaml", "--out", tmp_path / "run"]
    command += ["--set", f"data.store={config.data.store}", "--set", "data.workers=2", "--set", "train.epochs=100000"]
    command += ["--set", "train.log_every=1"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        directory = RunDirectory(tmp_path / "run")
        while process.poll() is None and len(list(directory.read_metrics())) < 3:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == EXIT_PREEMPTED, message
    assert "stopped with a checkpoint" in message
    assert "Traceback" not in message
    assert directory.load_checkpoint()["step"] >= 3


def test_a_run_can_begin_with_the_weights_of_another(config: Config, tmp_path: Path) -> None:
    first = run(config, tmp_path / "first")
    still = {"lr": 1e-12, "lr_floor": 0.0, "bn_momentum": 0.0, "bn_floor": 0.0}
    begun = replace(config, train=replace(config.train, init=str(first.path), **still))
    second = run(begun, tmp_path / "second", stop_after=1)
    before, after = first.load_checkpoint()["model"], second.load_checkpoint()["model"]
    weights = [name for name in before if before[name].is_floating_point()]
    for name in weights:
        torch.testing.assert_close(after[name], before[name], atol=1e-4, rtol=0)  # one step of Adam
    with pytest.raises(InputError, match="does not exist"):
        run(replace(config, train=replace(config.train, init=str(tmp_path / "none"))), tmp_path / "third")
