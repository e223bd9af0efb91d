"""What each part of a recipe is worth: the demo's network with one change at a time, then with all of them.

python scripts/recipe_table.py [--seeds 2] [--only NAME ...] [--smoke]   -> benchmarks/recipes.json and recipes.md

Synthetic rooms, not ScanNet. Stopped and started again, it goes on; rows that are done are not done again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

keep_freed_memory()
let_waiting_threads_sleep()
sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.training_runs import finished_run, machine, spread, synthetic_store  # noqa: E402
from pointseg.config_file import parse_config  # noqa: E402
from pointseg.rundir import write_json, write_text  # noqa: E402

ROOT = Path(__file__).parent.parent

# The paper's recipe at a size for two CPU cores: less batch, fewer epochs, the staircase as short as the run.
BASE = (
    *("data.num_points=4096", "data.workers=0", "train.epochs=120", "train.batch_size=8", "train.lr=2e-3"),
    *("train.decay_samples=500", "train.bn_momentum=0.2", "train.class_weights=false", "train.checkpoint_every=20"),
)
COSINE = ("train.schedule=cosine", "train.warmup=0.05")
ADAMW = ("train.optimizer=adamw", "train.weight_decay=0.01")
VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "all points annotated (min_annotated 1.0)": ("data.min_annotated=1.0",),
    "class weights": ("train.class_weights=true",),
    "AdamW, weight decay 0.01": ADAMW,
    "cosine, warm-up": COSINE,
    "one cycle, lr 8e-3": ("train.schedule=onecycle", "train.warmup=0.3", "train.lr=8e-3"),
    "lr 8e-3": ("train.lr=8e-3",),
    "label smoothing 0.1": ("train.label_smoothing=0.1",),
    "averaged weights 0.99": ("train.ema=0.99",),
    "gradient norm 1": ("train.clip_norm=1.0",),
    "bfloat16": ("train.precision=bfloat16",),
    "height": ("data.height=true",),
    "centred": ("data.center=true",),
    "context 0.5 m": ("data.context=0.5",),
    "no rotation": ("data.rotate=false",),
    "scale 0.1": ("data.augment.scale=0.1",),
    "flip": ("data.augment.flip=0.5",),
    "jitter 5 mm": ("data.augment.jitter=0.005",),
    "noise along normals 1 cm": ("data.augment.normal_noise=0.01",),
    "smooth noise 2 cm": ("data.augment.smooth_noise=0.02",),
    "elastic 3 cm": ("data.augment.elastic=0.03",),
    "thinning to 0.3": ("data.augment.thin=0.3",),
    "missing patches": ("data.augment.patches=3",),
    "tilt 3 degrees": ("data.augment.tilt=3",),
    "mix 0.3": ("data.augment.mix=0.3",),
    "input dropout 0.875": ("data.augment.input_dropout=0.875",),
    "all (modern)": (
        *(*ADAMW, *COSINE, "train.lr=4e-3", "train.label_smoothing=0.1", "train.ema=0.99", "train.clip_norm=10"),
        *("train.precision=bfloat16", "data.height=true", "data.center=true"),
        *("data.augment.scale=0.1", "data.augment.flip=0.5", "data.augment.jitter=0.005"),
    ),
}
SMOKE = ("train.epochs=1", "data.num_points=1024", "evaluate.resamples=0")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--scenes", type=int, default=32, help="rooms, a quarter of them for evaluation")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--work", type=Path, default=Path("runs/recipe_table"), help="folder for rooms and runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "recipes.json")
    parser.add_argument("--smoke", action="store_true", help="an epoch on four rooms, two rows: does the script run?")
    given = parser.parse_args()

    scenes, names = (4, ["base", "all (modern)"]) if given.smoke else (given.scenes, given.only)
    store = synthetic_store(given.work / f"rooms_{scenes}", scenes=scenes - scenes // 4, val_scenes=scenes // 4)
    table = {}
    for name in names:
        rows = []
        for seed in range(given.seeds):
            settings = [*BASE, f"data.store={store}", *VARIANTS[name], *given.set, f"train.seed={seed}"]
            folder = "".join(c if c.isalnum() else "_" for c in name)
            config = parse_config("", settings + list(SMOKE if given.smoke else ()))
            rows.append(finished_run(given.work / folder / f"seed_{seed}", config))
            print(f"{name}: {rows[-1]}", flush=True)
        ranges = {key: spread(rows, key) for key in ("voxel_accuracy", "miou", "train_seconds")}
        table[name] = {"settings": list(VARIANTS[name]), **ranges, "seeds": rows}
        about = {
            "what": f"{scenes} synthetic rooms, not ScanNet; in %",
            "base": [*BASE, *given.set],
            "machine": machine(),
        }
        write_json(given.out, about | {"rows": table})  # after every row: a table that is cut short is one
        write_text(given.out.with_suffix(".md"), markdown(table, scenes, given.seeds))
    print(markdown(table, scenes, given.seeds))
    return 0


def markdown(table: dict, scenes: int, seeds: int) -> str:
    """One row a variant: mean and range over seeds, and the difference of the means to the first row's."""
    first = next(iter(table.values()))
    lines = [
        f"{scenes} synthetic rooms, a quarter of them for evaluation; not ScanNet. Mean (range) of {seeds} seeds.\n"
    ]
    lines += ["| change | voxel accuracy % | | mIoU % | | seconds |", "|---|---|---|---|---|---|"]
    for name, row in table.items():
        cells = []
        for key in ("voxel_accuracy", "miou"):
            value, base = row[key], first[key]["mean"]
            cells += [f"{value['mean']:.1f} ({value['min']:.1f}-{value['max']:.1f})", f"{value['mean'] - base:+.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['train_seconds']['mean']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
