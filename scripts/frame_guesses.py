"""How often up axis and unit of a cloud are guessed right, and how often surely wrong: generated clouds, known truth.

python scripts/frame_guesses.py [--output benchmarks/frame_guesses.json] [--rooms 19] [--seed 6] [--real FILE:UP:UNIT]
python scripts/frame_guesses.py --fit --rooms 20 --seed 4    # prints the weights that frame.py holds

Synthetic rooms (`pointseg synth`), whole, with a ceiling, cut at 1 m, without a floor, tilted, thinned, as one look of
a depth camera, as a piece of wall, as furniture alone, and heaps; each in all six poses, and in five units. `--real`
adds what is guessed of a scan whose frame is known.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from pointseg.prediction.formats import read_cloud
from pointseg.prediction.frame import UNITS, find_frame
from pointseg.prediction.upright import TURNS, Evidence, evidence
from pointseg.scannet.scan import read_scan
from pointseg.scannet.synthetic import write_dataset

DENSITY = 400.0  # vertices a square metre


def rooms(folder: Path, count: int, seed: int) -> Iterator[np.ndarray]:
    """[P, 3] float64 each, +z up, the floor at about 0."""
    write_dataset(folder, scenes=count, seed=seed, density=DENSITY, workers=2)
    for path in sorted((folder / "scans").iterdir()):
        xyz = read_scan(path, None).xyz.astype(np.float64)
        yield xyz - [*xyz[:, :2].mean(axis=0), np.quantile(xyz[:, 2], 0.01)]


def variants(room: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Clouds of a room, +z up to within the tilt that their names say."""
    height = room[:, 2]
    inner = (np.abs(room[:, :2]) < 0.4 * np.ptp(room[:, :2], axis=0)).all(axis=1)
    look = _looked_at(room, rng)
    clouds = {
        "whole": room,
        "with a ceiling": np.concatenate([room, _ceiling(room, rng)]),
        "cut at 1 m": room[height < 1.0],
        "without a floor": room[height > 0.12],
        "thinned to 3000": rng.permutation(room)[:3000],
        "tilted by 5 degrees": _tilted(room, 5, rng),
        "one look of a depth camera": look,
        "one look, tilted by 15 degrees": _tilted(look, 15, rng),
        "furniture alone": room[inner & (height > 0.1) & (height < 1.6)],
        "a piece of wall": _piece_of_wall(room, rng),
        "a heap": _heap(rng),
    }
    return {name: cloud for name, cloud in clouds.items() if len(cloud) >= 500}


