"""Trains and scores Mask R-CNN with LatentGNN, by the recipe of the paper (section 4.1.2, Tables 1 and 2).

    torchrun --nproc_per_node=8 scripts/train_mask_rcnn.py --coco data/coco --out runs/mask_rcnn
    python scripts/train_mask_rcnn.py --synthetic --out runs/shapes

COCO is a folder with train2017/, val2017/ and annotations/. Without options: 90,000 iterations of 16 images, SGD with
learning rate 0.02, a tenth of it after 60,000 and 80,000. `--synthetic` trains a small detector on generated images of
shapes, minutes on a CPU. Interrupted, the same command with `--resume` goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pointseg.atomic import replacing
from pointseg.distributed import Distributed, distributed_context
from pointseg.errors import InputError
from pointseg.images.detection import average_precision, detect, learning_rate, parameter_groups
from pointseg.images.instances import CocoInstances, GeneratedShapes, draw_batches, load_pycocotools
from pointseg.images.mask_rcnn import BACKBONES, mask_rcnn, small_objects

PAPER = {"backbone": "resnet50", "pretrained": "imagenet", "norm": "frozen", "iterations": 90_000, "batch": 16}
PAPER |= {"lr": 0.02, "steps": [60_000, 80_000], "warmup": 500, "min_size": 800, "max_size": 1333, "workers": 4}
SYNTHETIC = {"backbone": "resnet18", "pretrained": "none", "norm": "batch", "iterations": 600, "batch": 4}
SYNTHETIC |= {"lr": 0.01, "steps": [400, 550], "warmup": 50, "min_size": 96, "max_size": 96, "workers": 0}
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--coco", type=Path, help="COCO's folder")
    source.add_argument("--synthetic", action="store_true", help="generated images of shapes")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt, log.jsonl, score.json")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, nargs="*", default=[3, 4, 5], help="with a module; none: plain detector")
    parser.add_argument("--kind", choices=["latent_gnn", "non_local"], default="latent_gnn")
    parser.add_argument("--kernels", type=int, default=1)
    parser.add_argument("--channel-stride", type=int)
    parser.add_argument("--norm", choices=["frozen", "batch", "none"], help="of the modules")
    parser.add_argument("--backbone", choices=BACKBONES)
    parser.add_argument("--pretrained", choices=["none", "imagenet", "coco"])
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch", type=int, help="images an iteration, over all processes")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--steps", type=int, nargs="+", help="iterations after which the learning rate is a tenth")
    parser.add_argument("--warmup", type=int, help="iterations of linear warm-up")
    parser.add_argument("--min-size", type=int, help="the shorter side of an image, pixels")
    parser.add_argument("--max-size", type=int, help="the longer side at most")
    parser.add_argument("--workers", type=int, help="loader processes per training process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-every", type=int, default=2500)
    parser.add_argument("--images", type=int, help="score so many images only")
    parser.set_defaults(**(SYNTHETIC if "--synthetic" in sys.argv else PAPER))
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    try:
        load_pycocotools()  # now, not after hours of training
        with distributed_context(arguments.device) as here:
            run(arguments, here)
    except InputError as error:
        sys.exit(f"train_mask_rcnn: {error}")


def run(arguments: argparse.Namespace, here: Distributed) -> None:
    if arguments.batch % here.world_size:
        raise InputError(f"--batch must be a multiple of {here.world_size} processes, got {arguments.batch}")
    if arguments.synthetic:
        training, test = GeneratedShapes(1000, seed=1), GeneratedShapes(100, seed=2)
    else:
        training = CocoInstances(arguments.coco, "train2017", annotated=True)
        test = CocoInstances(arguments.coco, "val2017", annotated=False)
    torch.manual_seed(arguments.seed)  # the same new weights in every process
    model = mask_rcnn(
        arguments.stages,
        backbone=arguments.backbone,
        num_classes=training.num_classes,
        pretrained=arguments.pretrained,
        detector={
            "min_size": arguments.min_size,
            "max_size": arguments.max_size,
            **(small_objects() if arguments.synthetic else {}),
        },
        kind=arguments.kind,
        kernels=arguments.kernels,
        channel_stride=arguments.channel_stride,
        norm=arguments.norm,
    ).to(here.device)
    train(model, training, arguments, here)
    score(model, test, arguments, here)


def train(model: nn.Module, training: GeneratedShapes | CocoInstances, arguments, here: Distributed) -> None:
    optimizer = torch.optim.SGD(parameter_groups(model, WEIGHT_DECAY), lr=arguments.lr, momentum=MOMENTUM)
    checkpoint, start = arguments.out / "checkpoint.pt", 0
    if not arguments.resume and checkpoint.is_file():
        raise InputError(f"--out: {checkpoint} is there already; --resume goes on from it, or name another folder")
    if arguments.resume:
        if not checkpoint.is_file():
            raise InputError(f"--resume needs {checkpoint}, which is not there")
        state = torch.load(checkpoint, map_location=here.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["iteration"]
    if here.is_main:
        arguments.out.mkdir(parents=True, exist_ok=True)
        forget_lines_after(arguments.out / "log.jsonl", start)
    torch.manual_seed(arguments.seed + 1 + here.rank + 1000 * start)  # which proposals are sampled

    parallel = DistributedDataParallel(model) if here.world_size > 1 else model
    model.train()
    iterations = range(start, arguments.iterations)
    drawn = draw_batches(len(training), arguments.batch, iterations, arguments.seed, here.rank, here.world_size)
    loader = DataLoader(training, batch_sampler=drawn, num_workers=arguments.workers, collate_fn=list)
    for iteration, examples in zip(iterations, loader, strict=True):
        rate = learning_rate(iteration, arguments.lr, arguments.steps, arguments.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        images = [image.to(here.device) for image, _ in examples]
        targets = [{k: target[k].to(here.device) for k in ("boxes", "labels", "masks")} for _, target in examples]
        losses = parallel(images, targets)
        loss = sum(losses.values())
        if not torch.isfinite(loss):
            raise InputError(f"the loss of iteration {iteration} is not finite: lower --lr or lengthen --warmup")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = iteration + 1
        if here.is_main and (done % 20 == 0 or done == arguments.iterations):
            log(arguments.out, {"iteration": done, "lr": rate, **{name: one.item() for name, one in losses.items()}})
        if here.is_main and (done % arguments.checkpoint_every == 0 or done == arguments.iterations):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": done}
            with replacing(checkpoint) as temporary:
                torch.save(state, temporary)


def forget_lines_after(file: Path, iteration: int) -> None:
    """Drops what an interrupted run logged after its checkpoint, and all that is left of one that had none."""
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    with replacing(file) as temporary:
        whole = (line for line in lines if line.endswith("\n"))
        temporary.write_text("".join(line for line in whole if json.loads(line)["iteration"] <= iteration))


def log(out: Path, line: dict[str, float]) -> None:
    text = json.dumps({name: round(value, 6) for name, value in line.items()})
    print(text, flush=True)
    with (out / "log.jsonl").open("a") as file:
        file.write(text + "\n")


def score(model: nn.Module, test: GeneratedShapes | CocoInstances, arguments, here: Distributed) -> None:
    """Each process looks at its share of the images; the main one scores them all and writes score.json."""
    count = min(len(test), arguments.images or len(test))
    share = [(number, False) for number in range(here.rank, count, here.world_size)]
    loader = DataLoader(test, sampler=share, batch_size=None, num_workers=arguments.workers)
    found = detect(model.eval(), loader, here.device)
    if here.world_size > 1:
        parts: list = [None] * here.world_size
        dist.all_gather_object(parts, found)
        found = [one for part in parts for one in part]
    if here.is_main:
        images = [test.image_id(number) for number in range(count)]
        result = average_precision(test.annotations(), found, images) | {"images": count}
        with replacing(arguments.out / "score.json") as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result))


if __name__ == "__main__":
    main()
