"""Processes that compute together: how they part."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pointseg.distributed import process_group


def gloo_threads() -> list[str]:
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def compute() -> None:
    network = DistributedDataParallel(nn.Linear(2, 2))
    network(torch.ones(3, 2)).sum().backward()
    dist.all_reduce(torch.ones(1))
    assert len(gloo_threads()) > 1


def _compute_as_one_of_two(rank: int, folder: Path) -> None:
    with process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2):
        compute()
    assert gloo_threads() == []


def test_no_thread_outlives_its_process_group(tmp_path: Path) -> None:
    """One that waits for Python's lock when the interpreter shuts down aborts the process."""
    torch.multiprocessing.spawn(_compute_as_one_of_two, (tmp_path,), nprocs=2)
