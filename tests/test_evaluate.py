"""Evaluation: counts are those of a direct computation, and do not depend on the number of processes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from pointseg.config import Config, DataConfig, EvalConfig, LevelConfig, ModelConfig, ScaleConfig, TrainConfig
from pointseg.data.tiling import drawn_chunks
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.protocols import literally_scored
from pointseg.evaluation.scene_files import read_scene_counts
from pointseg.evaluation.scene_points import read_scene_points
from pointseg.evaluation.scoreboard import format_table
from pointseg.metrics import VOXEL_2CM, VOXEL_4_84CM, confusion_counts, voxel_representatives
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import Scene, SceneStore, StoreMeta, write_store

ALONE = Distributed(rank=0, world_size=1, device=torch.device("cpu"))
CONFIG = Config(
    data=DataConfig(num_points=512),
    model=ModelConfig(
        levels=(LevelConfig(points=8, scales=(ScaleConfig(radius=1.0, mlp=(8,)),)),), fp_mlps=((8,),), context="none"
    ),
    evaluate=EvalConfig(batch_size=3, pictures=2),
)


class ByPlace(nn.Module):
    """Answers by where a point is, so that what it says of a whole scene can be computed without tiling."""

    def __init__(self, outputs: int = NUM_CLASSES) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
        place = torch.arange(self.outputs, dtype=torch.float32)
        return torch.cos(place + xyz.sum(dim=-1, keepdim=True) * (1 + place / 7))

    def label(self, xyz: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self(torch.tensor(xyz[None]), None)[0].softmax(-1).argmax(-1).numpy()


class ByNeighbours(nn.Module):
    """Answers that depend on the whole chunk, as a real network's do."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, NUM_CLASSES, generator=generator))

    def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
        centred = xyz - xyz.mean(dim=1, keepdim=True)
        return torch.cat([centred, torch.sin(5 * centred)], dim=-1) @ self.weight


def _scene(number: int, points: int = 3000) -> Scene:
    rng = np.random.default_rng(number)
    xyz = rng.uniform(0, [3.4, 2.9, 2.4], (points, 3)).astype(np.float32)
    label = rng.integers(0, 12, points).astype(np.uint8)
    label[rng.random(points) < 0.15] = IGNORE
    return Scene(f"scene{number:04d}_00", xyz, rng.integers(0, 255, (points, 3), np.uint8), label)


def _store(folder: Path, scenes: list[Scene]) -> SceneStore:
    path = folder / "val.h5"
    write_store(path, "val", scenes, StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True))
    return SceneStore(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    # Three scenes of different sizes: two processes get two and one.
    return _store(tmp_path_factory.mktemp("store"), [_scene(1), _scene(2, 1500), _scene(3, 4200)])


def _matrix(result: dict, protocol: str, measure: str) -> np.ndarray:
    return np.array(result["protocols"][protocol]["counts"][measure])


def test_every_vertex_counts_are_those_of_the_whole_scenes(store: SceneStore):
    model = ByPlace()
    result = evaluate(model, store, CONFIG, ALONE, progress=False)
    for measure, size in (("pixel", None), ("voxel_2cm", VOXEL_2CM), ("voxel_4.84cm", VOXEL_4_84CM)):
        expected = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), np.int64)
        for scene in (store[i] for i in range(len(store))):
            chosen = slice(None) if size is None else voxel_representatives(scene.xyz, size)
            expected += confusion_counts(model.label(scene.xyz)[chosen], scene.label[chosen], NUM_CLASSES)
        assert np.array_equal(_matrix(result, "every_vertex", measure), expected), measure
    coverage = result["protocols"]["every_vertex"]["overall"]["coverage"]
    assert coverage["vertices"] == coverage["predicted"] == 3000 + 1500 + 4200
    assert coverage["predicted_percent"] == coverage["annotated_predicted_percent"] == 100


