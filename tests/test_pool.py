"""The processes of `preprocess`: results, errors, deaths; Ctrl-C, SIGKILL and a full disk from outside."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scans

from pointseg.errors import InputError
from pointseg.scannet.pool import run
from pointseg.scannet.preprocess import preprocess
from pointseg.store import SceneStore

SCANS = [f"scene{space:04d}_00" for space in range(1, 9)]


def square(number: int) -> int:
    if number == 5:
        raise InputError("five")
    if number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("workers", [0, 2])
def test_results_and_errors(workers: int) -> None:
    assert sorted(run(square, [1, 2, 3], workers)) == [1, 4, 9]
    with pytest.raises(InputError, match="five"):
        list(run(square, [1, 5, 2], workers))


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(InputError, match="one of 2 processes died, perhaps for lack of memory"):
        list(run(square, [1, 6, 2], 2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for scan_id in SCANS:
        scans.write_scan(tmp_path / "rooms" / "scans", scan_id, points=3000, segments=False)
    return tmp_path / "rooms"


def start(root: Path, store: Path, **how) -> subprocess.Popen:
    """`preprocess` with two processes, in a process group of its own as a shell would start it."""
    command = [sys.executable, "-m", "pointseg", "preprocess", root, store, "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([str(part) for part in command], **(pipes | how))


def wait_for_scans(store: Path, count: int, process: subprocess.Popen) -> None:
    while len(list(store.glob(".scans/*/*.h5"))) < count and process.poll() is None:
        time.sleep(0.005)


def group_is_gone(group: int) -> bool:
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def assert_equal_stores(first: Path, second: Path) -> None:
    a, b = SceneStore(first), SceneStore(second)
    assert a.scan_ids == b.scan_ids
    assert a.fingerprint == b.fingerprint
    for left, right in zip(a, b, strict=True):
        for name in ("xyz", "rgb", "label"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_killed_three_times_it_ends_with_the_store_of_an_undisturbed_run(root: Path, tmp_path: Path) -> None:
    preprocess(root, tmp_path / "whole", progress=False)
    store = tmp_path / "store"
    for kill, finished in enumerate((0, 2, 5)):
        process = start(root, store)
        wait_for_scans(store, finished, process)
        process.kill()  # the parent alone: its processes must notice
        process.communicate()
        assert group_is_gone(process.pid), f"kill {kill}: processes live on"
        (store / ".scans").mkdir(parents=True, exist_ok=True)
        (store / ".train.h5.1.tmp").write_bytes(b"what a killed run leaves")
    assert start(root, store).wait(60) == 0
    assert_equal_stores(store / "train.h5", tmp_path / "whole" / "train.h5")
    assert sorted(path.name for path in store.iterdir()) == ["preprocess_report.json", "train.h5"]


def test_ctrl_c_ends_it_quietly_and_it_goes_on(root: Path, tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what it starts with &
    process = start(root, tmp_path / "store")
    wait_for_scans(tmp_path / "store", 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: the whole group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pointseg: interrupted" in errors
    assert "Traceback" not in errors
    assert group_is_gone(process.pid)
    finished = start(root, tmp_path / "store")
    out, _ = finished.communicate(timeout=60)
    assert finished.returncode == 0
    assert f"{len(SCANS)} scans" in out


def test_a_full_disk_is_one_line(root: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: HDF5 meets it in the middle of a write."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    process = start(root, tmp_path / "store", preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    lines = [line for line in errors.splitlines() if line and "B/s" not in line]
    assert len(lines) == 1, errors
    assert lines[0].endswith("cannot be written: File too large")
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_two_runs_do_not_share_a_folder(root: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "store").mkdir()
    folder = os.open(tmp_path / "store", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another `pointseg preprocess` is writing there"):
        preprocess(root, tmp_path / "store", progress=False)
    os.close(folder)
    assert len(preprocess(root, tmp_path / "store", progress=False).splits["train"].store) == len(SCANS)
