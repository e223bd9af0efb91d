"""Stores joined, checked and taken apart; the commands that do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scans

from pointseg.cli.commands import main
from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, train_to_nyu40
from pointseg.scannet.ply import read_ply
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.splits import Shard, parse_shard
from pointseg.store import SceneStore, StoreMeta, write_store
from pointseg.store_tools import damaged_scenes, merge_files, merge_folders
from tests.conftest import box_room


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five train scans and two val scans."""
    for scan_id in ("scene0000_00", "scene0000_01", "scene0001_00", "scene0002_00", "scene0002_01"):
        scans.write_scan(tmp_path / "rooms" / "scans", scan_id)
    for scan_id in ("scene0011_00", "scene0011_01"):
        scans.write_scan(tmp_path / "rooms" / "scans", scan_id)
    return tmp_path / "rooms"


def test_shards_merge_to_the_store_of_one_run(root: Path, tmp_path: Path) -> None:
    preprocess(root, tmp_path / "whole", progress=False)
    for index in (2, 1):
        summary = preprocess(root, tmp_path / "out", shard=Shard(index, 2), progress=False)
    assert [len(split.store) for split in summary.splits.values()] == [3, 1]
    folders = sorted((tmp_path / "out").glob("shard-*"))
    assert [folder.name for folder in folders] == ["shard-1-of-2", "shard-2-of-2"]
    merged = merge_folders(tmp_path / "out", folders)
    assert [store.path.name for store in merged] == ["train.h5", "val.h5"]
    for name in ("train.h5", "val.h5"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_share_without_scans_of_a_split_is_no_missing_one(root: Path, tmp_path: Path) -> None:
    preprocess(root, tmp_path / "whole", progress=False)
    for index in range(1, 5):  # five scans to train on, but two to validate
        preprocess(root, tmp_path / "out", shard=Shard(index, 4), progress=False)
    folders = sorted((tmp_path / "out").glob("shard-*"))
    assert [(folder / "val.h5").exists() for folder in folders] == [True, True, False, False]
    merge_folders(tmp_path / "out", folders)
    assert (tmp_path / "out" / "val.h5").read_bytes() == (tmp_path / "whole" / "val.h5").read_bytes()
    for name in ("train.h5", "val.h5"):
        (tmp_path / "out" / name).unlink()
    (folders[3] / "preprocess_report.json").unlink()  # as a job that was killed leaves it
    with pytest.raises(InputError, match=r"all shards of one job for split 'val', got none of \[4\] of 4"):
        merge_folders(tmp_path / "out", folders)


def test_there_may_be_more_shares_than_scans(root: Path, tmp_path: Path) -> None:
    preprocess(root, tmp_path / "whole", progress=False)
    summaries = [preprocess(root, tmp_path / "out", shard=Shard(index, 6), progress=False) for index in range(1, 7)]
    assert summaries[5].splits == {}
    merge_folders(tmp_path / "out", sorted((tmp_path / "out").glob("shard-*")))
    for name in ("train.h5", "val.h5"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_merging_refuses_what_does_not_belong_together(root: Path, tmp_path: Path) -> None:
    for index in (1, 2, 3):
        preprocess(root, tmp_path / "out", splits=("train",), shard=Shard(index, 3), progress=False)
    shards = [tmp_path / "out" / f"shard-{index}-of-3" / "train.h5" for index in (1, 2, 3)]
    with pytest.raises(InputError, match=r"all shards of one job for split 'train', got none of \[3\] of 3"):
        merge_files(tmp_path / "train.h5", shards[:2])
    with pytest.raises(InputError, match="expected every scan once, got scene0000_00 in"):
        merge_files(tmp_path / "train.h5", [*shards, shards[0]])
    preprocess(root, tmp_path / "val", splits=("val",), progress=False)
    with pytest.raises(InputError, match=r"val\.h5: expected a store like .*'train'.*got .*'val'"):
        merge_files(tmp_path / "train.h5", [*shards, tmp_path / "val" / "val.h5"])
    preprocess(root, tmp_path / "turned", splits=("train",), align=False, progress=False)
    with pytest.raises(InputError, match=r"shards of one job for split 'train', got \[\[1, 3\], None\]"):
        merge_files(tmp_path / "train.h5", [shards[0], tmp_path / "turned" / "train.h5"])
    shards[0].rename(tmp_path / "train.h5")
    with pytest.raises(InputError, match=r"train\.h5: expected no file there yet"):
        merge_files(tmp_path / "train.h5", shards[1:])


def test_stores_of_another_kind_do_not_merge(tmp_path: Path) -> None:
    for number, aligned in enumerate((True, False)):
        meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=aligned)
        room = box_room(f"scene000{number}_00", 50, np.random.default_rng(number))
        write_store(tmp_path / f"{number}.h5", "train", [room], meta)
    with pytest.raises(InputError, match=r"1\.h5: expected scenes aligned, .*, got not aligned"):
        merge_files(tmp_path / "all.h5", [tmp_path / "0.h5", tmp_path / "1.h5"])
    assert not (tmp_path / "all.h5").exists()


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"shard: expected i/n with i from 1 to n"):
        parse_shard(text)


