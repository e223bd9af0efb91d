"""Does every network of the paper's Table 3 learn on two cores? Each one trains for minutes, from random weights.

python scripts/row_table.py [--only CONFIG ...] [--smoke]   -> benchmarks/rows.json

On the demo's rooms, which are synthetic, beside the answer that always names the commonest class. Short schedules of
different lengths: what a network reaches here is no measure of what it can. Stopped and started again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

keep_freed_memory()
let_waiting_threads_sleep()
sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.training_runs import constant_answer, finished_run, machine, synthetic_store  # noqa: E402
from pointseg.config_file import load_config  # noqa: E402
from pointseg.reproduction.rows import OTHER_ROWS, ROWS  # noqa: E402
from pointseg.rundir import write_json  # noqa: E402

ROOT = Path(__file__).parent.parent
CONFIGS = [row.config for row in (*ROWS, *OTHER_ROWS)]
MARGIN = 20.0  # points of voxel accuracy that a row should be better by than the constant answer

# What the demo trains with, but for its beginning; BatchNorm's statistics follow faster, for there are few steps.
RECIPE = (
    *("data.workers=0", "train.batch_size=8", "train.precision=bfloat16", "train.checkpoint_every=10"),
    *("train.optimizer=adamw", "train.weight_decay=0.01", "train.clip_norm=10", "train.lr=2e-3", "train.lr_floor=1e-5"),
    *("train.schedule=cosine", "train.warmup=0.05", "train.bn_momentum=0.3", "train.bn_decay=1.0"),
    *("train.class_weights=false", "evaluate.protocols=[every_vertex]", "evaluate.resamples=0", "evaluate.pictures=0"),
)
# An epoch is a chunk of each of the training rooms. PointNet++ sees relative positions; the others have the height.
SSG = ("train.epochs=30", "data.height=true")
SCHEDULES: dict[str, tuple[str, ...]] = {
    "pointnet2_ssg": SSG,
    "pointnet2_ssg_nonlocal": SSG,
    "pointnet2_ssg_latentgnn": SSG,
    "pointnet2_ssg_latentgnn_k3": SSG,
    "pointnet2_msg": ("train.epochs=20", "data.height=true"),
    "pointnet": ("train.epochs=20",),
    "pointcnn": ("train.epochs=10", "train.batch_size=4"),
    "voxel_cnn": ("train.epochs=6", "train.batch_size=2"),
}
SMOKE = ("train.epochs=1", "train.batch_size=2")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=CONFIGS, choices=CONFIGS, metavar="CONFIG")
    parser.add_argument("--scenes", type=int, default=32, help="rooms, a quarter of them for evaluation, as the demo's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every row")
    parser.add_argument("--work", type=Path, default=Path("runs/row_table"), help="folder for rooms and runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "rows.json")
    parser.add_argument("--smoke", action="store_true", help="an epoch on four rooms: does the script run?")
    given = parser.parse_args()

    scenes = 4 if given.smoke else given.scenes
    # The seed of the demo's rooms; the network that ships was trained on rooms of seed 0.
    store = synthetic_store(given.work / f"rooms_{scenes}", scenes=scenes - scenes // 4, val_scenes=scenes // 4, seed=1)
    about = {"what": f"{scenes} synthetic rooms, a quarter of them for evaluation, not ScanNet; in %"}
    about |= {"recipe": list(RECIPE), "machine": machine()}
    rows: dict[str, dict] = {}
    for name in given.only:
        settings = [*SCHEDULES[name], *given.set, *(SMOKE if given.smoke else ())]
        config = load_config(ROOT / "configs" / f"{name}.yaml", [f"data.store={store}", *RECIPE, *settings])
        scores = finished_run(given.work / name, config)
        constant = constant_answer(given.work / name)
        chunks = config.train.epochs * config.data.chunks_per_scene * (scenes - scenes // 4)
        better = round(scores["voxel_accuracy"] - constant["voxel_accuracy"], 2)
        rows[name] = {"network": config.model.describe(), "settings": settings, "chunks": chunks}
        rows[name] |= scores | {"better_by": better}
        print(f"{name}: {rows[name]}", flush=True)
        write_json(given.out, about | {"constant_answer": constant, "rows": rows})  # a table that is cut short is one
    failed = [name for name, row in rows.items() if row["better_by"] < MARGIN]
    print(
        f"{len(rows) - len(failed)} of {len(rows)} rows better by {MARGIN:.0f} points"
        + "".join(f"; not {n}" for n in failed)
    )
    return 0 if given.smoke else bool(failed)


if __name__ == "__main__":
    sys.exit(main())
