"""A small Mask R-CNN with LatentGNN learns eight generated images by heart: can the detector learn at all?

python -m benchmarks.detector_overfit [--output FILE] [--device cpu] [--iterations N]      needs torchvision

A detection is right when an object of its class overlaps with it by half (of boxes) and no surer one took that object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from pointseg.images.detection import parameter_groups
from pointseg.images.instances import GeneratedShapes
from pointseg.images.mask_rcnn import load_torchvision, mask_rcnn, small_objects

IMAGES, SIZE, SURE = 8, 192, 0.5


def matched(found: dict[str, Tensor], target: dict[str, Tensor]) -> tuple[int, int, int]:
    """Right detections, all detections surer than `SURE`, objects."""
    overlap = load_torchvision().ops.box_iou(found["boxes"], target["boxes"])
    kept = (found["scores"] > SURE).nonzero().flatten().tolist()  # surest first
    free, right = set(range(len(target["boxes"]))), 0
    for number in kept:
        fits = [o for o in free if overlap[number, o] > 0.5 and found["labels"][number] == target["labels"][o]]
        if fits:
            free.remove(max(fits, key=lambda o: overlap[number, o].item()))
            right += 1
    return right, len(kept), len(target["boxes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/detector_overfit.json"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--iterations", type=int, default=400)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    images = GeneratedShapes(IMAGES, size=SIZE, seed=3)
    examples = [images[number, False] for number in range(IMAGES)]
    pixels = [image.to(device) for image, _ in examples]
    targets = [{name: target[name].to(device) for name in ("boxes", "labels", "masks")} for _, target in examples]

    torch.manual_seed(0)
    detector = {"min_size": SIZE, "max_size": SIZE, **small_objects()}
    model = mask_rcnn((3, 4, 5), backbone="resnet18", num_classes=images.num_classes, detector=detector, norm="batch")
    model = model.to(device).train()
    optimizer = torch.optim.SGD(parameter_groups(model, 1e-4), lr=0.005, momentum=0.9)
    losses, started = [], time.perf_counter()
    for iteration in range(arguments.iterations):
        for group in optimizer.param_groups:
            group["lr"] = 0.005 * group["factor"] * min((iteration + 1) / 50, 1)
        loss = sum(model(pixels, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 50 == 0 or iteration == arguments.iterations - 1:
            losses.append(round(loss.item(), 4))
            print(f"iteration {iteration}: loss {losses[-1]}", flush=True)
    with torch.no_grad():
        found = model.eval()(pixels)
    counts = torch.tensor([matched(f, t) for f, t in zip(found, targets, strict=True)]).sum(dim=0).tolist()
    right, detections, objects = counts
    result = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "iterations": arguments.iterations,
        "seconds": round(time.perf_counter() - started, 1),
        "losses": losses,
        "objects": objects,
        "found": right,
        "detections": detections,
        "precision": round(right / max(detections, 1), 3),
        "recall": round(right / objects, 3),
        "scales": [round(p.item(), 4) for name, p in model.named_parameters() if name.endswith("context.scale")],
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
