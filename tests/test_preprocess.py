"""Scans to stores: every vertex in order, broken scans reported, stopped runs resumed, nothing done twice."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scans

from pointseg.errors import InputError
from pointseg.scannet import preprocess as module
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.scannet.preprocess import Summary, preprocess
from pointseg.scannet.scan import ScanFiles
from pointseg.scannet.synthetic import write_dataset
from pointseg.store import SCHEMA_VERSION, SceneStore, write_store

STORE = ["preprocess_report.json", "test.h5", "train.h5", "val.h5"]
TRAIN, VAL, TEST = ("scene0000_00", "scene0000_01", "scene0706_00"), ("scene0011_00",), ("scene0707_00",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three train scans, one val scan (labels as JSON only), one test scan (mesh only)."""
    root = tmp_path / "rooms"
    for number, scan_id in enumerate(TRAIN):
        scans.write_scan(root / "scans", scan_id, points=scans.POINTS + 6 * number)
    scans.write_scan(root / "scans", *VAL, labels=False)
    scans.write_scan(root / "scans_test", *TEST, labels=False, segments=False, info=False)
    scans.write_label_map(root)
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the scans that `preprocess` reads, as it reads them."""
    read, seen = module.read_scan, []
    monkeypatch.setattr(
        module, "read_scan", lambda folder, *args, **kw: (seen.append(folder.name), read(folder, *args, **kw))[1]
    )
    return seen


def run(root: Path, **options) -> Summary:
    return preprocess(root, root.parent / "store", progress=False, **options)


def store_of(root: Path, split: str) -> SceneStore:
    return SceneStore(root.parent / "store" / f"{split}.h5")


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_every_split_holds_its_scans(root: Path) -> None:
    summary = run(root)
    assert summary.failures == ()
    assert {split: store_of(root, split).scan_ids for split in summary.splits} == {
        "train": TRAIN,
        "val": VAL,
        "test": TEST,
    }
    assert names_in(root.parent / "store") == STORE
    for scene, points in zip(store_of(root, "train"), (48, 54, 60), strict=True):
        xyz, rgb, _ = scans.geometry(scene.scan_id, points)
        np.testing.assert_allclose(scene.xyz, scans.aligned(xyz), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(scene.rgb, rgb)
        np.testing.assert_array_equal(scene.label, scans.train_ids(points))


def test_labels_from_json_and_scans_without_labels(root: Path) -> None:
    run(root)
    np.testing.assert_array_equal(store_of(root, "val")[0].label, scans.train_ids())
    test = store_of(root, "test")
    assert test[0].label is None
    assert test.label_counts.tolist() == [[0] * 20 + [48]]
    np.testing.assert_array_equal(test[0].xyz, scans.geometry(*TEST)[0])


def test_what_the_store_says_of_itself(root: Path) -> None:
    run(root)
    store = store_of(root, "train")
    assert store.split == "train"
    assert store.meta.class_names == CLASS_NAMES
    assert (store.meta.ignore, store.meta.aligned) == (255, True)
    assert store.meta.created["source"] == "rooms"
    assert str(root.parent) not in str(store.description)


def test_the_summary_is_readable(root: Path) -> None:
    text = run(root).describe()
    assert re.search(
        r"files: _vh_clean_2\.ply 0\.01 MB, .*labels\.ply .* MB, .*segs\.json .* MB, \.aggregation\.json", text
    )
    assert "train.h5: written, 3 read, 3 scans, 162 vertices, 16.7 % unannotated" in text
    assert re.search(
        r"test\.h5: written, 1 read, 1 scan, 48 vertices, no labels, .* MB; 1 scan without axisAlignment", text
    )
    assert "chair                      40.00   40.00" in text


def test_without_alignment(root: Path) -> None:
    run(root, align=False)
    store = store_of(root, "train")
    assert not store.meta.aligned
    np.testing.assert_array_equal(store[0].xyz, scans.geometry(TRAIN[0])[0])


def test_scans_without_an_alignment_are_counted(root: Path) -> None:
    ScanFiles(root / "scans" / TRAIN[1]).info.write_text("sceneType = Office\n")
    assert re.search("3 scans, .*; 1 scan without axisAlignment", run(root).splits["train"].describe())


def test_a_second_run_reads_nothing(root: Path, reads: list[str]) -> None:
    run(root)
    assert sorted(reads) == sorted([*TRAIN, *VAL, *TEST])
    before = store_of(root, "train").path.stat()
    reads.clear()
    summary = run(root)
    assert reads == []
    assert [split.written for split in summary.splits.values()] == [False] * 3
    assert "up to date, 3 scans, 162 vertices" in summary.describe()
    assert store_of(root, "train").path.stat() == before
    assert [split.written for split in run(root, overwrite=True).splits.values()] == [True] * 3
    assert len(reads) == 5


def test_added_scans_are_seen(root: Path) -> None:
    run(root)
    scans.write_scan(root / "scans", "scene0001_00")
    summary = run(root)
    assert {name for name, split in summary.splits.items() if split.written} == {"train"}
    assert "scene0001_00" in store_of(root, "train").scan_ids


def break_scan(root: Path, scan_id: str) -> bytes:
    mesh = ScanFiles(root / "scans" / scan_id).mesh
    content = mesh.read_bytes()
    mesh.write_bytes(content[: len(content) // 2])
    return content


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_scans_are_reported_and_the_others_kept(root: Path, workers: int) -> None:
    break_scan(root, TRAIN[1])
    ScanFiles(root / "scans" / VAL[0]).segments.unlink()
    summary = run(root, workers=workers)
    assert [failure.scan_id for failure in summary.failures] == [TRAIN[1], VAL[0]]
    assert "scene0000_01_vh_clean_2.ply: expected 54 entries of element 'vertex'" in summary.failures[0].reason
    assert "no such file, and no scene0011_00_vh_clean_2.0.010000.segs.json" in summary.failures[1].reason
    assert store_of(root, "train").scan_ids == (TRAIN[0], TRAIN[2])
    assert set(summary.splits) == {"train", "test"}
    assert "Left out: 2 scans" in summary.describe()


def test_finished_scans_are_not_read_again(root: Path, reads: list[str]) -> None:
    content = break_scan(root, TRAIN[1])
    run(root)
    reads.clear()
    again = run(root)
    assert reads == [TRAIN[1]]  # still broken: reported again, the store left as it is
    assert len(again.failures) == 1
    assert not again.splits["train"].written
    ScanFiles(root / "scans" / TRAIN[1]).mesh.write_bytes(content)
    reads.clear()
    mended = run(root)
    assert reads == [TRAIN[1]]
    assert mended.failures == ()
    assert store_of(root, "train").scan_ids == TRAIN
    assert names_in(root.parent / "store") == STORE


def stop_at(scan_id: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs until that scan is read."""
    write = module.write_store

    def stop(path: Path, *args) -> None:
        if path.stem == scan_id:
            raise KeyboardInterrupt
        write(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_store", stop)
        with pytest.raises(KeyboardInterrupt):
            run(root)


def test_a_run_that_was_stopped_goes_on(root: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(TRAIN[2], root, monkeypatch)
    assert names_in(root.parent / "store") == [".scans"]
    reads.clear()
    run(root)
    assert reads == [TRAIN[2], *VAL, *TEST]
    assert store_of(root, "train").scan_ids == TRAIN
    assert names_in(root.parent / "store") == STORE


def test_kept_scans_that_do_not_fit_are_read_again(
    root: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(TRAIN[2], root, monkeypatch)
    kept = root.parent / "store" / ".scans" / "train" / f"{TRAIN[0]}.h5"
    kept.write_bytes(kept.read_bytes()[:-100])
    labels = ScanFiles(root / "scans" / TRAIN[1]).labels
    labels.write_bytes(labels.read_bytes() + b" ")  # another size, still readable
    reads.clear()
    run(root)
    assert reads == [*TRAIN, *VAL, *TEST]


def test_a_store_of_something_else_is_not_replaced(root: Path, tmp_path: Path) -> None:
    run(root)
    other = tmp_path / "others"
    root.rename(other)
    with pytest.raises(InputError, match=r"train\.h5: expected 'others', aligned, got 'rooms', aligned; .*--overwrite"):
        run(other)
    assert run(other, overwrite=True).splits["train"].written
    with pytest.raises(InputError, match=r"expected 'others', not aligned, got 'others', aligned"):
        run(other, align=False)


def test_a_store_of_other_classes_is_not_replaced(root: Path) -> None:
    run(root)
    store = store_of(root, "train")
    write_store(store.path, "train", list(store), replace(store.meta, class_names=tuple("abcdefghijklmnopqrst")))
    with pytest.raises(InputError, match=r"train\.h5: expected 'rooms', aligned, got 'rooms', aligned, other classes"):
        run(root)


def test_normals_are_an_option(root: Path) -> None:
    run(root, normals=True)
    scene = store_of(root, "train")[0]
    length = np.linalg.norm(scene.normal, axis=1)
    np.testing.assert_allclose(length[length > 0], 1, rtol=1e-6)
    assert (length > 0).sum() > 20
    with pytest.raises(InputError, match=r"expected 'rooms', aligned, got 'rooms', aligned, with normals"):
        run(root)


def test_a_store_of_another_version_is_written_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for module in ("store", "store_writer"):
            patch.setattr(f"pointseg.{module}.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        run(root)
    with pytest.raises(InputError, match="expected store version"):
        store_of(root, "train")
    assert run(root).splits["train"].written
    assert store_of(root, "train").scan_ids == TRAIN


def test_only_some_splits_and_scans(root: Path, tmp_path: Path) -> None:
    assert set(run(root, splits=("val", "test")).splits) == {"val", "test"}
    listed = tmp_path / "list.txt"
    listed.write_text(f"{TRAIN[2]}\n{TRAIN[0]}\nscene0005_00\n")
    summary = run(root, scan_list=listed)
    assert store_of(root, "train").scan_ids == (TRAIN[0], TRAIN[2])
    assert [failure.scan_id for failure in summary.failures] == ["scene0005_00"]
    assert set(summary.splits) == {"train"}


def test_workers_write_the_same_store(root: Path, tmp_path: Path) -> None:
    preprocess(root, tmp_path / "one", progress=False)
    preprocess(root, tmp_path / "two", progress=False, workers=2)
    for split in ("train", "val", "test"):
        assert (tmp_path / "one" / f"{split}.h5").read_bytes() == (tmp_path / "two" / f"{split}.h5").read_bytes()


def test_unfit_arguments(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: expected a folder with ScanNet scans, got nothing"):
        run(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file: cannot be made a folder"):
        preprocess(root, tmp_path / "file")
    with pytest.raises(InputError, match="workers must be 0 or more, got -1"):
        run(root, workers=-1)
    with pytest.raises(InputError, match="expected scans of the splits test, got none"):
        preprocess(root / "scans", tmp_path / "out", splits=("test",))
    (tmp_path / "list.txt").write_text("scene0000_00\nroom 1\n")
    with pytest.raises(InputError, match=r"list\.txt: expected a scan id .* a line, got 'room 1'"):
        run(root, scan_list=tmp_path / "list.txt")
    with pytest.raises(InputError, match=r"no\.txt: expected a text file"):
        run(root, scan_list=tmp_path / "no.txt")


def test_scans_outside_scannets_numbers(root: Path) -> None:
    scans.write_scan(root / "scans", "scene0900_00")
    summary = run(root)
    assert [failure.scan_id for failure in summary.failures] == ["scene0900_00"]
    assert len(summary.splits["train"].store) == 3


def test_synthetic_rooms_take_the_same_path(tmp_path: Path) -> None:
    """Labels derived from segments, groups and table equal labels.ply in the generator's rooms, vertex by vertex."""
    write_dataset(tmp_path / "rooms", scenes=1, val_scenes=1, test_scenes=1, seed=3, density=150.0)
    summary = run(tmp_path / "rooms")
    assert summary.failures == ()
    assert [len(split.store) for split in summary.splits.values()] == [1, 1, 1]
    for split in ("train", "val"):
        store = store_of(tmp_path / "rooms", split)
        ScanFiles(tmp_path / "rooms" / "scans" / store.scan_ids[0]).labels.unlink()
        assert store.label_counts[0, :-1].sum() > store.label_counts[0, -1] > 0
    derived = preprocess(tmp_path / "rooms", tmp_path / "derived", splits=("train", "val"), progress=False)
    for split in derived.splits:
        expected, got = store_of(tmp_path / "rooms", split)[0], SceneStore(tmp_path / "derived" / f"{split}.h5")[0]
        np.testing.assert_array_equal(got.label, expected.label)
        np.testing.assert_array_equal(got.xyz, expected.xyz)


def test_synthetic_rooms_are_known_as_such(tmp_path: Path):
    write_dataset(tmp_path / "rooms", scenes=1, seed=0, density=60, progress=False, workers=1)
    for root, store in ((tmp_path / "rooms", "a"), (tmp_path / "rooms" / "scans", "b")):
        preprocess(root, tmp_path / store, progress=False)
        assert SceneStore(tmp_path / store / "train.h5").description["synthetic"]["density"] == 60
    (tmp_path / "rooms" / "synthetic.json").unlink()
    preprocess(tmp_path / "rooms", tmp_path / "c", progress=False)
    assert SceneStore(tmp_path / "c" / "train.h5").description["synthetic"] is None
