"""One training step of a network on fixed tensors: eager, compiled, or captured whole in a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.clouds import chunks
from pointseg.losses import segmentation_loss
from pointseg.scannet.labels import NUM_CLASSES


class Step:
    """Forward, loss, backward and Adam on the tensors `xyz` and `label`, which may be overwritten between calls."""

    def __init__(
        self, model: nn.Module, xyz: Tensor, label: Tensor, precision: str, *, compiler: str = "", ahead: bool = False
    ) -> None:
        """xyz [B, N, 3], label [B, N]; precision: float32, tf32 (its matrix products alone) or bfloat16.

        compiler: a backend of torch.compile, or none. ahead: the geometry is computed here, once, and not by a step.
        """
        self.model = model.train()
        self.xyz, self.label = xyz, label
        self.network = torch.compile(model, backend=compiler) if compiler else model
        self.geometry = model.geometry(xyz) if ahead else None
        self.precision, self.device = precision, xyz.device
        self.supervised = torch.ones_like(label, dtype=torch.bool)
        cuda = xyz.device.type == "cuda"
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=cuda, fused=cuda or None)

    def __call__(self) -> Tensor:
        """The mean loss."""
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        self.optimizer.zero_grad(set_to_none=True)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with autocast, getattr(self.model, "kernels", nullcontext)():
            logits = self.network(self.xyz, None, self.geometry) if self.geometry else self.network(self.xyz)
        total, count = segmentation_loss(logits.float(), self.label, self.supervised)
        loss = total / count.clamp(min=1)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def captured(self) -> Callable[[], Tensor]:
        """A replay of this step as one CUDA graph (without CUDA: the step itself); it changes the weights thrice."""
        if self.device.type != "cuda":
            return self
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self()

        def replay() -> Tensor:
            graph.replay()
            return loss

        return replay


def batch(B: int, N: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """xyz [B, N, 3] of synthetic rooms, label [B, N]: classes by height, so that there is something to learn."""
    xyz = chunks(B, N, np.random.default_rng([B, N]))
    label = (xyz[..., 2] * 4).long().clamp(0, NUM_CLASSES - 1)
    return xyz.to(device), label.to(device)
