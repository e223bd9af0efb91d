"""Trains and evaluates a list of runs in processes of their own, side by side where there are several devices."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pointseg.config import Config
from pointseg.config_file import dump_config
from pointseg.errors import InputError
from pointseg.rundir import RunDirectory, write_text


@dataclass(frozen=True)
class Job:
    """One run; `name` is its folder's."""

    name: str
    config: Config
    folder: Path

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.folder / self.name)

    @property
    def done(self) -> bool:
        return self.run.eval_file.is_file()

    def check(self) -> None:
        """A run that is there must have been begun with the same settings."""
        if self.run.config_file.is_file() and (changed := self.run.changed_settings(self.config)):
            raise InputError(
                f"out: {self.run.path} was begun with another {changed[0]}; take another --out, or remove it"
            )

    def commands(self) -> list[list[str]]:
        """Training, from its checkpoint if there is one, and evaluation."""
        program, path = [sys.executable, "-m", "pointseg"], str(self.run.path)
        train, evaluate = [*program, "train", "--quiet", "--out", path], [*program, "evaluate", "--quiet", path]
        if self.run.checkpoint_file.is_file():
            return [[*train, "--resume"], evaluate]
        file = self.folder / "configs" / f"{self.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, dump_config(self.config))
        return [[*train, "--config", str(file)], evaluate]


class Runner:
    """Runs jobs on `devices`, `side_by_side` on each; says what is done and how long the rest will take."""

    def __init__(self, devices: Sequence[str], side_by_side: int = 1) -> None:
        if side_by_side < 1:
            raise InputError(f"jobs must be 1 or more, got {side_by_side}")
        self.slots = [device for _ in range(side_by_side) for device in devices]
        self.failed: list[str] = []
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def run(self, jobs: Sequence[Job]) -> None:
        """Does what is not done yet; a job that fails does not stop the others.

        Raises:
            InputError: at the end, naming the jobs that failed and their logs.
            KeyboardInterrupt: the runs under way have written checkpoints.
        """
        for job in jobs:
            job.check()
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        open_jobs = [job for job in jobs if not job.done]
        for job in open_jobs:
            waiting.put(job)
        print(f"{len(jobs)} runs, {len(jobs) - len(open_jobs)} done already", flush=True)
        self._started, self._finished, self._total = time.monotonic(), 0, len(open_jobs)
        threads = [threading.Thread(target=self._work, args=(waiting, slot)) for slot in self.slots[: len(open_jobs)]]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # a join without a limit would keep Ctrl-C waiting
        except KeyboardInterrupt:
            self._stop()
            for thread in threads:
                thread.join()
            raise
        if self.failed:
            raise InputError(f"{len(self.failed)} of {len(jobs)} runs failed: {'; '.join(self.failed)}")

    def _work(self, waiting: queue.SimpleQueue[Job], device: str) -> None:
        while not self._stopped.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            started = time.monotonic()
            failure = self._do(job, device)
            if self._stopped.is_set():
                return
            with self._lock:
                self._finished += 1
                if failure:
                    self.failed.append(failure)
                self._say(job, failure, time.monotonic() - started)

    def _do(self, job: Job, device: str) -> str | None:
        """None, or what went wrong in a few words."""
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": device} if device != "cpu" else {})
        job.folder.mkdir(parents=True, exist_ok=True)
        log = job.folder / f"{job.name}.log"
        for command in job.commands():
            with log.open("ab") as file, self._lock:
                if self._stopped.is_set():
                    return "stopped"
                # A session of its own: Ctrl-C at the terminal reaches it through `_stop` only, once.
                child = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
                )
                self._children.add(child)
            status = child.wait()
            with self._lock:
                self._children.discard(child)
            if status:
                lines = log.read_text(errors="replace").strip().splitlines()
                return f"{job.name}: {lines[-1] if lines else f'exit status {status}'} ({log})"
        return None

    def _say(self, job: Job, failure: str | None, seconds: float) -> None:
        elapsed = time.monotonic() - self._started
        left = elapsed / self._finished * (self._total - self._finished)
        what = f"FAILED: {failure}" if failure else f"{job.name}: trained and evaluated in {seconds / 60:.1f} min"
        print(f"[{self._finished}/{self._total}] {what}; {left / 60:.0f} min left", flush=True)

    def _stop(self) -> None:
        """Asks the children to write their checkpoints and end."""
        with self._lock:
            self._stopped.set()
            for child in self._children:
                child.send_signal(signal.SIGINT)