def test_shard_arguments() -> None:
    assert parse_shard("3/16") == Shard(3, 16)


def test_damaged_scenes_are_named(make_store: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    path = make_store(scenes=3) / "train.h5"
    assert damaged_scenes(SceneStore(path)) == []
    assert main(["store", "verify", str(path.parent)]) == 0
    assert f"{path}: 3 of 3 scenes are whole" in capsys.readouterr().out
    with h5py.File(path, "r+") as file:
        file["xyz"][2500, 1] += 1
    (line,) = damaged_scenes(SceneStore(path))
    assert "scene0001_00" in line
    assert main(["store", "verify", str(path)]) == 2
    shown = capsys.readouterr()
    assert "2 of 3 scenes are whole" in shown.out
    assert shown.err == f"pointseg: {line}\n"
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["store", "verify", str(path)]) == 2
    assert "cut short" in capsys.readouterr().err


def test_info(make_store: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    folder = make_store(scenes=2, points=100)
    make_store("val", scenes=1)
    assert main(["store", "info", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "train.h5: split 'train', 2 scenes, 200 points" in text
    assert SceneStore(folder / "val.h5").fingerprint in text
    counts = SceneStore(folder / "train.h5").label_counts.sum(axis=0)
    assert f"  {'floor':20}{counts[1]:14,}{counts[1] / 2:8.2f} %" in text
    assert "unannotated" in text
    (folder / "empty").mkdir()
    assert main(["store", "info", str(folder / "empty")]) == 2
    assert "got a folder without one" in capsys.readouterr().err


def test_fingerprints_follow_names_order_and_contents(tmp_path: Path) -> None:
    meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True)
    rooms = [box_room(f"scene{n:04d}_00", 60, np.random.default_rng(n)) for n in range(2)]
    touched = box_room("scene0001_00", 60, np.random.default_rng(1))
    touched.label[7] = 5

    def fingerprint(name: str, scenes: list, **changes) -> str:
        write_store(tmp_path / name, "train", scenes, StoreMeta(**(vars(meta) | changes)))
        return SceneStore(tmp_path / name).fingerprint

    first = fingerprint("a.h5", rooms)
    assert first == fingerprint("b.h5", rooms, created={"program": "another"})
    others = {
        fingerprint("c.h5", rooms[::-1]),
        fingerprint("d.h5", rooms[:1]),
        fingerprint("e.h5", [rooms[0], touched]),
    }
    assert len(others | {first}) == 4
    assert len(first) == 16


def test_a_scene_as_ply_and_as_arrays(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    preprocess(root, tmp_path / "store", normals=True, progress=False)
    path = tmp_path / "store" / "train.h5"
    scene = SceneStore(path)[1]
    assert main(["store", "export-scene", str(path), scene.scan_id, str(tmp_path / "out" / "scene.ply")]) == 0
    vertices = read_ply(tmp_path / "out" / "scene.ply").vertices
    np.testing.assert_array_equal(vertices["label"], scene.label)
    np.testing.assert_array_equal(vertices["nyu40"], train_to_nyu40(scene.label))
    np.testing.assert_array_equal(vertices["nz"], scene.normal[:, 2])
    assert main(["store", "export-scene", str(path), scene.scan_id, str(tmp_path / "npy" / "room")]) == 0
    assert main(["store", "import", "npy", str(tmp_path / "npy"), str(tmp_path / "back.h5"), "--split", "val"]) == 0
    back = SceneStore(tmp_path / "back.h5")
    assert (back.split, back.scan_ids, back.meta.normals) == ("val", ("room",), True)
    for name in ("xyz", "rgb", "label", "normal"):
        np.testing.assert_array_equal(getattr(back[0], name), getattr(scene, name))
    capsys.readouterr()
    assert main(["store", "export-scene", str(path), "scene0009_00", str(tmp_path / "x.ply")]) == 2
    assert "expected one of its 5 scenes, got 'scene0009_00'" in capsys.readouterr().err