def test_pointnet2_counts_are_those_of_the_released_script(store: SceneStore):
    """The protocol once more, written as one loop over columns."""
    model = ByPlace()
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    voxels = np.zeros_like(counts)
    for number in range(len(store)):
        scene, rng = store[number], np.random.default_rng([0, number, 0])
        xyz = scene.xyz.astype(np.float64)
        low, high = xyz.min(axis=0), xyz.max(axis=0)
        for i in range(int(np.ceil((high[0] - low[0]) / 1.5))):
            for j in range(int(np.ceil((high[1] - low[1]) / 1.5))):
                start = low[:2] + 1.5 * np.array([i, j])
                near = np.all((xyz[:, :2] >= start - 0.2) & (xyz[:, :2] <= start + 1.7), axis=1).nonzero()[0]
                inside = np.all((xyz[near, :2] >= start - 0.001) & (xyz[near, :2] <= start + 1.501), axis=1)
                draw = rng.integers(len(near), size=512)
                if inside[draw].mean() < 0.01:
                    continue
                scored = near[draw][inside[draw]]
                answer = model.label(scene.xyz)[scored]
                counts += confusion_counts(answer, scene.label[scored], NUM_CLASSES)
                first = voxel_representatives(scene.xyz[scored], VOXEL_2CM)
                voxels += confusion_counts(answer[first], scene.label[scored][first], NUM_CLASSES)
    result = evaluate(model, store, CONFIG, ALONE, progress=False)
    assert np.array_equal(_matrix(result, "pointnet2", "pixel"), counts)
    assert np.array_equal(_matrix(result, "pointnet2", "voxel_2cm"), voxels)
    assert result["protocols"]["pointnet2"]["overall"]["coverage"]["predicted_percent"] < 100


ALL_FOUR = replace(
    CONFIG,
    evaluate=EvalConfig(
        batch_size=3,
        pictures=2,
        protocols=("every_vertex", "benchmark", "pointnet2", "pointnet2_literal"),
        literal_batch=5,
    ),
)


