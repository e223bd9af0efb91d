"""Generated images of shapes, and the question that needs all of an image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.images.shapes import ALONE, COLORS, KINDS, PAIRED, draw_shapes, pair_among_shapes, some_shapes

ROOT = Path(__file__).parent.parent


def test_shapes_are_where_their_masks_say_and_far_from_one_another():
    for seed in range(20):
        shapes = draw_shapes(np.random.default_rng(seed), 72, np.arange(6) % len(COLORS))
        assert shapes.image.shape == (72, 72, 3)
        assert shapes.image.dtype == np.uint8
        assert shapes.masks.shape == (6, 72, 72)
        assert set(shapes.kinds) <= set(range(len(KINDS)))
        places = [np.argwhere(mask) for mask in shapes.masks]
        for mask, color in zip(shapes.masks, shapes.colors, strict=True):
            assert abs(shapes.image[mask].mean(axis=0) - COLORS[color]).max() < 8
            assert 38 <= mask.sum() <= 70
        for i in range(6):
            for j in range(i):
                gap = abs(places[i][:, None] - places[j][None]).max(axis=2).min()
                assert gap >= 12
    assert abs(shapes.image[~shapes.masks.any(axis=0)].mean() - 110) < 2


def test_half_of_the_shapes_are_paired_whatever_their_colour():
    answers = [[] for _ in COLORS]
    for seed in range(300):
        shapes, labels = pair_among_shapes(np.random.default_rng(seed))
        for color, label in zip(shapes.colors, labels, strict=True):
            assert label == (PAIRED if (shapes.colors == color).sum() > 1 else ALONE)
            answers[color].append(label)
    assert all(abs(np.mean(each) - 0.5) < 0.12 for each in answers)


def test_the_same_seed_is_the_same_image_and_bad_sizes_are_named():
    one, other = (some_shapes(np.random.default_rng([3, 4]), 96) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert 1 <= len(one.masks) <= 5
    with pytest.raises(ValueError, match="multiple of 24 with cells for 1 shapes, got 100"):
        draw_shapes(np.random.default_rng(0), 100, np.array([1]))
    with pytest.raises(ValueError, match="cells for 5 shapes, got 48"):
        draw_shapes(np.random.default_rng(0), 48, np.arange(5))


def test_the_script_writes_its_scores(tmp_path):
    """What it shows takes minutes; here it only runs."""
    output = tmp_path / "scores.json"
    command = [sys.executable, ROOT / "scripts" / "show_long_range.py", "--steps", "2", "--batch", "2"]
    subprocess.run([*command, "--output", output], check=True, capture_output=True)
    result = json.loads(output.read_text())
    assert result["steps"] == 2
    assert set(result["accuracy"]) == {"none", "latent_gnn", "non_local"}
    assert all(0 <= score <= 1 for score in result["accuracy"].values())
