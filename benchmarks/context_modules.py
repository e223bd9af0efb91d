"""Context modules and their peers: plain statements of attention, and what a call costs in time and memory.

B batch, N points, C channels, c reduced channels. Every module maps [B, C, *spatial] to the same shape and ends as
NonLocalBlock does, x + up(context).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pointseg.models import LatentGNN, NonLocalBlock


class Attention(nn.Module):
    """Query, key and value [B, N, c] of the input, c = C / 2 as in the non-local block; `gather` puts them together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduced = channels // 2
        self.embed = nn.Linear(channels, 3 * self.reduced, bias=False)
        self.expand = nn.Linear(self.reduced, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.embed(x.flatten(2).transpose(1, 2)).split(self.reduced, dim=2)
        return x + self.expand(self.gather(q, k, v)).transpose(1, 2).reshape(x.shape)

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError


class SoftmaxAttention(Attention):
    """softmax(Q K^T / sqrt(c)) V, the [N, N] matrix written out (Vaswani et al. 2017)."""

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(1, 2) / self.reduced**0.5).softmax(dim=2) @ v


class FusedAttention(Attention):
    """The same by PyTorch's `scaled_dot_product_attention`: FlashAttention's algorithm where it has a kernel."""

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (part.unsqueeze(1) for part in (q, k, v))  # one head: without that dimension it writes the matrix out
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1)


class LinearAttention(Attention):
    """phi(Q) (phi(K)^T V) / phi(Q) (phi(K)^T 1), phi(x) = elu(x) + 1 (Katharopoulos et al. 2020)."""

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = torch.nn.functional.elu(q) + 1, torch.nn.functional.elu(k) + 1
        return q @ (k.transpose(1, 2) @ v) / (q @ k.sum(dim=1).unsqueeze(2))


class EfficientAttention(Attention):
    """Q (K^T V) with the softmax of Q over channels, of K over points (Shen et al. 2021; A2-Nets, Chen et al. 2018)."""

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.softmax(dim=2) @ (k.softmax(dim=1).transpose(1, 2) @ v)


class DenseNonLocal(Attention):
    """S T^T X W / N with the [N, N] matrix written out: the non-local block as usually written (Wang et al. 2018)."""

    def gather(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(1, 2)) @ v / q.shape[1]


def point_modules(channels: int) -> dict[str, nn.Module]:
    return {
        "LatentGNN": LatentGNN(channels, 100),
        "non-local block, reordered": NonLocalBlock(channels),
        "linear attention": LinearAttention(channels),
        "efficient attention": EfficientAttention(channels),
        "softmax attention, fused": FusedAttention(channels),
        "softmax attention": SoftmaxAttention(channels),
    }


class Cost(NamedTuple):
    milliseconds: float
    mebibytes: float  # the most that was allocated at a time beside the input and the parameters


def measure(module: nn.Module, x: Tensor, *, training: bool, repeats: int) -> Cost:
    """One call of `module` on `x`, with the backward pass where `training`: the fastest of some, and its memory."""
    module.train(training)
    if training:
        grad = torch.randn_like(x)
        x.requires_grad_()

    def run() -> Tensor | None:
        if not training:
            with torch.no_grad():
                return module(x)
        module.zero_grad()
        x.grad = None
        module(x).backward(grad)
        return None

    memory = peak_bytes(run, x.device)
    times = []
    for _ in range(repeats):
        start = _now(x.device)
        run()
        times.append(_now(x.device) - start)
        if sum(times) > 2:
            break
    return Cost(1e3 * min(times), memory / 2**20)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """The most memory that `run` had allocated at a time beyond what there was before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = run()
    del result
    held = peak = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
