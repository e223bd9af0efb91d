"""Does what stands around a vertex matter for its class? One small network sees 0.2 m around it, its twin 1.5 m.

    python scripts/context_evidence.py data/rooms --json data/context_evidence.json

trains both on the training rooms of a folder in ScanNet's layout, on as many vertices of each class, and prints their
recalls on the other rooms. Both see 128 points by their offsets from the vertex: the narrow network all of them within
0.2 m, the wide one half within 0.2 m and half within 1.5 m. Neither sees colour or the height over the floor.

V vertices, N points around each, C classes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, NUM_CLASSES, split_of
from pointseg.scannet.scan import find_scans, read_scan
from pointseg.store import Scene

NARROW, WIDE = 0.2, 1.5  # metres
POINTS = 128
THINNED = 16  # of the wide neighbourhood, one vertex in so many is looked at
PER_SCAN = 24  # vertices of a class and scan
PER_CLASS = 500  # vertices of a class and epoch
BATCH = 100
GROUPS = {
    "panels": ("door", "window", "picture"),
    "slabs": ("table", "desk", "counter"),
    "boxes": ("cabinet", "refrigerator"),
}


class PointNet(nn.Module):
    """Qi et al. 2017, without transforms: a vertex's class from the points around it."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(_layer(4, 64), _layer(64, 128), _layer(128, 256))
        self.all = nn.Sequential(_layer(256, 128), nn.Dropout(0.3), nn.Linear(128, NUM_CLASSES))

    def forward(self, offsets: Tensor) -> Tensor:
        """[V, N, 4] -> [V, C]"""
        count, points, _ = offsets.shape
        return self.all(self.each(offsets.reshape(-1, 4)).reshape(count, points, -1).amax(1))


def _layer(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the recalls too")
    arguments = parser.parse_args()
    samples = {split: _samples(arguments.rooms, split) for split in ("train", "val")}
    recalls = {
        name: np.mean([_recalls(samples, view, seed, arguments.epochs) for seed in range(arguments.seeds)], axis=0)
        for view, name in enumerate(("narrow", "wide"))
    }
    count = np.bincount(samples["val"].label, minlength=NUM_CLASSES)
    print(_table(recalls, count))
    if arguments.json:
        result = {"classes": CLASS_NAMES, "vertices": count.tolist()} | {k: v.tolist() for k, v in recalls.items()}
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")


class Samples(NamedTuple):
    """Vertices and what is around them."""

    offsets: np.ndarray  # [2, V, N, 4] float32, narrow and wide: metres over the radius, and whether that is WIDE
    label: np.ndarray  # [V] int64


def _samples(rooms: Path, split: str) -> Samples:
    rng = np.random.default_rng(0)
    folders = [found[0] for scan_id, found in find_scans(rooms).items() if split_of(scan_id) == split]
    if not folders:
        raise InputError(f"{rooms}: expected scans of split {split}, got none")
    parts = [_of_scan(read_scan(folder, None), rng) for folder in folders]
    return Samples(np.concatenate([p.offsets for p in parts], axis=1), np.concatenate([p.label for p in parts]))


def _of_scan(scan: Scene, rng: np.random.Generator) -> Samples:
    """PER_SCAN vertices of each class, with their points."""
    chosen = [np.flatnonzero(scan.label == c) for c in range(NUM_CLASSES)]
    chosen = np.concatenate([rng.permutation(members)[:PER_SCAN] for members in chosen])
    near = _around(scan.xyz, chosen, scan.xyz, NARROW, rng)
    far = _around(scan.xyz, chosen, scan.xyz[rng.random(len(scan.xyz)) < 1 / THINNED], WIDE, rng)
    half = POINTS // 2
    views = np.zeros((2, len(chosen), POINTS, 4), np.float32)
    views[..., :3] = near
    views[1, :, half:, :3], views[1, :, half:, 3] = far[:, half:], 1.0
    return Samples(views, scan.label[chosen].astype(np.int64))


def _around(
    xyz: np.ndarray, chosen: np.ndarray, cloud: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """POINTS points of `cloud` within `radius` of each chosen vertex, with replacement: offsets [V, N, 3] over it."""
    offsets = np.zeros((len(chosen), POINTS, 3), np.float32)
    for row, members in enumerate(cKDTree(cloud).query_ball_point(xyz[chosen], radius)):
        if members:
            offsets[row] = cloud[rng.choice(members, POINTS)] - xyz[chosen[row]]
    return offsets / radius


def _recalls(samples: dict[str, Samples], view: int, seed: int, epochs: int) -> np.ndarray:
    """Recall of each class [C] on `val` after training on `train`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = PointNet()
    steps = NUM_CLASSES * PER_CLASS // BATCH * epochs
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    offsets, label = samples["train"].offsets[view], samples["train"].label
    pools = [pool for c in range(NUM_CLASSES) if len(pool := np.flatnonzero(label == c))]
    for _ in range(steps):
        rows = np.concatenate([rng.choice(pool, BATCH // NUM_CLASSES) for pool in pools])
        points = torch.from_numpy(_turned(offsets[rows], rng))
        loss = nn.functional.cross_entropy(net(points), torch.from_numpy(label[rows]), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    offsets, label = samples["val"].offsets[view], samples["val"].label
    with torch.no_grad():
        parts = np.array_split(offsets, len(label) // 500 + 1)
        guess = torch.cat([net(torch.from_numpy(part)).argmax(1) for part in parts])
    right = np.bincount(label[guess.numpy() == label], minlength=NUM_CLASSES)
    return right / np.maximum(np.bincount(label, minlength=NUM_CLASSES), 1)


def _turned(offsets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each neighbourhood turned about z by an angle of its own."""
    angle = rng.uniform(0, 2 * np.pi, (len(offsets), 1)).astype(np.float32)
    x, y, *rest = np.moveaxis(offsets, -1, 0)
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, *rest], -1)


def _table(recalls: dict[str, np.ndarray], count: np.ndarray) -> str:
    lines = ["| class | vertices | recall seeing 0.2 m, % | 1.5 m, % | gain |", "|---|---|---|---|---|"]
    rows = [(f"**{g}**: {', '.join(names)}", [CLASS_NAMES.index(n) for n in names]) for g, names in GROUPS.items()]
    rows += [("**all classes**", [c for c in range(NUM_CLASSES) if count[c]])]
    rows += [(name, [c]) for c, name in enumerate(CLASS_NAMES) if count[c]]
    for name, classes in rows:
        narrow, wide = (100 * recalls[view][classes].mean() for view in ("narrow", "wide"))
        lines.append(f"| {name} | {count[classes].sum()} | {narrow:.0f} | {wide:.0f} | {wide - narrow:+.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
