"""Counts are the same integers however scenes are shared out, batched and ordered."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn

from pointseg.distributed import Distributed, process_group
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.protocols import score_scenes
from pointseg.evaluation.scene_files import read_scene_counts
from pointseg.evaluation.scene_points import read_scene_points
from pointseg.models import build_model
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.store import Scene, SceneStore
from tests.answers import ALL_FOUR, ALONE, ByNeighbours, ByPlace, make_scene, write_scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    # Sizes that differ: of two processes one gets two scenes, of three each gets one.
    return write_scenes(tmp_path_factory.mktemp("store"), [make_scene(1), make_scene(2, 1500), make_scene(3, 4200)])


def _network() -> nn.Module:
    torch.manual_seed(0)
    return build_model(ALL_FOUR.model, NUM_CLASSES)


def _evaluate_as_one_of(rank: int, world_size: int, store: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    context = Distributed(rank=rank, world_size=world_size, device=torch.device("cpu"))
    run = RunDirectory(folder / "shared")
    with process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size):
        result = evaluate(ByNeighbours(), SceneStore(store), ALL_FOUR, context, run=run, progress=False)
    (folder / f"rank{rank}.json").write_text(json.dumps(result["protocols"]))


@pytest.mark.parametrize("world_size", [2, 3])
def test_several_processes_count_what_one_counts(store: SceneStore, tmp_path: Path, world_size: int):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = evaluate(ByNeighbours(), store, ALL_FOUR, ALONE, run=RunDirectory(tmp_path / "one"), progress=False)
    finally:
        torch.set_num_threads(threads)
    torch.multiprocessing.spawn(_evaluate_as_one_of, (world_size, store.path, tmp_path), nprocs=world_size)
    for rank in range(world_size):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == alone["protocols"]
    one, shared = ([*(tmp_path / run / "scenes").iterdir()] for run in ("one", "shared"))
    names = sorted(path.name for path in one)
    assert len(names) == ALL_FOUR.evaluate.pictures
    assert names == sorted(path.name for path in shared)
    points = [read_scene_points(tmp_path / run / "scene_points.zip", store.scan_ids) for run in ("one", "shared")]
    assert list(points[0]) == list(store.scan_ids)
    assert points[0] == points[1]
    for name in names:
        with np.load(tmp_path / "one/scenes" / name) as one, np.load(tmp_path / "shared/scenes" / name) as shared:
            assert all(np.array_equal(one[key], shared[key]) for key in one.files)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16])
def test_any_batch_size_counts_the_same(store: SceneStore, batch_size: int):
    config = replace(ALL_FOUR, evaluate=replace(ALL_FOUR.evaluate, batch_size=batch_size))
    expected = evaluate(_network(), store, ALL_FOUR, ALONE, progress=False)
    assert evaluate(_network(), store, config, ALONE, progress=False)["protocols"] == expected["protocols"]


def test_scenes_in_any_order_and_company_count_the_same(store: SceneStore, tmp_path: Path):
    """All but "pointnet2_literal", whose last batches depend on which scans come last, as released."""
    config = replace(
        ALL_FOUR, evaluate=replace(ALL_FOUR.evaluate, protocols=("every_vertex", "benchmark", "pointnet2"))
    )
    scenes, counts = [store[number] for number in range(3)], []
    for name, chosen in (("as stored", (0, 1, 2)), ("turned round", (2, 1, 0)), ("two of them", (1, 2))):
        (tmp_path / name).mkdir()
        other = write_scenes(tmp_path / name, [scenes[number] for number in chosen])
        run = RunDirectory(tmp_path / name / "run")
        evaluate(_network(), other, config, ALONE, run=run, progress=False)
        counts.append(read_scene_counts(run.scene_counts_file))
    for other in counts[1:]:
        for protocol, of in other.items():
            assert set(of) <= set(counts[0][protocol])
            for scan_id, counted in of.items():
                np.testing.assert_array_equal(counted, counts[0][protocol][scan_id])


def test_chunks_of_several_scenes_share_a_batch(store: SceneStore):
    """Every batch but the last is full, and no more scenes are under way than a batch has chunks."""
    batches: list[int] = []
    under_way = [0]

    class Counts(ByPlace):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            batches.append(len(xyz))
            return super().forward(xyz, features)

    def small_scenes() -> Iterator[Scene]:
        for number in range(40):
            under_way.append(under_way[-1] + 1)
            yield make_scene(number, points=400)

    evaluation = replace(ALL_FOUR.evaluate, batch_size=7, protocols=("every_vertex",))
    config = replace(ALL_FOUR, evaluate=evaluation)
    for _ in score_scenes(("every_vertex",), Counts(), small_scenes(), config, ALONE.device):
        under_way.append(under_way[-1] - 1)
    assert set(batches[:-1]) == {7}
    assert 0 < batches[-1] <= 7
    assert under_way[-1] == 0
    assert max(under_way) <= 7 + 1


def test_scenes_without_a_chunk_are_scored_too(tmp_path: Path):
    """Columns whose margin is not empty are dropped: all of a large scene's, none of a small one's."""
    scenes = [make_scene(number) for number in (1, 2, 3, 4)]
    for scene in scenes[1::2]:
        scene.xyz[:] *= np.float32(0.4)
    evaluation = replace(ALL_FOUR.evaluate, protocols=("pointnet2",), min_inside=1.0)
    config = replace(ALL_FOUR, evaluate=evaluation)
    result = evaluate(ByPlace(), write_scenes(tmp_path, scenes), config, ALONE, progress=False)
    per_scene = result["protocols"]["pointnet2"]["per_scene"]
    assert [scene["coverage"]["chunks"] for scene in per_scene] == [0, 1, 0, 1]
    assert [scene["pixel"]["count"] > 0 for scene in per_scene] == [False, True, False, True]


def test_a_scene_takes_the_time_of_its_own_chunks(store: SceneStore):
    class Slow(ByPlace):
        def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
            time.sleep(0.02 * len(xyz))
            return super().forward(xyz, features)

    config = replace(ALL_FOUR, evaluate=replace(ALL_FOUR.evaluate, batch_size=50, protocols=("every_vertex",)))
    result = evaluate(Slow(), store, config, ALONE, progress=False)
    chunks = [scene["coverage"]["chunks"] for scene in result["protocols"]["every_vertex"]["per_scene"]]
    assert len(set(chunks)) > 1
    for seconds, count in zip(result["scene_seconds"], chunks, strict=True):
        assert seconds >= 0.02 * count
    assert sum(result["scene_seconds"]) <= result["seconds"] + 0.1  # rounded
