"""Runs the commands of the documentation, unchanged, in a fresh clone of this repository, on synthetic scans.

python scripts/run_documentation.py [--work runs/documentation] [--steps N]   -> benchmarks/documentation.json

`STEPS` has every command that a page tells the reader to type, in an order in which each finds what it needs; what a
reader brings along (a scan of their own) is made beforehand. `NOT_RUN` has the others, each with its reason; a test
compares both with the pages. Stopped and started again, it goes on with the step that was not finished; `left` in the
result are those that still have to be run.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.timing import machine  # noqa: E402
from pointseg.rundir import read_json, write_json  # noqa: E402

PAGES = (
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "cuda_ops/README.md")),
    ROOT / "pointseg/prediction/pretrained/README.md",
)
PROGRAMS = ("pointseg", "make", "torchrun", "git", "python", "pip", "tensorboard")
ALONE = ("config", "costs", "doctor", "demo", "--help", "--version")  # of pointseg, complete without arguments


@dataclass(frozen=True)
class Step:
    command: str
    before: str = ""  # shell: what the reader has by now
    stop: str = ""  # shell, true once it works: then Ctrl-C, as servers and long trainings are ended
    status: int = 0


def _saved(run: str) -> str:
    return f"test -f {run}/checkpoints/last.pt"


RUN = "runs/pointnet2_ssg_latentgnn"
SCAN = 'cp "$(ls data/scannet/scans_test/*/*_vh_clean_2.ply | head -n 1)" scan.ply'
TRAIN = "pointseg train --config configs/pointnet2_ssg_latentgnn.yaml"
SERVES = 'grep -q "http://" "$LOG"'
# With 3 training scans 200 epochs are 10 steps of the batch of 64: the configurations are the paper's.
STEPS = (
    Step("git clone <this repository> pointseg && cd pointseg"),
    Step("make env"),
    Step("make demo"),
    Step(".venv/bin/pointseg doctor"),
    Step("pointseg doctor"),
    Step("pointseg --help"),
    Step("pointseg config"),
    # README and docs/scannet.md: from scans to the table.
    Step("pointseg synth data/scannet --scenes 4 --test-scenes 1"),
    Step(
        "pointseg store merge data/store data/store/shard-*",
        before="for i in 1 2; do pointseg preprocess data/scannet data/store --shard $i/2; done",
    ),
    Step("pointseg preprocess data/scannet data/store", before="rm -r data/store"),
    Step("pointseg store info data/store"),
    Step("pointseg store verify data/store"),
    Step("pointseg store info data/store/train.h5"),
    Step("pointseg store verify data/store/train.h5"),
    Step("torchrun --nproc_per_node=4 -m " + TRAIN, stop=_saved(RUN), status=1),
    Step(TRAIN, before=f"rm -r {RUN}", stop=_saved(RUN), status=130),
    Step(f"pointseg train --out {RUN} --resume"),
    Step("pointseg config --config configs/pointnet2_ssg_latentgnn.yaml"),
    Step(
        "pointseg train --config configs/pointnet2_ssg.yaml --out runs/small-lr --set train.lr=3e-4",
        stop=_saved("runs/small-lr"),
        status=130,
    ),
    Step(f"pointseg evaluate {RUN} && pointseg report {RUN}"),
    Step(f"pointseg evaluate {RUN}"),
    Step(f"pointseg report {RUN}"),
    Step("pointseg reproduce table3 --scale smoke --seeds 1"),
    Step(
        f"pointseg compare runs/pointnet2_ssg {RUN} --out table.html",
        before="cp -r runs/small-lr runs/pointnet2_ssg && pointseg evaluate runs/pointnet2_ssg",
    ),
    Step(f"pointseg evaluate {RUN} --export submission --set evaluate.split=test"),
    Step("tensorboard --logdir runs", stop=SERVES),
    # docs/predict.md: scans of one's own.
    Step(f"pointseg predict {RUN} scan.ply -o labelled.ply", before=SCAN),
    Step("pointseg view labelled.ply", stop=SERVES, status=130),
    Step("pointseg predict scan.ply -o labelled.ply", before="rm labelled.ply"),
    Step(
        f"pointseg predict {RUN} scans/ lobby.las -o labelled/",
        before="mkdir scans && cp scan.ply scans/a.ply && pointseg predict scan.ply -o lobby.las",
    ),
    Step(f"pointseg explain {RUN} scan.ply"),
    *(Step(f"pip install 'pointseg[{extra}]'") for extra in ("las", "e57", "mesh", "formats")),
    Step("pointseg costs --images"),
    Step("pointseg synth data/rooms --set rooms-100", stop="ls data/rooms/scans/*/*.txt >/dev/null 2>&1", status=130),
    # Working on the project itself.
    Step("make docs"),
    Step("make lint"),
    Step("make format"),
    Step("pip install pre-commit && pre-commit install"),
    Step(
        "torchrun --nproc_per_node=4 --max-restarts=3 -m " + TRAIN,
        before=f"rm -r {RUN}",
        stop=_saved(RUN),
        status=1,
    ),
    Step("pointseg reproduce table3 --store data/store"),  # twelve runs
    Step("pointseg costs"),
    Step("pip wheel ."),
    Step("pip install --no-build-isolation ."),
    Step("make clean"),
)
_GPU, _SUITE = "needs a GPU", "the tests themselves, which continuous integration runs"
_MEASURED = "a measurement of many minutes; what came out is committed"
NOT_RUN = {
    "make test": _SUITE,
    "make sanitize": _SUITE,
    "make bench": _MEASURED,
    "python -m benchmarks.predict_large": _MEASURED,
    "python -m benchmarks.preprocess": _MEASURED,
    "python -m benchmarks.cpu_rewrites": _MEASURED,
    "python scripts/frame_guesses.py": _MEASURED,
    "python -m benchmarks.cuda_resources": "needs nvcc",
    "scripts/gpu_kit.sh .kit": "packs for a machine with a GPU",
    "scripts/gpu_check.sh --kit .kit --out results": _GPU,
    "scripts/gpu_check.sh --kit .kit --out results --seconds 480": _GPU,
    "pointseg store import pointnet2 scannet_train.pickle train.h5": "needs PointNet++'s data, made of ScanNet",
}
_CARD = "hours of training, or a GPU: how the network that ships was made; it is committed"


def documented() -> dict[str, list[str]]:
    """Every command that the pages tell to type, with the pages that do.

    Lines of code blocks without a language, and code inside sentences where nothing is left to fill in (RUN, FILE).
    """
    found: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
        lines = [line for language, block in blocks if language in ("", "bash", "sh") for line in block.splitlines()]
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for command in (*(re.split(r"\s+#\s", line)[0].rstrip() for line in lines), *filter(_is_whole, spans)):
            if _is_command(command):
                found.setdefault(command, [])
                name = str(page.relative_to(ROOT))
                found[command] += [] if name in found[command] else [name]
    return found


def _is_command(text: str) -> bool:
    program = text.split(" ")[0]
    return (
        program in PROGRAMS or program == ".venv/bin/pointseg" or (program[:8] == "scripts/" and len(program) > 8)
    ) and len(text.split()) > 1


def _is_whole(span: str) -> bool:
    """Is this span something to type, rather than a name, or a line with a word to fill in?"""
    words = shlex.split(span) if span.count("'") % 2 == 0 else []
    if len(words) < 2 or re.search(r"\b[A-Z]{3,}\b", span) or words[0].startswith("scripts/"):
        return False
    if words[0].endswith("pointseg"):
        return words[1] in ALONE or len(words) > (3 if words[1] == "store" else 2)
    return words[0] != "torchrun" or len(words) > 2


def not_run(command: str, pages: list[str]) -> str | None:
    """Why a documented command is not among the steps; None if it has to be."""
    if all("pretrained" in page for page in pages):
        return _CARD
    return NOT_RUN.get(command)


def run(step: Step, folder: Path, log: Path) -> int:
    """Runs a step's commands in `folder`, their output into `log`; the command's status."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment |= {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}", "LOG": str(log)}
    with log.open("w") as file:
        options = {"cwd": folder, "env": environment, "stdout": file, "stderr": subprocess.STDOUT}
        if step.before:
            subprocess.run(["bash", "-ec", step.before], check=True, **options)
        # A group of its own, so that Ctrl-C reaches all of the command and nothing else.
        process = subprocess.Popen(["bash", "-c", step.command], start_new_session=True, **options)
        while step.stop and process.poll() is None:
            time.sleep(0.2)
            if subprocess.run(["bash", "-c", step.stop], check=False, **options).returncode == 0:
                os.killpg(process.pid, signal.SIGINT)
                break
        return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/documentation"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "documentation.json")
    parser.add_argument("--steps", type=int, default=len(STEPS), help="how many to do now")
    arguments = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # the shell has it ignored in the background, and so by all
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    state = work / "done.json"
    done: list[dict[str, object]] = read_json(state) if state.exists() else []
    pages = documented()
    for number, step in list(enumerate(STEPS))[len(done) :][: arguments.steps]:
        folder = work / "pointseg" if number else work
        command = step.command.replace("<this repository>", shlex.quote(str(ROOT)))
        print(f"{number + 1}/{len(STEPS)} {step.command}", flush=True)
        status = run(Step(command, step.before, step.stop, step.status), folder, work / f"{number:02}.log")
        if status != step.status:
            print(f"status {status}, expected {step.status}: {work / f'{number:02}.log'}")
            return 1
        done.append({"command": step.command, "pages": pages.get(step.command, []), "status": status})
        done[-1] |= {"stopped": f"Ctrl-C once `{step.stop}`"} if step.stop else {}
        write_json(state, done)
    reasons = {command: not_run(command, where) for command, where in pages.items()}
    left_out = {command: reason for command, reason in reasons.items() if reason}
    left = [step.command for step in STEPS[len(done) :]]
    write_json(arguments.output, {"machine": machine(), "run": done, "left": left, "not_run": left_out})
    print(f"{len(done)} commands run, {len(left)} left, {len(left_out)} not to be run: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
