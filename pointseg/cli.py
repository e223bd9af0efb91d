"""`pointseg COMMAND`: parses, calls, prints. What the commands do is in the modules they call.

Modules are imported inside the commands: `pointseg --help` answers before PyTorch would have been loaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from pointseg.errors import InputError
from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

Device = Literal["auto", "cpu", "cuda"]
Split = Literal["train", "val", "test"]
Overrides = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(name="set", metavar="SECTION.KEY=VALUE", help="Change a setting, e.g. --set train.lr=3e-4; may be repeated."),
]


def synth(
    out: Positional[Path],
    /,
    *,
    scenes: int = 32,
    test_scenes: int = 0,
    seed: int = 0,
    density: Annotated[float | None, arg(help_behavior_hint="(default: about ScanNet's)")] = None,
    workers: int = 0,
) -> None:
    """Write synthetic rooms in ScanNet's own folder layout.

    Args:
        out: Folder to write; gets scans/, scannetv2-labels.combined.tsv and, with test scenes, scans_test/.
        scenes: Labelled rooms; every fourth takes an id of ScanNet's validation spaces, so 4 or more give a val split.
        test_scenes: Rooms without labels, as in ScanNet's test split.
        seed: The same seed gives the same files.
        density: Vertices per square metre of surface.
        workers: Processes; 0 works in this one.
    """
    from pointseg.scannet.synthetic import DEFAULT_DENSITY, write_dataset

    val_scenes = scenes // 4
    write_dataset(
        out,
        scenes=scenes - val_scenes,
        val_scenes=val_scenes,
        test_scenes=test_scenes,
        seed=seed,
        density=DEFAULT_DENSITY if density is None else density,
        workers=workers,
    )


def preprocess(
    scans: Positional[Path],
    store: Positional[Path],
    /,
    *,
    splits: tuple[Split, ...] = ("train", "val", "test"),
    align: bool = True,
    scan_list: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    workers: int = 0,
    overwrite: bool = False,
) -> int:
    """Read ScanNet scans (real or synthetic) into one HDF5 store per split.

    A scan that is broken or incomplete is reported, the others are kept, and the exit status is 2.

    Args:
        scans: ScanNet's folder (with scans/ and perhaps scans_test/) or its scans/ folder.
        store: Folder to write train.h5, val.h5 and test.h5 into.
        splits: Which splits to write; a split without scans is left out.
        align: Turn scenes by the axisAlignment of their <scan id>.txt, where there is one.
        scan_list: Text file with one scan id per line; others are left out.
        workers: Processes; 0 works in this one.
        overwrite: Read every scan again even when the store is up to date.
    """
    from pointseg.scannet.preprocess import preprocess as run

    summary = run(scans, store, splits=splits, align=align, scan_list=scan_list, workers=workers, overwrite=overwrite)
    print(summary.describe())
    for scan_id, reason in summary.failures:
        print(f"pointseg: {scan_id}: {reason}", file=sys.stderr)
    return 2 if summary.failures else 0


def train(
    *,
    config: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    out: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="(default: runs/NAME OF THE CONFIG)")] = None,
    overrides: Overrides = (),
    resume: bool = False,
    device: Device = "auto",
    stop_after: Annotated[int | None, arg(metavar="STEP", help_behavior_hint="")] = None,
) -> None:
    """Train a network; under torchrun, on several processes.

    Ctrl-C (or SIGTERM) finishes the step under way and writes a checkpoint; --resume goes on from it and gives the same
    weights as a run that was never stopped.

    Args:
        config: YAML file of what differs from the defaults (`pointseg config` prints them); not with --resume.
        out: Run directory.
        resume: Go on with the run in --out, with its own configuration.
        device: auto takes CUDA where there is any.
        stop_after: Stop after this many steps of the run, with a checkpoint.
    """
    from pointseg.distributed import distributed_context
    from pointseg.rundir import RunDirectory
    from pointseg.train import train as run_training

    if out is None and config is None:
        raise InputError("train: --config FILE is needed (or --out RUN --resume)")
    run = RunDirectory(out or Path("runs") / config.stem)
    settings = _configuration(config, overrides, run if resume else None)
    with distributed_context(device) as context:
        try:
            run_training(settings, run, context, resume=resume, stop_after=stop_after)
        except KeyboardInterrupt:
            print(f"stopped with a checkpoint; go on with: pointseg train --out {run.path} --resume", file=sys.stderr)
            raise
        if context.is_main:
            print(f"checkpoint: {run.checkpoint_file}")


def evaluate(
    run: Positional[Path],
    /,
    *,
    checkpoint: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: RUN/checkpoints/last.pt)")
    ] = None,
    overrides: Overrides = (),
    device: Device = "auto",
) -> None:
    """Score a trained network on whole scenes: pixel, voxel and class accuracy, IoU, per class and per scene.

    Args:
        run: Run directory; gets eval.json.
        checkpoint: Checkpoint to score.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.evaluate import evaluate_run, format_table
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        result = evaluate_run(RunDirectory(run), context, checkpoint=checkpoint, overrides=overrides)
        if context.is_main:
            print(format_table(result))


