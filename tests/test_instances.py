"""Images with masks for detectors, the order they are drawn in, the paper's schedule, and the score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pointseg.errors import InputError
from pointseg.images import instances
from pointseg.images.detection import average_precision, learning_rate, parameter_groups
from pointseg.images.instances import CocoInstances, GeneratedShapes, draw_batches
from pointseg.images.shapes import some_shapes
from scripts.train_mask_rcnn import forget_lines_after
from tests.test_images import needs_torchvision

try:
    instances.load_pycocotools()
    NO_PYCOCOTOOLS = ""
except InputError as error:
    NO_PYCOCOTOOLS = str(error)
needs_pycocotools = pytest.mark.skipif(bool(NO_PYCOCOTOOLS), reason=NO_PYCOCOTOOLS)
ROOT = Path(__file__).parent.parent


def test_boxes_are_those_of_the_masks_and_turn_with_the_image():
    data = GeneratedShapes(3, size=96, seed=5)
    for number in range(len(data)):
        image, target = data[number, False]
        shapes = some_shapes(np.random.default_rng([5, number]), 96)
        assert image.shape == (3, 96, 96)
        assert image.dtype == torch.float32
        assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(shapes.image).permute(2, 0, 1))
        assert target["labels"].tolist() == (shapes.kinds + 1).tolist()
        assert target["image_id"] == number
        for mask, (x0, y0, x1, y1) in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
            assert all(edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]))
        mirrored, turned = data[number, True]
        assert torch.equal(mirrored, image.flip(2))
        assert torch.equal(turned["masks"], target["masks"].flip(2))
        assert torch.equal(turned["boxes"][:, [0, 2]], 96 - target["boxes"][:, [2, 0]])


def test_batches_cover_every_epoch_once_and_do_not_depend_on_where_one_starts_or_how_many_draw():
    whole = list(draw_batches(10, 4, range(5), seed=3))
    drawn = [item for batch in whole for item in batch]
    assert sorted(number for number, _ in drawn[:10]) == list(range(10))
    assert sorted(number for number, _ in drawn[10:]) == list(range(10))
    assert [number for number, _ in drawn[:10]] != [number for number, _ in drawn[10:]]
    assert list(draw_batches(10, 4, range(3, 5), seed=3)) == whole[3:]
    shares = [list(draw_batches(10, 4, range(5), 3, rank, 2)) for rank in range(2)]
    assert [[one[0], other[0], one[1], other[1]] for one, other in zip(*shares, strict=True)] == whole
    mirrored = [flip for batch in draw_batches(100, 10, range(200), seed=0) for _, flip in batch]
    assert abs(np.mean(mirrored) - 0.5) < 0.05


def test_schedule_of_the_paper():
    paper = {"peak": 0.02, "steps": (60_000, 80_000), "warmup": 500}
    rates = [learning_rate(iteration, **paper) for iteration in (0, 250, 500, 59_999, 60_000, 79_999, 80_000)]
    assert rates == pytest.approx([0.02 / 3, 0.02 * 2 / 3, 0.02, 0.02, 0.002, 0.002, 0.0002])


def test_biases_learn_twice_as_fast_and_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 3), nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 1))
    model[2].weight.requires_grad = False
    weights, biases = parameter_groups(model, 1e-4)
    assert [p.shape for p in weights["params"]] == [(3, 2), (4, 3, 1, 1)]
    assert [p.shape for p in biases["params"]] == [(3,), (1,)]
    assert (weights["factor"], weights["weight_decay"]) == (1, 1e-4)
    assert (biases["factor"], biases["weight_decay"]) == (2, 0)


def test_what_is_missing_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"coco must be a folder with annotations/instances_val2017\.json"):
        CocoInstances(tmp_path, "val2017", annotated=False)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(InputError, match=r"pycocotools is missing: pip install 'pointseg\[images\]'"):
        instances.load_pycocotools()


@needs_pycocotools
def test_the_truth_scores_one_and_half_of_it_less():
    data = GeneratedShapes(6)
    truth = data.annotations()
    found = [{**one, "score": 0.9} for one in truth.dataset["annotations"]]
    perfect = average_precision(truth, found, range(6))
    assert perfect == {kind: {"AP": 1.0, "AP50": 1.0, "AP75": 1.0} for kind in ("box", "mask")}
    some = average_precision(truth, [one for one in found if one["image_id"] < 3], range(6))
    assert 0 < some["mask"]["AP"] < 1
    assert average_precision(truth, [], range(6))["box"]["AP"] == 0


@needs_pycocotools
def test_cocos_files(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.new("L", (20, 10), 51).save(tmp_path / "val2017" / "a.png")
    outline = [[2, 1, 8, 1, 8, 5, 2, 5]]  # x, y: a rectangle of 6 x 4
    one = {"id": 1, "image_id": 7, "category_id": 44, "iscrowd": 0, "bbox": [2, 1, 6, 4], "area": 24}
    crowd = {**one, "id": 2, "iscrowd": 1, "segmentation": {"size": [10, 20], "counts": [200]}}
    content = {
        "images": [{"id": i, "file_name": "a.png", "height": 10, "width": 20} for i in (7, 8)],
        "annotations": [{**one, "segmentation": outline}, crowd],
        "categories": [{"id": 44, "name": "bottle"}],
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    data = CocoInstances(tmp_path, "val2017", annotated=False)
    assert len(data) == 2
    assert len(CocoInstances(tmp_path, "val2017", annotated=True)) == 1
    image, target = data[0, True]
    assert image.shape == (3, 10, 20)
    assert image[0, 0, 0] == pytest.approx(0.2)
    assert target["labels"].tolist() == [44]
    assert target["image_id"] == data.image_id(0) == 7
    assert target["boxes"].tolist() == [[12, 1, 18, 5]]
    empty = data[1, False][1]
    assert empty["boxes"].shape == (0, 4)
    assert empty["masks"].shape == (0, 10, 20)


def test_lines_logged_after_the_checkpoint_are_forgotten(tmp_path):
    log = tmp_path / "log.jsonl"
    forget_lines_after(log, 0)
    assert log.read_text() == ""
    log.write_text('{"iteration": 20}\n{"iteration": 40}\n{"iteration": 60}\n{"iterat')
    forget_lines_after(log, 40)
    assert log.read_text() == '{"iteration": 20}\n{"iteration": 40}\n'


@pytest.mark.slow
@needs_torchvision
@needs_pycocotools
def test_the_script_trains_scores_and_resumes(tmp_path):
    def run(*arguments: str, fails: str = "") -> None:
        script = [sys.executable, ROOT / "scripts" / "train_mask_rcnn.py", "--synthetic", "--out", tmp_path / "run"]
        small = ["--images", "2", "--batch", "2", "--device", "cpu"]
        result = subprocess.run([*script, *small, *arguments], capture_output=True, text=True, check=False)
        assert (result.returncode != 0) == bool(fails), result.stderr
        assert fails in result.stderr

    run("--iterations", "2")
    run("--iterations", "3", fails="checkpoint.pt is there already; --resume goes on from it")
    run("--iterations", "3", "--resume")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 3]
    score = json.loads((tmp_path / "run" / "score.json").read_text())
    assert score["images"] == 2
    assert 0 <= score["mask"]["AP"] <= 1
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["iteration"] == 3