def test_literal_protocol_is_the_released_script(store: SceneStore):
    """The script's loop over scans once more: batches that wait, voxel keys that collide, absent classes as 0."""
    model = ByPlace()
    points, voxels = np.zeros((2, NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    batch: list = []
    waiting, reading = [], False
    for number in range(len(store)):
        scene, rng = store[number], np.random.default_rng([0, number, 0])
        chunks = [(scene, c) for c in drawn_chunks(scene.xyz, CONFIG.data, CONFIG.evaluate, rng)]
        batch = batch + chunks if reading else chunks + waiting
        reading = len(batch) < 5
        if reading:
            continue
        batch, waiting = batch[:5], batch[5:]
        for scene, chunk in batch:
            drawn = chunk.index[chunk.scored]
            xyz, answer, truth = scene.xyz[drawn].astype(float), model.label(scene.xyz)[drawn], scene.label[drawn]
            points += confusion_counts(answer, truth, NUM_CLASSES)
            cells = np.ceil((xyz - xyz.min(0)) / 0.02)
            n = np.ceil((xyz.max(0) - xyz.min(0)) / 0.02)
            keys = (cells * [1, n[0], n[0] * n[1]]).sum(axis=1)
            first = np.array([np.flatnonzero(keys == key)[0] for key in np.unique(keys)])
            voxels += confusion_counts(answer[first], truth[first], NUM_CLASSES)
    result = evaluate(model, store, ALL_FOUR, ALONE, progress=False)
    assert waiting or reading  # some chunks were dropped
    assert np.array_equal(_matrix(result, "pointnet2_literal", "pixel"), points)
    assert np.array_equal(_matrix(result, "pointnet2_literal", "voxel_2cm"), voxels)
    got = result["protocols"]["pointnet2_literal"]["overall"]["pixel"]
    seen, correct = points.sum(axis=1), np.diagonal(points)
    assert got["class_accuracy"] == pytest.approx(np.mean(correct / (seen + 1e-6)), abs=1e-6)
    calibrated = np.average(correct / (seen + 1e-6), weights=CALIBRATED_WEIGHTS)
    assert got["calibrated_accuracy"] == pytest.approx(calibrated, abs=1e-6)


def test_literal_batches_by_hand():
    scored = literally_scored(np.array([3, 1, 4, 2, 9, 1]), batch=4)
    # 3; 3 + 1 = 4 scored. 4 scored. 2; 2 + 9: the first 4 scored, 7 left. 1 + 7: 4 scored, 4 left over.
    assert [chosen.tolist() for chosen in scored] == [
        *([True] * n for n in (3, 1, 4, 2)),
        [True, True, True, True, True, False, False, False, False],
        [True],
    ]


def test_benchmark_counts_an_absent_class_that_was_predicted(store: SceneStore):
    result = evaluate(ByPlace(), store, ALL_FOUR, ALONE, progress=False)
    counts = _matrix(result, "every_vertex", "pixel")
    assert np.array_equal(_matrix(result, "benchmark", "pixel"), counts)
    ious = []
    for c in range(NUM_CLASSES):
        union = counts[c].sum() + counts[:, c].sum() - counts[c, c]
        ious += [counts[c, c] / union] if union else []
    assert len(ious) > 12  # of 12 classes that occur
    assert result["protocols"]["benchmark"]["overall"]["pixel"]["miou"] == pytest.approx(np.mean(ious))
    plain = result["protocols"]["every_vertex"]["overall"]["pixel"]["miou"]
    assert plain == pytest.approx(sum(ious) / 12)


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
            assert np.array_equal(total[number], _matrix(result, protocol, measure)), (protocol, measure)


@pytest.mark.parametrize("text", ["", "[]", '{"every_vertex": {"scene0001_00": {"pixel": [[99, 0, 1]]}}}', "{"])
def test_damaged_counts_are_refused(tmp_path: Path, text: str):
    path = tmp_path / "eval_counts.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"eval_counts\.json must hold the counts"):
        read_scene_counts(path)


def test_scores_are_read_off_the_counts(store: SceneStore):
    result = evaluate(ByPlace(), store, CONFIG, ALONE, progress=False)
    part = result["protocols"]["every_vertex"]
    counts = _matrix(result, "every_vertex", "pixel")
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
    counts = _matrix(result, "every_vertex", "pixel")
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
        counts = _matrix(result, protocol, "pixel")
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
    assert not np.array_equal(_matrix(one, "every_vertex", "pixel"), _matrix(three, "every_vertex", "pixel"))
    assert np.array_equal(_matrix(score(3), "every_vertex", "pixel"), _matrix(three, "every_vertex", "pixel"))


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
    scene = _scene(1)
    scene.label[:] = IGNORE
    result = evaluate(ByPlace(), _store(tmp_path, [scene]), CONFIG, ALONE, progress=False)
    overall = result["protocols"]["every_vertex"]["overall"]
    assert overall["pixel"]["accuracy"] is None
    assert overall["classes_present"] == 0
    assert "absent" in format_table(result)
    json.dumps(result, allow_nan=False)


def test_scenes_without_labels_are_refused(tmp_path: Path):
    scenes = [_scene(1), replace(_scene(2), label=None)]
    with pytest.raises(InputError, match=r"val\.h5: expected labels .* got 1 of 2 without, the first is scene0002_00"):
        evaluate(ByPlace(), _store(tmp_path, scenes), CONFIG, ALONE, progress=False)


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


def _evaluate_as_one_of_two(rank: int, store: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    context = Distributed(rank=rank, world_size=2, device=torch.device("cpu"))
    run = RunDirectory(folder / "two")
    result = evaluate(ByNeighbours(), SceneStore(store), ALL_FOUR, context, run=run, progress=False)
    (folder / f"rank{rank}.json").write_text(json.dumps(result["protocols"]))
    dist.destroy_process_group()


def test_two_processes_count_what_one_counts(store: SceneStore, tmp_path: Path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = evaluate(ByNeighbours(), store, ALL_FOUR, ALONE, run=RunDirectory(tmp_path / "one"), progress=False)
    finally:
        torch.set_num_threads(threads)
    torch.multiprocessing.spawn(_evaluate_as_one_of_two, (store.path, tmp_path), nprocs=2)
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == alone["protocols"]
    one, two = ([*(tmp_path / run / "scenes").iterdir()] for run in ("one", "two"))
    names = sorted(path.name for path in one)
    assert len(names) == ALL_FOUR.evaluate.pictures
    assert names == sorted(path.name for path in two)
    points = [read_scene_points(tmp_path / run / "scene_points.zip", store.scan_ids) for run in ("one", "two")]
    assert list(points[0]) == list(store.scan_ids)
    assert points[0] == points[1]
    for name in names:
        with np.load(tmp_path / "one/scenes" / name) as one, np.load(tmp_path / "two/scenes" / name) as two:
            assert all(np.array_equal(one[key], two[key]) for key in one.files)
