"""Images with instance masks as torchvision's detectors take them: generated shapes, or the files of COCO.

M instances on an image of H x W pixels. A target has `boxes` [M, 4] float32 (x0, y0, x1, y1), `labels` [M] int64 (0 is
the background), `masks` [M, H, W] uint8 and `image_id`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pointseg.errors import InputError
from pointseg.images.shapes import KINDS, some_shapes

Target = dict[str, Any]


class GeneratedShapes(Dataset):
    """`count` images of `size` x `size` pixels with one to five shapes; a label is 1 + the shape's kind.

    `image[number, mirrored]` is an image [3, H, W] float32 in 0..1 and its target. The same for the same seed.
    """

    num_classes = 1 + len(KINDS)

    def __init__(self, count: int, size: int = 96, seed: int = 0) -> None:
        self.count, self.size, self.seed = count, size, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: tuple[int, bool]) -> tuple[Tensor, Target]:
        number, mirrored = item
        shapes = some_shapes(np.random.default_rng([self.seed, number]), self.size)
        return _example(shapes.image, shapes.masks, shapes.kinds + 1, number, mirrored)

    def image_id(self, number: int) -> int:
        return number

    def annotations(self) -> Any:
        """The truth as a `pycocotools.coco.COCO`."""
        mask_tools = load_pycocotools().mask
        images, annotations = [], []
        for number in range(self.count):
            images.append({"id": number, "height": self.size, "width": self.size})
            _, target = self[number, False]
            for mask, label in zip(target["masks"].numpy(), target["labels"].tolist(), strict=True):
                code = mask_tools.encode(np.asfortranarray(mask))
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
                entry |= {"segmentation": code, "bbox": mask_tools.toBbox(code).tolist(), "area": int(mask.sum())}
                annotations.append(entry)
        categories = [{"id": 1 + kind, "name": name} for kind, name in enumerate(KINDS)]
        return _index({"images": images, "annotations": annotations, "categories": categories})


class CocoInstances(Dataset):
    """COCO's images and instance annotations: `train2017/` and `annotations/instances_train2017.json` of a folder.

    A label is COCO's category id, as in torchvision's weights. Crowds are left out of the targets.

    Args:
        folder: COCO as unpacked.
        split: "train2017" or "val2017".
        annotated: leave out images without a single instance, which teach a detector nothing.
    """

    num_classes = 91

    def __init__(self, folder: Path, split: str, *, annotated: bool) -> None:
        file = Path(folder) / "annotations" / f"instances_{split}.json"
        if not file.is_file():
            raise InputError(f"coco must be a folder with annotations/instances_{split}.json, got {folder}")
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = load_pycocotools().coco.COCO(str(file))
        self.images = Path(folder) / split
        self.ids = sorted(self.coco.getImgIds())
        if annotated:
            self.ids = [number for number in self.ids if self.coco.getAnnIds(number, iscrowd=False)]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, item: tuple[int, bool]) -> tuple[Tensor, Target]:
        number, mirrored = item
        image_id = self.ids[number]
        name = self.coco.loadImgs(image_id)[0]["file_name"]
        image = np.asarray(Image.open(self.images / name).convert("RGB"))
        instances = self.coco.loadAnns(self.coco.getAnnIds(image_id, iscrowd=False))
        masks = np.array([self.coco.annToMask(one) for one in instances], bool).reshape(-1, *image.shape[:2])
        labels = np.array([one["category_id"] for one in instances], np.int64)
        return _example(image, masks, labels, image_id, mirrored)

    def image_id(self, number: int) -> int:
        return self.ids[number]

    def annotations(self) -> Any:
        """The truth as a `pycocotools.coco.COCO`."""
        return self.coco


def draw_batches(
    images: int, batch: int, iterations: range, seed: int, rank: int = 0, world_size: int = 1
) -> Iterator[list[tuple[int, bool]]]:
    """For each iteration this process's share of `batch`: numbers of images, and whether each is mirrored.

    Every epoch has the images in a new order and mirrors half of them; an iteration draws the same wherever one starts.
    """
    epoch, order = -1, np.empty(0)
    for iteration in iterations:
        chosen = []
        for drawn in range(iteration * batch + rank, (iteration + 1) * batch, world_size):
            if drawn // images != epoch:
                epoch = drawn // images
                order = np.random.default_rng([seed, epoch]).permutation(images)
            mirrored = np.random.default_rng([seed, epoch, drawn]).random() < 0.5
            chosen.append((int(order[drawn % images]), bool(mirrored)))
        yield chosen


def _example(
    image: np.ndarray, masks: np.ndarray, labels: np.ndarray, image_id: int, mirrored: bool
) -> tuple[Tensor, Target]:
    """Boxes are those of the masks; an instance without a pixel is left out."""
    seen = masks.any(axis=(1, 2))
    masks, labels = masks[seen], labels[seen]
    if mirrored:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    target = {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.from_numpy(labels),
        "masks": torch.from_numpy(masks.astype(np.uint8)),
        "image_id": image_id,
    }
    return torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255)), target


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _index(dataset: dict[str, Any]) -> Any:
    coco = load_pycocotools().coco.COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def load_pycocotools() -> Any:
    """The package with its modules, or an InputError that says in one line what to do."""
    try:
        import pycocotools.coco
        import pycocotools.cocoeval
        import pycocotools.mask
    except ModuleNotFoundError:
        raise InputError("images: pycocotools is missing: pip install 'pointseg[images]'") from None
    return pycocotools
