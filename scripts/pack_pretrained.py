"""Makes of a run the file that ships: the averaged weights, the configuration and the classes, nothing else.

python scripts/pack_pretrained.py RUN   -> pointseg/prediction/pretrained/*.pt and its scores beside it
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pointseg.atomic import replacing
from pointseg.config_file import dump_config, parse_config
from pointseg.pretrained import PRETRAINED
from pointseg.rundir import RunDirectory, load_checkpoint, read_json, write_json

MOST_BYTES = 8_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = RunDirectory(parser.parse_args().run)
    state, result = load_checkpoint(run.checkpoint_file), read_json(run.eval_file)
    # Settings of the machine that trained it mean nothing where it is used.
    config = parse_config(
        dump_config(run.load_config()),
        ["data.store=data/store", "data.device_chunks=false", "train.cuda_graph=false", "evaluate.batch_size=8"],
    )
    packed = {key: state[key] for key in ("format", "pointseg", "classes", "step", "label_counts")}
    packed |= {"model": state.get("ema", state["model"]), "config": dump_config(config)}
    PRETRAINED.parent.mkdir(exist_ok=True)
    with replacing(PRETRAINED) as partial:
        torch.save(packed, partial)
    size = PRETRAINED.stat().st_size
    assert size < MOST_BYTES, f"{PRETRAINED}: {size} bytes"
    scores = {
        protocol: {"overall": part["overall"], "iou": part["per_class"]} if "per_class" in part else part["overall"]
        for protocol, part in result["protocols"].items()
    }
    about = {"data": result["data"], "scenes": result["scenes"], "split": result["split"], "step": int(state["step"])}
    write_json(PRETRAINED.with_suffix(".json"), about | {"meta": run.load_meta(), "scores": scores})
    print(f"{PRETRAINED}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
