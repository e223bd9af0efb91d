"""Evaluation: what comes of the counts."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn

from pointseg.config import TrainConfig
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.scene_files import read_scene_counts
from pointseg.evaluation.scoreboard import format_table
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import SceneStore
from tests.answers import ALL_FOUR, ALONE, CONFIG, ByNeighbours, ByPlace, make_scene, matrix, write_scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    # Three scenes of different sizes: two processes get two and one.
    return write_scenes(tmp_path_factory.mktemp("store"), [make_scene(1), make_scene(2, 1500), make_scene(3, 4200)])


def test_files_of_the_scenes(store: SceneStore, tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    result = evaluate(ByPlace(), store, ALL_FOUR, ALONE, run=run, progress=False)
    rows = list(csv.DictReader(run.scene_table_file.open()))
    assert len(rows) == 4 * len(store)
    assert [row["scene"] for row in rows[::4]] == list(store.scan_ids)
    for row in rows:
        of = result["protocols"][row["protocol"]]["per_scene"][store.scan_ids.index(row["scene"])]
        accuracy = of["voxel_4.84cm"]["accuracy"]
        assert row["voxel_4.84cm accuracy"] == ("" if accuracy is None else str(accuracy))
        assert int(row["chunks"]) == of["coverage"]["chunks"]
        assert float(row["seconds"]) > 0
    for protocol, scenes in read_scene_counts(run.scene_counts_file).items():
        total = sum(scenes.values())
        for number, measure in enumerate(("pixel", "voxel_2cm", "voxel_4.84cm")):
            assert np.array_equal(total[number], matrix(result, protocol, measure)), (protocol, measure)


@pytest.mark.parametrize("text", ["", "[]", '{"every_vertex": {"scene0001_00": {"pixel": [[99, 0, 1]]}}}', "{"])
def test_damaged_counts_are_refused(tmp_path: Path, text: str):
    path = tmp_path / "eval_counts.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"eval_counts\.json must hold the counts"):
        read_scene_counts(path)


def test_scores_are_read_off_the_counts(store: SceneStore):
    result = evaluate(ByPlace(), store, CONFIG, ALONE, progress=False)
    part = result["protocols"]["every_vertex"]
    counts = matrix(result, "every_vertex", "pixel")
    overall = part["overall"]
    assert overall["pixel"]["accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    assert overall["pixel"]["count"] == counts.sum() == overall["coverage"]["annotated"]
    assert overall["classes_present"] == 12
    assert overall["classes_absent"] == list(CLASS_NAMES[12:])
    recall = np.diagonal(counts)[:12] / counts[:12].sum(axis=1)
    assert overall["pixel"]["class_accuracy"] == pytest.approx(recall.mean())
    assert part["per_class"][15]["iou"] is None
    assert [row["scene"] for row in part["per_scene"]] == list(store.scan_ids)
    assert sum(row["pixel"]["count"] for row in part["per_scene"]) == counts.sum()
    json.dumps(result, allow_nan=False)


def test_baseline_answers_the_commonest_class_of_the_training_split(store: SceneStore):
    training_counts = np.zeros(21, np.int64)
    training_counts[[4, 20]] = 5, 100  # unannotated points do not make a class
    result = evaluate(ByPlace(), store, CONFIG, ALONE, training_counts=training_counts, progress=False)
    assert result["baseline"] == {"class": "chair", "source": "training split"}
    counts = matrix(result, "every_vertex", "pixel")
    baseline = result["protocols"]["every_vertex"]["baseline"]
    assert baseline["pixel"]["accuracy"] == pytest.approx(counts[4].sum() / counts.sum())
    assert baseline["pixel"]["class_accuracy"] == pytest.approx(1 / 12)
    commonest = store.label_counts.sum(axis=0)[:20].argmax()
    without = evaluate(ByPlace(), store, CONFIG, ALONE, progress=False)
    assert without["baseline"] == {"class": CLASS_NAMES[commonest], "source": "evaluated split (val)"}


def test_the_unannotated_output_is_a_wrong_answer(store: SceneStore):
    class AlwaysUnannotated(nn.Module):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            return torch.eye(21)[20].expand(*xyz.shape[:2], 21)

    config = replace(CONFIG, train=TrainConfig(unannotated="class"))
    result = evaluate(AlwaysUnannotated(), store, config, ALONE, progress=False)
    for protocol in ("every_vertex", "pointnet2"):
        counts = matrix(result, protocol, "pixel")
        assert counts[:, :20].sum() == 0
        assert counts[:, 20].sum() > 0
        assert result["protocols"][protocol]["overall"]["pixel"]["accuracy"] == 0


def test_colour_reaches_the_network_when_the_configuration_says_so(store: SceneStore):
    seen = []

    class Looks(ByPlace):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            seen.append(features)
            return super().forward(xyz, features)

    config = replace(CONFIG, data=replace(CONFIG.data, color=True))
    evaluate(Looks(), store, config, ALONE, progress=False)
    assert all(f.shape[1:] == (512, 3) and f.dtype == torch.float32 and 0 <= f.min() <= f.max() <= 1 for f in seen)
    seen.clear()
    evaluate(Looks(), store, CONFIG, ALONE, progress=False)
    assert all(f is None for f in seen)


def test_more_votes_are_more_chunks_and_other_answers(store: SceneStore):
    def score(votes: int) -> dict:
        config = replace(CONFIG, evaluate=replace(CONFIG.evaluate, votes=votes, protocols=("every_vertex",)))
        return evaluate(ByNeighbours(), store, config, ALONE, progress=False)

    one, three = score(1), score(3)
    chunks = [r["protocols"]["every_vertex"]["overall"]["coverage"]["chunks"] for r in (one, three)]
    assert chunks[1] >= 3 * chunks[0]
    assert not np.array_equal(matrix(one, "every_vertex", "pixel"), matrix(three, "every_vertex", "pixel"))
    assert np.array_equal(matrix(score(3), "every_vertex", "pixel"), matrix(three, "every_vertex", "pixel"))


def test_the_network_is_left_in_the_mode_it_came_in(store: SceneStore):
    modes = []

    class Notes(ByPlace):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            modes.append(self.training)
            return super().forward(xyz, features)

    model = Notes().train()
    evaluate(model, store, CONFIG, ALONE, progress=False)
    assert not any(modes)
    assert model.training


def test_files_of_a_run(store: SceneStore, tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    (run.scenes).mkdir(parents=True)
    (run.scenes / "old.npz").touch()
    model = ByPlace()
    result = evaluate(model, store, CONFIG, ALONE, run=run, about={"step": 7}, progress=False)
    assert json.loads(run.eval_file.read_text()) == result
    assert result["step"] == 7
    assert sorted(path.name for path in run.scenes.iterdir()) == ["scene0001_00.npz", "scene0002_00.npz"]
    with np.load(run.scenes / "scene0002_00.npz") as kept:
        assert np.array_equal(kept["xyz"], store[1].xyz)
        assert np.array_equal(kept["rgb"], store[1].rgb)
        assert np.array_equal(kept["label"], store[1].label)
        assert kept["prediction"].dtype == np.uint8
        assert np.array_equal(kept["prediction"], model.label(store[1].xyz))


def test_scenes_without_any_annotation_give_absent_and_no_nan(tmp_path: Path):
    scene = make_scene(1)
    scene.label[:] = IGNORE
    result = evaluate(ByPlace(), write_scenes(tmp_path, [scene]), CONFIG, ALONE, progress=False)
    overall = result["protocols"]["every_vertex"]["overall"]
    assert overall["pixel"]["accuracy"] is None
    assert overall["classes_present"] == 0
    assert "absent" in format_table(result)
    json.dumps(result, allow_nan=False)


def test_scenes_without_labels_are_refused(tmp_path: Path):
    scenes = [make_scene(1), replace(make_scene(2), label=None)]
    with pytest.raises(InputError, match=r"val\.h5: expected labels .* got 1 of 2 without, the first is scene0002_00"):
        evaluate(ByPlace(), write_scenes(tmp_path, scenes), CONFIG, ALONE, progress=False)


def test_a_network_that_diverged_is_refused(store: SceneStore):
    class Diverged(nn.Module):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            return torch.full((*xyz.shape[:2], NUM_CLASSES), torch.nan)

    with pytest.raises(InputError, match="answers for scene0001_00 are not finite"):
        evaluate(Diverged(), store, CONFIG, ALONE, progress=False)


def test_table_shows_every_protocol_next_to_its_baseline(store: SceneStore):
    result = evaluate(ByPlace(), store, CONFIG, ALONE, progress=False)
    lines = format_table(result).splitlines()
    assert [line.split("  ")[0] for line in lines[2:8:3]] == ["every_vertex", "pointnet2"]
    assert all(line.startswith("95 % interval") for line in lines[3:8:3])
    assert all(line.startswith(f"always {result['baseline']['class']!r}") for line in lines[4:8:3])
    accuracy = result["protocols"]["every_vertex"]["overall"]["pixel"]["accuracy"]
    assert lines[2].split()[1] == f"{100 * accuracy:.1f}"
    assert len({len(line) for line in lines[:8]}) == 1
