"""Counts, voxels and scores against values worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.metrics import (
    VOXEL_2CM,
    VOXEL_4_84CM,
    confusion_counts,
    constant_answer_counts,
    scores,
    voxel_representatives,
    voxel_representatives_literal,
)


def test_counts_put_truth_in_rows_and_everything_unknown_in_the_last_column():
    target = np.array([0, 0, 1, 2, 255, 1], np.uint8)
    prediction = np.array([0, 1, 1, 3, 0, 255], np.uint8)
    counts = confusion_counts(prediction, target, 3)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_counts_of_nothing_are_zero():
    assert confusion_counts(np.array([], np.int64), np.array([], np.uint8), 2).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_counts_refuse_arrays_of_different_length():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        confusion_counts(np.zeros(2, int), np.zeros(3, int), 4)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60), st.integers(0, 60))
def test_counts_add_up_over_any_cut(pairs: list[tuple[int, int]], cut: int):
    prediction, target = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    whole = confusion_counts(prediction, target, 4)
    parts = confusion_counts(prediction[:cut], target[:cut], 4) + confusion_counts(prediction[cut:], target[cut:], 4)
    assert np.array_equal(whole, parts)
    for truth in range(4):
        for answer in range(4):
            assert whole[truth, answer] == pairs.count((answer, truth))
        assert whole[truth, 4] == pairs.count((4, truth)) + pairs.count((5, truth))


def test_scores_by_hand():
    # Class 0: 8 of 10 right, 2 taken for class 1. Class 1: 3 of 5 right, 1 for class 0, 1 outside. Class 2 is absent.
    counts = np.array([[8, 2, 0, 0], [1, 3, 0, 1], [0, 0, 0, 0]])
    got = scores(counts, calibration=[0.5, 0.25, 0.25])
    assert got.total == 15
    assert got.accuracy == pytest.approx(11 / 15)
    assert got.recall == (pytest.approx(0.8), pytest.approx(0.6), None)
    assert got.iou == (pytest.approx(8 / 11), pytest.approx(3 / 7), None)
    assert got.class_accuracy == pytest.approx(0.7)
    assert got.mean_iou == pytest.approx((8 / 11 + 3 / 7) / 2)
    assert got.calibrated_accuracy == pytest.approx((0.5 * 0.8 + 0.25 * 0.6) / 0.75)
    assert got.present == (True, True, False)


def test_a_class_that_is_predicted_but_absent_stays_absent():
    got = scores(np.array([[3, 1, 0], [0, 0, 0]]))
    assert got.iou == (pytest.approx(3 / 4), None)
    assert got.mean_iou == pytest.approx(3 / 4)


def test_nothing_annotated_gives_none_and_never_nan():
    got = scores(np.zeros((3, 4), np.int64), calibration=[1, 1, 1])
    assert (got.total, got.accuracy, got.class_accuracy, got.mean_iou, got.calibrated_accuracy) == (0, *[None] * 4)
    assert got.recall == got.iou == (None, None, None)


def test_scores_refuse_square_counts():
    with pytest.raises(ValueError, match=r"\[C, C \+ 1\], got \[3, 3\]"):
        scores(np.zeros((3, 3), np.int64))


def test_constant_answer_keeps_the_truth():
    counts = np.array([[8, 2, 0], [1, 3, 1]])
    assert constant_answer_counts(counts, 0).tolist() == [[10, 0, 0], [5, 0, 0]]


def _voxels_by_dictionary(xyz: np.ndarray, size: float) -> list[int]:
    low = xyz.astype(np.float64).min(axis=0)
    first: dict[tuple[int, int, int], int] = {}
    for index, point in enumerate(xyz.astype(np.float64)):
        x, y, z = (math.floor(value) for value in (point - low) / size)
        first.setdefault((x, y, z), index)
    return sorted(first.values())


@pytest.mark.parametrize("size", [0.02, VOXEL_4_84CM, 0.5])
def test_voxels_agree_with_a_dictionary(size: float):
    xyz = np.random.default_rng(0).uniform(-2, 3, (3000, 3)).astype(np.float32)
    assert voxel_representatives(xyz, size).tolist() == _voxels_by_dictionary(xyz, size)


def test_the_first_point_in_point_order_stands_for_its_voxel():
    xyz = np.array([[0.9, 0, 0], [0.1, 0, 0], [1.5, 0, 0], [0, 0, 0]], np.float32)
    assert voxel_representatives(xyz, 1.0).tolist() == [0, 2]


def test_voxels_do_not_collide_where_the_old_key_does():
    # With indices 0..n per axis, x + y*nx gives (2, 0) and (0, 1) the same key when nx = 2.
    xyz = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 0]], np.float32)
    assert voxel_representatives(xyz, 1.0).tolist() == [0, 1, 2, 3]


def test_voxels_of_a_scene_too_large_for_one_integer_key():
    # Two points 10^8 m apart in each axis and a third beside the first.
    xyz = np.array([[0, 0, 0], [1e8, 1e8, 1e8], [0.001, 0, 0]], np.float64)
    assert voxel_representatives(xyz, 0.02).tolist() == [0, 1]


@pytest.mark.parametrize(("size", "side"), [(VOXEL_2CM, Fraction(1, 50)), (VOXEL_4_84CM, Fraction(3, 62))])
@pytest.mark.parametrize("origin", [0.0, -7.3, 1e4, -1e4])
def test_voxels_are_exact_at_their_borders(origin: float, size: float, side: Fraction):
    """On borders and next to them, negative coordinates and 10 km away included, by arithmetic with fractions."""
    rng = np.random.default_rng(0)
    low = np.full((1, 3), origin, np.float32)
    border = (low + rng.integers(0, 40, (400, 3)) * size).astype(np.float32)
    beside = np.nextafter(border, rng.choice([-np.inf, np.inf], border.shape).astype(np.float32))
    xyz = np.concatenate([low, np.maximum(np.concatenate([border, beside]), low)])
    start = [Fraction(value) for value in xyz.min(axis=0).tolist()]
    first: dict[tuple[int, ...], int] = {}
    for index, point in enumerate(xyz.tolist()):
        first.setdefault(tuple((Fraction(v) - s) // side for v, s in zip(point, start, strict=True)), index)
    assert voxel_representatives(xyz, size).tolist() == sorted(first.values())


def test_voxels_of_no_points():
    assert voxel_representatives(np.zeros((0, 3), np.float32), 0.02).shape == (0,)


def test_literal_voxels_round_up_and_share_keys():
    # 3 x 2 x 1 voxels of 1 m by their extent, indices 0..3, 0..2, 0..1: (3, 0, 0) and (0, 1, 0) have the key 3.
    xyz = np.array([[0, 0, 0], [3, 0, 0], [0, 0.5, 0], [0.2, 0, 0], [0.9, 0, 0], [1, 2, 1]], float)
    assert voxel_representatives_literal(xyz, 1.0).tolist() == [0, 1, 3, 5]
    assert voxel_representatives(xyz, 1.0).tolist() == [0, 1, 5]
    assert voxel_representatives_literal(xyz[:0], 1.0).tolist() == []


@given(st.integers(0, 2**32 - 1))
def test_literal_voxels_take_the_first_point_of_each_key(seed: int):
    xyz = np.random.default_rng(seed).integers(-3, 4, (40, 3)) / 2
    low, n = xyz.min(axis=0), [math.ceil(side) for side in xyz.max(axis=0) - xyz.min(axis=0)]
    first: dict[int, int] = {}
    for number, point in enumerate(xyz):
        x, y, z = (math.ceil(v) for v in point - low)
        first.setdefault(x + y * n[0] + z * n[0] * n[1], number)
    assert voxel_representatives_literal(xyz, 1.0).tolist() == sorted(first.values())


@pytest.mark.parametrize(("absent", "class_accuracy"), [("skip", 0.7), ("zero", 1.4 / 3)])
def test_what_an_absent_class_counts(absent: str, class_accuracy: float):
    # Recalls 0.8 and 0.6; IoU 8 / 10 and 3 / 5; the third class is absent but predicted once.
    counts = np.array([[8, 0, 1, 1], [0, 3, 0, 2], [0, 0, 0, 0]])
    got = scores(counts, absent=absent)
    assert got.class_accuracy == pytest.approx(class_accuracy)
    assert got.mean_iou == pytest.approx((8 / 10 + 3 / 5) / 2)
    benchmark = scores(counts, absent="benchmark")
    assert benchmark.iou[2] == 0
    assert benchmark.mean_iou == pytest.approx((8 / 10 + 3 / 5) / 3)
