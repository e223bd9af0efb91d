"""Makes of a run the file that ships: the averaged weights, the configuration and the classes, nothing else.

python scripts/pack_pretrained.py RUN   -> pointseg/prediction/pretrained/*.pt and its scores beside it
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from pointseg.atomic import replacing
from pointseg.config_file import dump_config, parse_config
from pointseg.pretrained import PRETRAINED
from pointseg.rundir import RunDirectory, load_checkpoint, read_json, write_json, write_text

MOST_BYTES = 8_000_000
BEGIN, END = "<!-- scores -->\n", "<!-- end -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = RunDirectory(parser.parse_args().run)
    state, result = load_checkpoint(run.checkpoint_file), read_json(run.eval_file)
    # Settings of the machine that trained it mean nothing where it is used.
    config = parse_config(
        dump_config(run.load_config()),
        [
            "data.store=data/store",
            "data.device_chunks=false",
            "train.cuda_graph=false",
            "train.init=''",
            "evaluate.batch_size=8",
        ],
    )
    packed = {key: state[key] for key in ("format", "pointseg", "classes", "step", "label_counts")}
    packed |= {"model": state.get("ema", state["model"]), "config": dump_config(config)}
    PRETRAINED.parent.mkdir(exist_ok=True)
    with replacing(PRETRAINED) as partial:
        torch.save(packed, partial)
    size = PRETRAINED.stat().st_size
    assert size < MOST_BYTES, f"{PRETRAINED}: {size} bytes"
    scores = {name: {key: part[key] for key in ("overall", "per_class")} for name, part in result["protocols"].items()}
    about = {"data": result["data"], "scenes": result["scenes"], "split": result["split"], "step": int(state["step"])}
    meta = {
        key: value for key, value in run.load_meta().items() if key in ("pointseg", "torch", "device", "seed", "store")
    }
    write_json(PRETRAINED.with_suffix(".json"), about | {"trained": meta, "scores": scores})
    card = PRETRAINED.parent / "README.md"
    before, rest = card.read_text().split(BEGIN)
    write_text(card, before + BEGIN + table(scores["every_vertex"]) + END + rest.split(END)[1])
    print(f"{PRETRAINED}: {size / 1e6:.1f} MB")


def table(scores: dict[str, Any]) -> str:
    """The card's: overall accuracies, then each class."""
    overall = scores["overall"]
    heads = [("pixel accuracy", "pixel", "accuracy"), ("voxel accuracy, 4.84 cm", "voxel_4.84cm", "accuracy")]
    heads += [("class pixel accuracy", "pixel", "class_accuracy"), ("mean IoU", "pixel", "miou")]
    lines = ["| of all points | % |", "|---|--:|"]
    lines += [f"| {name} | {100 * overall[measure][score]:.1f} |" for name, measure, score in heads]
    lines += ["", "| class | recall, % | IoU, % |", "|---|--:|--:|"]
    for row in scores["per_class"]:
        found = [row["recall"]["pixel"], row["iou"]]
        cells = ["absent" if value is None else f"{100 * value:.1f}" for value in found]
        lines.append(f"| {row['class']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
