"""The protocols of the evaluation, each written once more as plain loops: the counts are the same."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.data.tiling import drawn_chunks
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.protocols import literally_scored, scene_seed
from pointseg.metrics import VOXEL_2CM, VOXEL_4_84CM, confusion_counts, voxel_representatives
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, NUM_CLASSES
from pointseg.store import SceneStore
from tests.answers import ALL_FOUR, ALONE, CONFIG, ByPlace, make_scene, matrix, write_scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    # Three scenes of different sizes: two processes get two and one.
    return write_scenes(tmp_path_factory.mktemp("store"), [make_scene(1), make_scene(2, 1500), make_scene(3, 4200)])


def test_every_vertex_counts_are_those_of_the_whole_scenes(store: SceneStore):
    model = ByPlace()
    result = evaluate(model, store, CONFIG, ALONE, progress=False)
    for measure, size in (("pixel", None), ("voxel_2cm", VOXEL_2CM), ("voxel_4.84cm", VOXEL_4_84CM)):
        expected = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), np.int64)
        for scene in (store[i] for i in range(len(store))):
            chosen = slice(None) if size is None else voxel_representatives(scene.xyz, size)
            expected += confusion_counts(model.label(scene.xyz)[chosen], scene.label[chosen], NUM_CLASSES)
        assert np.array_equal(matrix(result, "every_vertex", measure), expected), measure
    coverage = result["protocols"]["every_vertex"]["overall"]["coverage"]
    assert coverage["vertices"] == coverage["predicted"] == 3000 + 1500 + 4200
    assert coverage["predicted_percent"] == coverage["annotated_predicted_percent"] == 100


def test_pointnet2_counts_are_those_of_the_released_script(store: SceneStore):
    """The protocol once more, written as one loop over columns."""
    model = ByPlace()
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    voxels = np.zeros_like(counts)
    for number in range(len(store)):
        scene = store[number]
        rng = np.random.default_rng([*scene_seed(0, scene.scan_id), 0])
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
    assert np.array_equal(matrix(result, "pointnet2", "pixel"), counts)
    assert np.array_equal(matrix(result, "pointnet2", "voxel_2cm"), voxels)
    assert result["protocols"]["pointnet2"]["overall"]["coverage"]["predicted_percent"] < 100


def test_literal_protocol_is_the_released_script(store: SceneStore):
    """The script's loop over scans once more: batches that wait, voxel keys that collide, absent classes as 0."""
    model = ByPlace()
    points, voxels = np.zeros((2, NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    batch: list = []
    waiting, reading = [], False
    for number in range(len(store)):
        scene = store[number]
        rng = np.random.default_rng([*scene_seed(0, scene.scan_id), 0])
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
    assert np.array_equal(matrix(result, "pointnet2_literal", "pixel"), points)
    assert np.array_equal(matrix(result, "pointnet2_literal", "voxel_2cm"), voxels)
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
    counts = matrix(result, "every_vertex", "pixel")
    assert np.array_equal(matrix(result, "benchmark", "pixel"), counts)
    ious = []
    for c in range(NUM_CLASSES):
        union = counts[c].sum() + counts[:, c].sum() - counts[c, c]
        ious += [counts[c, c] / union] if union else []
    assert len(ious) > 12  # of 12 classes that occur
    assert result["protocols"]["benchmark"]["overall"]["pixel"]["miou"] == pytest.approx(np.mean(ious))
    plain = result["protocols"]["every_vertex"]["overall"]["pixel"]["miou"]
    assert plain == pytest.approx(sum(ious) / 12)
