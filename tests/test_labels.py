"""The class table, the id mapping and the splits."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.errors import InputError
from pointseg.scannet import labels
from pointseg.scannet.labels import IGNORE, NUM_CLASSES


def test_the_class_table() -> None:
    assert len(labels.CLASS_NAMES) == len(set(labels.CLASS_NAMES)) == NUM_CLASSES
    assert labels.NYU40_IDS == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
    assert labels.CLASS_COLORS.shape == (NUM_CLASSES, 3)
    assert len(np.unique(labels.CLASS_COLORS, axis=0)) == NUM_CLASSES
    index = labels.CLASS_NAMES.index
    assert (index("wall"), index("refrigerator"), index("otherfurniture")) == (0, 14, 19)
    assert labels.CLASS_COLORS[index("toilet")].tolist() == [44, 160, 44]


def test_calibrated_weights_are_in_benchmark_order() -> None:
    weights = dict(zip(labels.CLASS_NAMES, labels.CALIBRATED_WEIGHTS, strict=True))
    assert weights["wall"] == 0.388
    assert weights["cabinet"] == 0.024
    assert weights["shower curtain"] == 0.0004
    assert weights["otherfurniture"] == 0.029
    assert labels.CALIBRATED_WEIGHTS.sum() == pytest.approx(0.9974)  # the published weights do not sum to 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_nyu40_ids_to_train_ids(dtype: type) -> None:
    ids = np.array([0, 1, 2, 13, 24, 39, 40, 41, 50, 149, 255], dtype=dtype)
    expected = [IGNORE, 0, 1, IGNORE, 14, 19, IGNORE, IGNORE, IGNORE, IGNORE, IGNORE]
    got = labels.nyu40_to_train(ids)
    assert got.tolist() == expected
    assert got.dtype == np.uint8


def test_ids_far_outside_are_unannotated() -> None:
    assert labels.nyu40_to_train(np.array([65535, 257], dtype=np.uint16)).tolist() == [IGNORE, IGNORE]
    assert labels.nyu40_to_train(np.array([[-1, 2**40], [1, 256]])).tolist() == [[IGNORE, IGNORE], [0, IGNORE]]
    assert labels.nyu40_to_train(np.zeros(0, dtype=np.uint16)).shape == (0,)
    with pytest.raises(TypeError, match="ids must be integers, got float64"):
        labels.nyu40_to_train(np.zeros(3))


def test_train_ids_go_back_to_nyu40() -> None:
    train = np.arange(NUM_CLASSES)
    assert labels.train_to_nyu40(train).tolist() == list(labels.NYU40_IDS)
    np.testing.assert_array_equal(labels.nyu40_to_train(labels.train_to_nyu40(train)), train)
    assert labels.train_to_nyu40(np.array([IGNORE, 3], dtype=np.uint8)).tolist() == [0, 4]
    with pytest.raises(ValueError, match=r"labels must be 0\.\.19 or 255, got 20"):
        labels.train_to_nyu40(np.array([0, 20]))


def test_colours() -> None:
    assert labels.colorize(np.array([0, 19, IGNORE])).tolist() == [[174, 199, 232], [82, 84, 163], [0, 0, 0]]
    with pytest.raises(ValueError, match="got -1"):
        labels.colorize(np.array([-1]))


def test_split_sizes() -> None:
    assert [len(labels.scans_of(split)) for split in labels.SPLITS] == [1201, 312, 100]
    assert [len(labels.spaces_of(split)) for split in labels.SPLITS] == [565, 142, 100]
    assert len(labels.NUM_SCANS_PER_SPACE) == 707
    assert len(labels.V1_VAL_SPACES) == 71


def test_no_space_is_in_two_splits() -> None:
    spaces = [space for split in labels.SPLITS for space in labels.spaces_of(split)]
    assert sorted(spaces) == list(range(807))
    for split in labels.SPLITS:
        assert list(labels.spaces_of(split)) == sorted(labels.spaces_of(split))
        assert {labels.split_of(scan) for scan in labels.scans_of(split)} == {split}
    assert set(labels.V1_VAL_SPACES) <= set(labels.spaces_of("train"))


def test_spaces_and_splits_of_scans() -> None:
    assert labels.space_of("scene0011_01") == 11
    assert [labels.split_of(f"scene{space:04d}_00") for space in (0, 11, 706, 707, 806)] == [
        "train",
        "val",
        "train",
        "test",
        "test",
    ]
    assert labels.is_scan_id("scene0000_00")
    assert not labels.is_scan_id("scene0000_00.zip")


@pytest.mark.parametrize("scan_id", ["scene11_01", "scene0011", "Scene0011_00", "scene0011_00/", ""])
def test_malformed_scan_ids(scan_id: str) -> None:
    with pytest.raises(InputError, match=r"expected sceneSSSS_NN"):
        labels.space_of(scan_id)


def test_spaces_scannet_does_not_have() -> None:
    with pytest.raises(InputError, match=r"spaces 0\.\.806, got 'scene0807_00'"):
        labels.split_of("scene0807_00")
    with pytest.raises(InputError, match="expected one of train, val, test, got 'dev'"):
        labels.spaces_of("dev")


def test_shared_tables_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        labels.CLASS_COLORS[0, 0] = 1
