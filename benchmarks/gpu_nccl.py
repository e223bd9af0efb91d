"""A few steps under DistributedDataParallel; torchrun starts it: torchrun --nproc_per_node=1 -m benchmarks.gpu_nccl"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu_steps import batch
from pointseg.config import ModelConfig
from pointseg.distributed import process_group
from pointseg.losses import segmentation_loss
from pointseg.models import build_model
from pointseg.scannet.labels import NUM_CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with gloo")
    rehearse = parser.parse_args().rehearse
    with process_group("gloo" if rehearse else "nccl"):
        losses = train(rehearse)
    if not losses.isfinite().all() or losses[-1] >= losses[0]:
        raise SystemExit("the loss did not fall")


def train(rehearse: bool) -> Tensor:
    """The loss of each step, added over the processes."""
    device = torch.device("cpu") if rehearse else torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if not rehearse:
        torch.cuda.set_device(device)
    model = build_model(ModelConfig(), NUM_CLASSES).to(device)
    network = DistributedDataParallel(model, device_ids=None if rehearse else [device])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    xyz, label = batch(*((2, 1024) if rehearse else (8, 8192)), device)
    supervised = torch.ones_like(label, dtype=torch.bool)
    losses = []
    for _ in range(2 if rehearse else 10):
        optimizer.zero_grad()
        total, count = segmentation_loss(network(xyz), label, supervised)
        (total / count).backward()
        optimizer.step()
        losses.append(total.detach() / count)
    summed = torch.stack(losses)
    dist.all_reduce(summed)
    print(f"{dist.get_backend()}, {dist.get_world_size()} process: losses {[round(x, 3) for x in summed.tolist()]}")
    return summed


if __name__ == "__main__":
    main()
