"""Is there a second shape of the same colour anywhere? A segmentation network that must look across the whole image.

Images and labels are those of `pointseg.images.shapes.pair_among_shapes`. The convolutions see 7 x 7 pixels, and the
next shape is 12 or more away from any pixel of a shape: without context the best answer is right half of the time.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.images.shapes import pair_among_shapes
from pointseg.models import LatentGNN, NonLocalBlock

SIZE, CHANNELS = 96, 32
_NO_SHAPE = -100


class Segmenter(nn.Module):
    """`[B, 3, H, W] -> [B, 2, H / 4, W / 4]` logits of ALONE and PAIRED; the context module stands in the middle."""

    def __init__(self, context: str) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_convolution(3, 16, 3, 2), *_convolution(16, CHANNELS, 3, 2))
        self.context = make_context(context)
        self.decoder = nn.Sequential(*_convolution(CHANNELS, CHANNELS, 1, 1), nn.Conv2d(CHANNELS, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.context(self.encoder(images)))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def make_context(name: str) -> nn.Module:
    if name == "none":
        return nn.Identity()
    if name == "non_local":
        return NonLocalBlock(CHANNELS)
    return LatentGNN(CHANNELS, latent_dims=16, channel_stride=1)


def make_batch(seed: int, number: int, batch: int) -> tuple[Tensor, Tensor]:
    """Images [B, 3, H, W] float32 about 0, and labels [B, H / 4, W / 4] int64, _NO_SHAPE beside the shapes."""
    images, labels = [], []
    for item in range(batch):
        shapes, kinds = pair_among_shapes(np.random.default_rng([seed, number, item]), SIZE)
        label = np.full(shapes.image.shape[:2], _NO_SHAPE)
        for mask, kind in zip(shapes.masks, kinds, strict=True):
            label[mask] = kind
        images.append(shapes.image)
        labels.append(label[2::4, 2::4])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return (pixels - 110) / 80, torch.from_numpy(np.stack(labels))


def train_and_score(context: str, seed: int, steps: int, batch: int, report=lambda line: None) -> float:
    """Trains on `steps` fresh batches; the accuracy over the shapes' positions on 20 unseen ones."""
    torch.manual_seed(seed)
    model = Segmenter(context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        images, labels = make_batch(seed, step, batch)
        loss = F.cross_entropy(model(images), labels, ignore_index=_NO_SHAPE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            report(f"{context}: step {step + 1} of {steps}, loss {loss.item():.3f}")
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for number in range(20):
            images, labels = make_batch(seed + 1_000_000, number, batch)
            here = labels != _NO_SHAPE
            correct += int((model(images).argmax(dim=1) == labels)[here].sum())
            total += int(here.sum())
    return correct / total
