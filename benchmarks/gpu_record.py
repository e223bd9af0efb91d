"""What every stage of scripts/gpu_check.sh shares: its arguments, and a record of its cases that survives a crash."""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

BROKEN = 3  # exit status: the device takes no more work from this process


class Stage:
    """Runs cases and rewrites `output` before and after each; a case that fails does not stop the others."""

    def __init__(self, description: str | None, default_output: str) -> None:
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--output", type=Path, default=Path(default_output), help="JSON with the results")
        parser.add_argument("--work", type=Path, default=Path("build/gpu_check"), help="folder of the build")
        parser.add_argument("--kit", type=Path, help="folder made by scripts/gpu_kit.sh")
        parser.add_argument("--store", type=Path, help="folder with train.h5, to train on")
        parser.add_argument("--seconds", type=float, default=600.0, help="no case starts later")
        parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny shapes")
        parser.add_argument("--go-on", action="store_true", help="leave out the cases that OUTPUT already holds")
        arguments = parser.parse_args()
        self.output, self.work = arguments.output, arguments.work
        self.kit, self.store = arguments.kit, arguments.store
        self.rehearse = arguments.rehearse
        self.device = torch.device("cpu" if self.rehearse else "cuda")
        self.deadline = time.monotonic() + arguments.seconds
        if not self.rehearse and not torch.cuda.is_available():
            raise SystemExit("torch sees no CUDA device")
        self.record: dict = {"device": device(), "rehearsal": self.rehearse, "cases": []}
        if arguments.go_on:
            self.record["cases"] = json.loads(self.output.read_text())["cases"]

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def size(self, full: int, tiny: int) -> int:
        """`full`, or `tiny` in a rehearsal."""
        return tiny if self.rehearse else full

    def case(self, name: str, run: Callable[[], dict | None], needs_s: float = 0) -> bool:
        """Runs one case unless less than `needs_s` are left. `run` returns what to record; "ok": False is a failure."""
        if name in [case["name"] for case in self.record["cases"]]:
            return True
        entry: dict = {"name": name, "ok": False, "error": "did not finish: crash, hang or time limit"}
        self.record["cases"].append(entry)
        if self.left() < needs_s:
            entry["error"] = f"left out: {needs_s:.0f} s needed, {self.left():.0f} s left"
            print(f"{name}: {entry['error']}", flush=True)
            self.write()
            return False
        self.write()
        started = time.monotonic()
        try:
            result = run() or {}
            self.synchronize()
            del entry["error"]
            entry.update({"ok": True, **result})
        except Exception as error:
            entry["error"] = f"{type(error).__name__}: {error}"[:1500]
            traceback.print_exc()
        entry["seconds"] = round(time.monotonic() - started, 2)
        self.write()
        word = "ok" if entry["ok"] else f"FAILED {entry.get('error', '')}"
        print(f"{name}: {word} ({entry['seconds']:.1f} s)", flush=True)
        if not entry["ok"] and self.device_is_lost():
            print("the device takes no more work from this process", flush=True)
            os._exit(BROKEN)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return entry["ok"]

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def device_is_lost(self) -> bool:
        """After some errors, such as an illegal address, every later call of a process fails."""
        try:
            self.synchronize()
        except RuntimeError:
            return True
        return False

    def write(self) -> None:
        temporary = self.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.record, indent=1) + "\n")
        os.replace(temporary, self.output)

    def finish(self) -> None:
        raise SystemExit(0 if all(case["ok"] for case in self.record["cases"]) else 1)


def device() -> dict[str, object]:
    """What a reader needs to place the numbers."""
    about: dict[str, object] = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": None}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        about |= {"gpu": properties.name, "multiprocessors": properties.multi_processor_count}
        about |= {"memory_GB": round(properties.total_memory / 1e9, 1)}
    return about
