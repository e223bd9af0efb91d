"""The network that ships with the package: PointNet++ SSG + LatentGNN, xyz only, trained on synthetic rooms."""

from __future__ import annotations

from pathlib import Path

# A checkpoint without an optimiser; pretrained/README.md is its card, scripts/train_pretrained.sh makes it.
PRETRAINED = Path(__file__).parent / "prediction" / "pretrained" / "ssg_latentgnn_rooms.pt"
