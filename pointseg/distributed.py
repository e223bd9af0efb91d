"""One process or many: what torchrun's environment says, and the few collectives the loops need."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pointseg.errors import InputError


@dataclass(frozen=True)
class Distributed:
    """The place of this process among `world_size` processes that run the same program."""

    rank: int
    world_size: int
    device: torch.device  # where this process computes

    @property
    def is_main(self) -> bool:
        """Does this process write files and draw progress bars?"""
        return self.rank == 0

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, on its device; exact for integers."""
        if self.world_size == 1:
            return tensor
        summed = tensor.detach().clone()
        dist.all_reduce(summed, op=dist.ReduceOp.SUM)
        return summed

    def maximum(self, value: int) -> int:
        """The greatest `value` of all processes."""
        if self.world_size == 1:
            return value
        greatest = torch.tensor(value)
        dist.all_reduce(greatest, op=dist.ReduceOp.MAX)
        return int(greatest)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites every process's tensors, on its device, with those of the main one."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def on_main(self, action: Callable[[], None]) -> None:
        """Runs `action` on the main process; its InputError is raised on every process."""
        errors: list[str | None] = [None]
        if self.is_main:
            try:
                action()
            except InputError as error:
                errors[0] = str(error)
        if self.world_size > 1:
            dist.broadcast_object_list(errors, src=0, device=torch.device("cpu"))
        if errors[0]:
            raise InputError(errors[0])

    def barrier(self) -> None:
        if self.world_size > 1:
            self.all_reduce_sum(torch.zeros(1))


@contextmanager
def distributed_context(device: str = "auto") -> Iterator[Distributed]:
    """Joins the process group that torchrun describes; without torchrun, one process.

    NCCL adds tensors on GPUs, gloo those on CPUs, so that the host may agree on something without waiting for the GPU.

    Args:
        device: "auto" takes CUDA where there is any, "cpu" or "cuda" insist.

    Raises:
        InputError: an unknown device, CUDA asked for where there is none, more local processes than GPUs.
    """
    rank, world_size, local_rank = (int(os.environ.get(name, d)) for name, d in _ENVIRONMENT)
    chosen = _choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size == 1:
        yield Distributed(rank=0, world_size=1, device=chosen)
        return
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    with process_group(backend, **_meeting_place(rank, world_size)):
        yield Distributed(rank=rank, world_size=world_size, device=chosen)


@contextmanager
def process_group(backend: str, **place: Any) -> Iterator[None]:
    """PyTorch's default process group for the length of the block; its threads end with the block.

    Such a thread lets go of the tensor that it has added last, which takes Python's lock. One that still waits for the
    lock when the interpreter shuts down aborts the process ("terminate called without an active exception", status
    134). They are joined where the last reference to the group goes. That has to be here: a parallel network would
    join them with the lock in its hand, and wait for ever. So networks that are made in the block have to be gone at
    its end. The frames of an exception may still hold one; then the group is kept, and nobody waits for its threads.

    Args:
        place: of this process, as `init_process_group` takes it; torchrun's environment by default.
    """
    # Its functions have the group of the moment of the import as a default argument, for good, and
    # DistributedDataParallel imports it: it has to happen while there is no group yet.
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group(backend, **place)
    try:
        yield
        gc.collect()  # networks in cycles
    except BaseException:
        _KEPT.append(dist.group.WORLD)
        raise
    finally:
        dist.destroy_process_group()


_KEPT: list[dist.ProcessGroup] = []


def _meeting_place(rank: int, world_size: int) -> dict[str, Any]:
    """Where processes that torchrun starts again meet, for `process_group`; elsewhere what it does by itself.

    torchrun's store lives through its restarts and holds the addresses of processes that are gone (torch 2.13). Of
    several nodes each counts restarts for itself, so that there the count cannot name a new place.
    """
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if start == "0" or int(os.environ.get("LOCAL_WORLD_SIZE", "0")) != world_size:
        return {}
    store, *_ = next(dist.rendezvous("env://"))
    return {"store": dist.PrefixStore(f"start {start}", store), "rank": rank, "world_size": world_size}


_ENVIRONMENT = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def _choose_device(device: str, local_rank: int) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, got {device!r}")
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and available == 0):
        return torch.device("cpu")
    if local_rank >= available:
        raise InputError(f"device: process {local_rank} of this machine needs its own GPU, found {available} GPUs")
    return torch.device("cuda", local_rank)
