"""The table of commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys

import tyro

import pointseg
from pointseg.cli.compare import compare
from pointseg.cli.config import show_config
from pointseg.cli.costs import costs
from pointseg.cli.demo import demo
from pointseg.cli.doctor import doctor
from pointseg.cli.evaluate import evaluate
from pointseg.cli.explain import explain
from pointseg.cli.predict import predict
from pointseg.cli.preprocess import preprocess
from pointseg.cli.report import report
from pointseg.cli.reproduce import reproduce
from pointseg.cli.store import store
from pointseg.cli.synth import synth
from pointseg.cli.train import train
from pointseg.cli.view import view
from pointseg.errors import InputError
from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

COMMANDS = {
    "synth": synth,
    "preprocess": preprocess,
    "store": store,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "reproduce": reproduce,
    "predict": predict,
    "explain": explain,
    "costs": costs,
    "report": report,
    "view": view,
    "demo": demo,
    "doctor": doctor,
    "config": show_config,
}


_DESCRIPTION = """Semantic segmentation of indoor point clouds: PointNet++ and LatentGNN on ScanNet.

--version prints the version; --tyro-print-completion bash (or zsh, tcsh) a completion script for the shell."""

_APP = tyro.extras.SubcommandApp()
for _name, _command in COMMANDS.items():
    _APP.command(_command, name=_name)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 2 for wrong input, 130 when interrupted."""
    keep_freed_memory()
    let_waiting_threads_sleep()
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["--version"]:
        print(f"pointseg {pointseg.__version__}")
        return 0
    try:
        status = _APP.cli(
            prog="pointseg",
            description=_DESCRIPTION,
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
