"""Training and scoring a detector as the LatentGNN paper does (section 4.1.2): its schedule, COCO's average precision.

The recipe is that of maskrcnn-benchmark, which the authors' detectors were trained with.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.images.instances import load_pycocotools

_WARMUP_START = 1 / 3  # of the learning rate
_STATISTICS = ("AP", "AP50", "AP75")  # the first three of COCO's twelve statistics


def learning_rate(iteration: int, peak: float, steps: Sequence[int], warmup: int) -> float:
    """Linear from a third of `peak` over `warmup` iterations, then a tenth of it after each of `steps`."""
    rising = min(1.0, _WARMUP_START + (1 - _WARMUP_START) * iteration / max(warmup, 1))
    return peak * rising * 0.1 ** sum(iteration >= step for step in steps)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """All trainable parameters for SGD; biases learn twice as fast (`factor`) and do not decay."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return [
        {"params": [p for n, p in named if not n.endswith("bias")], "factor": 1.0, "weight_decay": weight_decay},
        {"params": [p for n, p in named if n.endswith("bias")], "factor": 2.0, "weight_decay": 0.0},
    ]


@torch.no_grad()
def detect(model: nn.Module, images: Iterable[tuple[Tensor, Mapping[str, Any]]], device: torch.device) -> list[dict]:
    """What `model`, in evaluation mode, finds on images [3, H, W], as COCO's results with boxes and masks."""
    mask_tools = load_pycocotools().mask
    found = []
    for image, target in images:
        output = {name: tensor.cpu().numpy() for name, tensor in model([image.to(device)])[0].items()}
        for box, label, score, mask in zip(
            output["boxes"], output["labels"], output["scores"], output["masks"], strict=True
        ):
            code = mask_tools.encode(np.asfortranarray(mask[0] > 0.5, np.uint8))
            entry = {"image_id": target["image_id"], "category_id": int(label), "score": float(score)}
            found.append(entry | {"bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()], "segmentation": code})
    return found


def average_precision(
    truth: Any, found: Sequence[Mapping[str, Any]], images: Sequence[int]
) -> dict[str, dict[str, float]]:
    """COCO's AP, AP50 and AP75 of boxes and masks in 0..1, over the images with these ids.

    `truth` is a `pycocotools.coco.COCO`; `found` is what `detect` returned.
    """
    scores = {}
    for name, kind, unused in (("box", "bbox", "segmentation"), ("mask", "segm", "bbox")):
        results = [{key: value for key, value in one.items() if key != unused} for one in found]
        if not results:
            scores[name] = dict.fromkeys(_STATISTICS, 0.0)
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = load_pycocotools().cocoeval.COCOeval(truth, truth.loadRes(results), kind)
            evaluation.params.imgIds = list(images)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        scores[name] = {key: float(value) for key, value in zip(_STATISTICS, evaluation.stats, strict=False)}
    return scores
