"""Which scan goes where: ScanNet's two cuts against their published sizes, a file's cut, shares of a job."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pointseg.errors import InputError
from pointseg.scannet.labels import V1_VAL_SPACES, scans_of, space_of, split_of
from pointseg.scannet.splits import Shard, by_split

ALL = [scan_id for split in ("train", "val", "test") for scan_id in scans_of(split)]


def assign(scan_ids: list[str], **options) -> tuple[dict[str, list[str]], list[str]]:
    scans = {scan_id: [Path("scans") / scan_id] for scan_id in scan_ids}
    defaults = {"version": "v2", "split_file": None, "scan_list": None, "shard": None}
    splits, failures = by_split(scans, **(defaults | options))
    return {split: list(folders) for split, folders in splits.items()}, [failure.reason for failure in failures]


def test_sizes_of_scannets_cuts() -> None:
    assert {split: len(names) for split, names in assign(ALL)[0].items()} == {"train": 1201, "val": 312, "test": 100}
    first = assign(ALL, version="v1")[0]
    assert first["test"] == assign(ALL)[0]["val"]
    assert sorted(first["train"] + first["val"]) == sorted(assign(ALL)[0]["train"])
    assert {space_of(scan_id) for scan_id in first["val"]} == set(V1_VAL_SPACES)
    assert Counter(split_of(scan_id, "v1") for scan_id in ALL)[None] == 100


def test_a_split_file_decides_and_leaves_the_rest_out(tmp_path: Path) -> None:
    path = tmp_path / "splits.txt"
    path.write_text("scene0900_00\ttrain\n\nscene0000_00 val\nscene0001_00 test\n")
    splits, failures = assign(["scene0000_00", "scene0002_00", "scene0900_00"], split_file=path)
    assert splits == {"val": ["scene0000_00"], "train": ["scene0900_00"]}
    assert failures == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene0000_00 dev", "one of train, val, test a line, got 'scene0000_00 dev'"),
        ("scene0000_00", "one of train, val, test a line"),
        ("room train", "expected a scan id .* got 'room'"),
        ("scene0000_00 val\nscene0000_00 train", "expected scene0000_00 in one split, got val and train"),
    ],
)
def test_split_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "splits.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        assign(["scene0000_00"], split_file=tmp_path / "splits.txt")


def test_shards_are_a_partition() -> None:
    shares = [assign(ALL, shard=Shard(index, 7))[0] for index in range(1, 8)]
    for split, whole in assign(ALL)[0].items():
        assert sorted(name for share in shares for name in share[split]) == sorted(whole)
        assert {len(share[split]) - len(whole) // 7 for share in shares} <= {0, 1}
    assert assign(["scene0000_00"], shard=Shard(2, 2)) == ({}, [])
