"""BatchNorm whose statistics are those of the rows of all processes.

PyTorch's SyncBatchNorm refuses the CPU. The one here, for processes on CPUs, is the same function by two sums over the
processes, forward and backward. R rows on this process, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with each BatchNorm1d replaced; parameters, statistics and their names stay."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = ProcessBatchNorm  # nothing but `forward` differs
    return model


class ProcessBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d of `[R, C]` over the rows of all processes, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        rows = _SumOverProcesses.apply(values.new_tensor([len(values)]))
        mean = _SumOverProcesses.apply(values.sum(dim=0)) / rows
        variance = _SumOverProcesses.apply((values - mean).square().sum(dim=0)) / rows
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * rows / (rows - 1), self.momentum)
        normalised = (values - mean) * torch.rsqrt(variance + self.eps)
        return (normalised * self.weight + self.bias).to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """Every process's loss depends on the sum, so the gradient is summed in the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total
