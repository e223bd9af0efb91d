"""Runs the stages of the check on a machine with a GPU, each in a process of its own with a time limit.

    build      both libraries for this card, kept and used again while the sources stay the same
    ops        every operator against its reference: types, large shapes, streams; then the operator tests
    bench      every operator against the original package's kernels and plain PyTorch
    train      training steps of the networks, their memory, their longest kernels
    paper      epochs of the paper's schedule
    sanitizer  memcheck, racecheck, synccheck and initcheck over every kernel

Called by scripts/gpu_check.sh, which sets the paths. A stage may be given its seconds: `ops=60`. Writes STAGE.json for
each, rewritten after every case, log.txt of all and summary.json into the output folder. A stage whose process breaks
or falls silent is started again after the case that broke it. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
STAGES = {  # module and the most seconds, in the order of their importance
    "build": ("benchmarks.gpu_build", 300),
    "ops": ("benchmarks.gpu_correctness", 150),
    "bench": ("benchmarks.gpu_bench", 150),
    "train": ("benchmarks.gpu_train", 240),
    "paper": ("benchmarks.gpu_paper", 120),
    "sanitizer": ("benchmarks.gpu_sanitizer", 300),
}
SILENCE_S = 100  # a stage without a line for so long is taken to hang; compilers may be silent until the limit
NEED_A_STORE = ("train", "paper")
RESTARTS = 6
GRACE_S = 10  # between the time a stage is told and the time it is killed


@dataclass
class Outcome:
    stage: str
    status: str  # ok, failed, killed: with the reason
    seconds: float
    passed: int
    failed: list[str]


class Log:
    """Prints lines with the time since the start and keeps them in a file."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.start = file, time.monotonic()

    def __call__(self, text: str) -> None:
        line = f"[{time.monotonic() - self.start:6.1f}] {text}"
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def run_process(command: list[str], limit_s: float, silence_s: float, log: Log) -> tuple[int | None, str]:
    """Runs `command`, its output to the log. Returns its exit status and "", or None and why it was killed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    heard = [time.monotonic()]

    def read() -> None:
        for line in process.stdout:
            heard[0] = time.monotonic()
            log(line.rstrip()[:400])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline, reason = time.monotonic() + limit_s, ""
    while process.poll() is None and not reason:
        time.sleep(0.05)
        if time.monotonic() > deadline:
            reason = f"{limit_s:.0f} s are over"
        elif time.monotonic() - heard[0] > silence_s:
            reason = f"not a line for {silence_s:.0f} s"
    if reason:
        log(f"killed: {reason}")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the whole group: what a finished stage left behind too
    status = process.wait()
    reader.join(timeout=5)
    return (None, reason) if reason else (status, "")


def run_stage(stage: str, seconds: float, arguments: argparse.Namespace, log: Log) -> Outcome:
    module, _ = STAGES[stage]
    result = arguments.out / f"{stage}.json"
    result.unlink(missing_ok=True)
    started = time.monotonic()
    status, reason = None, ""
    for attempt in range(1 + RESTARTS):
        left = seconds - (time.monotonic() - started)
        if left < 1:
            break
        command = [sys.executable, "-m", module, "--output", str(result), "--work", str(arguments.work)]
        command += ["--seconds", f"{left:.0f}"]
        command += ["--kit", str(arguments.kit)] if arguments.kit else []
        command += ["--store", str(arguments.store)] if arguments.store else []
        command += ["--rehearse"] if arguments.rehearse else []
        command += ["--go-on"] if attempt else []
        status, reason = run_process(command, left + GRACE_S, left if stage == "build" else SILENCE_S, log)
        if status in (0, 1) or not result.exists() or time.monotonic() - started > seconds:
            break
        log(f"{stage}: {reason or f'exit status {status}'}; going on after the case that was running")
    cases = json.loads(result.read_text())["cases"] if result.exists() else []
    failed = [case["name"] for case in cases if not case["ok"]]
    good = status == 0 and not failed
    text = "ok" if good else f"killed: {reason}" if reason else "failed"
    return Outcome(stage, text, round(time.monotonic() - started, 1), len(cases) - len(failed), failed)


def find_store(arguments: argparse.Namespace, log: Log) -> Path | None:
    """The kit's, if this code reads it, else one made now; None if that fails."""
    script = (
        "import sys; from pathlib import Path; from pointseg.store import SceneStore; SceneStore(Path(sys.argv[1]))"
    )
    if arguments.kit:
        command = [sys.executable, "-c", script, str(arguments.kit / "store" / "train.h5")]
        if run_process(command, 60, 60, log)[0] == 0:
            return arguments.kit / "store"
    log("the kit holds no store that this code reads: making one")
    scans, store = arguments.work / "scans", arguments.work / "store"
    for part in (["synth", str(scans), "--scenes", "8"], ["preprocess", str(scans), str(store)]):
        if run_process([sys.executable, "-m", "pointseg", *part, "--workers", "8"], 90, 90, log)[0] != 0:
            return None
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help="STAGE or STAGE=SECONDS; all, if none is named")
    parser.add_argument("--work", type=Path, required=True, help="folder of the build")
    parser.add_argument("--kit", type=Path, help="folder made by scripts/gpu_kit.sh")
    parser.add_argument("--out", type=Path, default=Path("build/gpu_check/results"))
    parser.add_argument("--seconds", type=float, default=3600, help="for all stages together")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny shapes")
    arguments = parser.parse_intermixed_args()
    limits = {stage: float(seconds) for stage, (_, seconds) in STAGES.items()}
    wanted = []
    for entry in arguments.stages or STAGES:
        stage, _, seconds = entry.partition("=")
        if stage not in STAGES:
            parser.error(f"stages are {', '.join(STAGES)}, got {stage!r}")
        wanted.append(stage)
        if seconds:
            limits[stage] = float(seconds)
    arguments.store = None
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)

    outcomes: list[Outcome] = []
    with (arguments.out / "log.txt").open("w") as file:
        log = Log(file)
        for stage in wanted:
            left = arguments.seconds - (time.monotonic() - log.start)
            if left < 5:
                log(f"== {stage}: no time left")
                outcomes.append(Outcome(stage, "not started: no time left", 0, 0, []))
                continue
            if arguments.store is None and stage in NEED_A_STORE:
                arguments.store = find_store(arguments, log)
            log(f"== {stage}, at most {min(left, limits[stage]):.0f} s")
            outcomes.append(run_stage(stage, min(left, limits[stage]), arguments, log))
            summary = {"rehearsal": arguments.rehearse, "stages": [asdict(outcome) for outcome in outcomes]}
            (arguments.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        log("== summary")
        for outcome in outcomes:
            log(f"{outcome.stage:10}{outcome.status:30}{outcome.seconds:7.1f} s  {outcome.passed} cases passed")
            for name in outcome.failed:
                log(f"{'':10}failed: {name}")
    raise SystemExit(0 if all(outcome.status == "ok" for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