def predict(
    run: Positional[Path],
    file: Positional[Path],
    /,
    *,
    out: Annotated[Path, arg(aliases=["-o"])],
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
    device: Device = "auto",
) -> None:
    """Label a point cloud or mesh of one's own: a label, a probability and a colour for every point, in file order.

    Args:
        run: Run directory with a checkpoint.
        file: PLY or PCD file (also XYZ/TXT and NPY).
        out: PLY file to write; faces are kept.
        up: The file's axis that points up; auto guesses and says so.
        scale: Metres per unit of the file.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.predict import predict_file
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        print(predict_file(RunDirectory(run), file, out, up=up, scale=scale, device=context.device))


def report(run: Positional[Path], /) -> None:
    """Write report.md and the self-contained report.html of a run that was evaluated.

    Args:
        run: Run directory with the eval.json of `pointseg evaluate`.
    """
    from pointseg.report import report as write_report

    for path in write_report(run):
        print(path)


def demo(
    *,
    out: Path = Path("runs/demo"),
    data: Path = Path("data/demo"),
    config: Path = Path("configs/demo.yaml"),
    overrides: Overrides = (),
    scenes: int = 32,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """The whole job on synthetic rooms: write, preprocess, train, evaluate, report. Some seven minutes on 2 cores.

    Args:
        out: Run directory; a run that was stopped goes on.
        data: Folder for the rooms and the store.
        config: The experiment.
        scenes: Rooms; a quarter of them is only evaluated on.
        seed: Of the rooms; training has its own, train.seed.
        device: auto takes CUDA where there is any.
    """
    from pointseg.demo import run_demo

    run_demo(_configuration(config, (f"data.store={data / 'store'}", *overrides)), out, data, scenes, seed, device)


def doctor() -> None:
    """Say what is installed, what the compiled operators can do here, and what to mend."""
    from pointseg.doctor import examine

    print(examine())


def show_config(
    *, config: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None, overrides: Overrides = ()
) -> None:
    """Print the whole configuration: the defaults, changed by a file and by --set.

    Args:
        config: YAML file of what differs from the defaults.
    """
    from pointseg.config import dump_config

    print(dump_config(_configuration(config, overrides)), end="")


COMMANDS = {
    "synth": synth,
    "preprocess": preprocess,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "demo": demo,
    "doctor": doctor,
    "config": show_config,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 2 for wrong input, 130 when interrupted."""
    keep_freed_memory()
    let_waiting_threads_sleep()
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="pointseg",
            description="Semantic segmentation of indoor point clouds: PointNet++ and LatentGNN on ScanNet.",
            args=arguments,
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
    except InputError as error:
        print(f"pointseg: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `pointseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder that must not be written to: the message names the file
        print(f"pointseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pointseg: interrupted", file=sys.stderr)
        return 130
    return status or 0


def _configuration(config: Path | None, overrides: tuple[str, ...], resumed: object = None):
    """The configuration of a file, or on resume of the run, with the overrides."""
    from pointseg.config import load_config, parse_config

    if resumed is not None:
        if config is not None:
            raise InputError("train: --resume uses the run's own configuration; leave --config away")
        return resumed.load_config(overrides)
    return load_config(config, overrides) if config else parse_config("", overrides)