def _ceiling(room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Over every cell of the ground plan, at the height of the walls or a little above."""
    cells = np.unique(np.floor(room[:, :2] / 0.2), axis=0)
    count = int(len(cells) * 0.04 * DENSITY)
    xy = (cells[rng.integers(len(cells), size=count)] + rng.uniform(size=(count, 2))) * 0.2
    height = np.quantile(room[:, 2], 0.995) + rng.uniform(0, 0.3)
    return np.column_stack([xy, height + rng.normal(0, 0.005, count)])


def _tilted(xyz: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turned by so much about a horizontal axis of any direction."""
    angle, around = np.radians(degrees), rng.uniform(0, 2 * np.pi)
    c, s = np.cos(around), np.sin(around)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return xyz @ (turn @ lean @ turn.T).T


def _looked_at(room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera of 60 x 45 degrees sees from 1.2 to 1.6 m above the floor, at most 4 m away, looking down."""
    best = np.empty((0, 3))
    for _ in range(6):
        eye = np.append(rng.uniform(-0.3, 0.3, 2) * np.ptp(room[:, :2], axis=0), rng.uniform(1.2, 1.6))
        yaw, pitch = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(5, 25))
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        seen = (room - eye) @ np.stack([right, np.cross(right, forward), forward]).T
        depth = seen[:, 2]
        inside = (
            (depth > 0.4) & (depth < 4) & (np.abs(seen[:, 0]) < 0.577 * depth) & (np.abs(seen[:, 1]) < 0.414 * depth)
        )
        pixel = np.floor(seen[inside, :2] / depth[inside, None] * 60).astype(np.int64) @ [1000, 1]
        order = np.argsort(depth[inside])
        _, place = np.unique(pixel[order], return_inverse=True)
        nearest = np.full(place.max(initial=-1) + 1, np.inf)
        np.minimum.at(nearest, place, depth[inside][order])
        look = room[inside][order][depth[inside][order] < nearest[place] + 0.1]
        best = max(best, look, key=len)
    return best


def _piece_of_wall(room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    axis = int(rng.integers(2))
    near = room[:, axis] < np.quantile(room[:, axis], 0.02) + 0.4
    along = room[:, 1 - axis]
    start = rng.uniform(along.min(), max(along.min(), along.max() - 2.5))
    return room[near & (along > start) & (along < start + 2.5) & (room[:, 2] > 0.6) & (room[:, 2] < 2.4)]


def _heap(rng: np.random.Generator) -> np.ndarray:
    """The surface of a pile of gravel, 1 to 3 m wide."""
    radius, xy = rng.uniform(0.5, 1.5), rng.uniform(-1, 1, (20_000, 2))
    away = np.linalg.norm(xy, axis=1)
    z = 0.6 * radius * np.maximum(0, 1 - away) + rng.normal(0, 0.03, len(xy))
    return np.column_stack([xy * radius, z])[away < 1.1]


def fit(examples: list[np.ndarray]) -> np.ndarray:
    """Weights of `Evidence` under which the first direction of each [6, F] is likeliest; a very small ridge."""
    table = np.stack(examples)

    def loss(weights: np.ndarray) -> float:
        score = table @ weights
        return float(np.mean(np.logaddexp.reduce(score, axis=1) - score[:, 0]) + 1e-4 * weights @ weights)

    return minimize(loss, np.zeros(table.shape[2]), method="BFGS").x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/frame_guesses.json"))
    parser.add_argument("--rooms", type=int, default=19)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--real", action="append", default=[], metavar="FILE:UP:UNIT", help="such as scan.pcd:-y:m")
    parser.add_argument("--fit", action="store_true", help="print weights instead")
    arguments = parser.parse_args()
    counts: dict[str, dict[str, dict[str, int]]] = {"up": {}, "unit": {}}
    examples = []
    with tempfile.TemporaryDirectory() as folder:
        for number, room in enumerate(rooms(Path(folder), arguments.rooms, arguments.seed)):
            rng = np.random.default_rng([arguments.seed, number])
            for name, cloud in variants(room, rng).items():
                if arguments.fit:
                    examples.append(evidence(cloud))
                    continue
                for up, turn in TURNS.items():
                    frame = find_frame(cloud @ turn, scale=1.0)
                    _count(counts["up"].setdefault(name, {}), frame.up == up, frame.sure_of_up)
                for unit, scale in UNITS.items():
                    frame = find_frame(cloud / scale, up="z")
                    _count(counts["unit"].setdefault(f"{name}, {unit}", {}), frame.scale == scale, frame.sure_of_scale)
    if arguments.fit:
        print(dict(zip(Evidence._fields, fit(examples).round(2).tolist(), strict=True)))
        return
    result = {what: _summary(rows) for what, rows in counts.items()}
    about = {"rooms": arguments.rooms, "seed": arguments.seed}
    known = [(Path(file), up, unit) for file, up, unit in (word.rsplit(":", 2) for word in arguments.real)]
    real = {file.name: _real(file, up, unit) for file, up, unit in known}
    arguments.output.write_text(json.dumps({**about, **result, "real": real}, indent=1) + "\n")
    print(real)
    for what, rows in result.items():
        for name, row in rows.items():
            print(f"{what:5} {name:40} {row}")


def _real(file: Path, up: str, unit: str) -> dict[str, dict[str, object]]:
    """What is said of a scan whose frame is known."""
    xyz = read_cloud(file).xyz
    frame = find_frame(xyz[np.isfinite(xyz).all(axis=1)])
    return {
        "up": {"right": frame.up == up, "sure": frame.sure_of_up, "said": frame.notes[1]},
        "unit": {"right": frame.scale == UNITS[unit], "sure": frame.sure_of_scale, "said": frame.notes[0]},
    }


def _count(row: dict[str, int], right: bool, sure: bool) -> None:
    for name, true in (("clouds", True), ("right", right), ("sure", sure), ("sure_and_wrong", sure and not right)):
        row[name] = row.get(name, 0) + int(true)


def _summary(rows: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    total = {key: sum(row[key] for row in rows.values()) for key in ("clouds", "right", "sure", "sure_and_wrong")}
    return {
        name: {"clouds": row["clouds"]}
        | {f"{key}_percent": round(100 * row[key] / row["clouds"], 1) for key in ("right", "sure", "sure_and_wrong")}
        for name, row in {"all": total, **rows}.items()
    }


if __name__ == "__main__":
    main()
