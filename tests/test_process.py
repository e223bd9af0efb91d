"""Settings of the process: freed memory is kept, waiting threads sleep."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from pointseg.process import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(30):  # the heap finds its shape
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)  # 64 MiB: 16384 pages of 4 KiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_large_tensors_do_not_fault_their_pages_again() -> None:
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", COUNT_FAULTS, mode], capture_output=True, text=True, check=True
            ).stdout
        )
        for mode in ("default", "keep")
    }
    assert faults["keep"] < 0.1 * faults["default"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["default", "spin count given", "policy given"],
)
def test_waiting_threads_sleep_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    program = "import os; from pointseg.cli import main; main(['config']); print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment | given)
    assert done.stdout.splitlines()[-1] == expected


def test_pytorch_is_not_loaded_before_the_process_is_set_up() -> None:
    program = "import sys, pointseg.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
