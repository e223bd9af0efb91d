"""What is done to a run from outside, and what becomes of it: signals, full disks, lost processes, changed files."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interruptions import differences, train_with_interruptions
from pointseg.cli import main
from pointseg.config import Config
from pointseg.config_file import parse_config
from pointseg.errors import InputError
from pointseg.rundir import RunDirectory
from pointseg.training.faults import interruption
from pointseg.training.step import TrainingStep
from tests.test_train import SMALL, run

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture
def config(make_store: Callable[..., Path]) -> Config:
    return parse_config(SMALL, [f"data.store={make_store(scenes=3)}"])  # 12 draws, 6 steps


@pytest.mark.slow
def test_interrupted_three_times_equals_never(
    tmp_path: Path, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums depend on the number of threads; this process has one
    store = make_store(scenes=3)
    make_store("val", scenes=2, points=500, seed=9)
    settings = [f"data.store={store}", "train.epochs=60", "train.log_every=4", "train.ema=0.9"]
    settings += ["train.evaluate_every=15", "evaluate.protocols=[every_vertex]", "evaluate.resamples=0"]
    (tmp_path / "small.yaml").write_text(SMALL)
    config = parse_config(SMALL, settings)
    whole = run(config, tmp_path / "whole")
    disturbed = RunDirectory(tmp_path / "disturbed")
    events = train_with_interruptions(whole.config_file, disturbed, 3, np.random.default_rng(0))
    assert any("status 75" in event for event in events)
    assert any("status -9" in event for event in events)
    assert differences(whole, disturbed) == []
    assert whole.best_checkpoint_file.exists()


def test_the_comparison_of_runs_can_fail(config: Config, tmp_path: Path) -> None:
    one = run(config, tmp_path / "one")
    other = run(dataclasses.replace(config, train=dataclasses.replace(config.train, seed=1)), tmp_path / "other")
    different = differences(one, other)
    assert "metrics.jsonl" in different
    assert any(name.startswith("last.pt/model/") for name in different)


def test_a_full_disk_keeps_the_previous_checkpoint(config: Config, tmp_path: Path) -> None:
    directory = run(config, tmp_path / "run", stop_after=2)
    before = directory.checkpoint_file.read_bytes()
    temporary = directory.checkpoint_file.with_name(f".last.pt.{os.getpid()}.tmp")
    temporary.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"last\.pt: No space left on device; the previous checkpoint is kept"):
        run(config, tmp_path / "run", resume=True)
    assert directory.checkpoint_file.read_bytes() == before
    assert not temporary.is_symlink()
    assert run(config, tmp_path / "run", resume=True).load_checkpoint()["step"] == 6


def test_a_truncated_checkpoint_is_named(config: Config, tmp_path: Path) -> None:
    directory = run(config, tmp_path / "run", stop_after=2)
    content = directory.checkpoint_file.read_bytes()
    directory.checkpoint_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"checkpoint: .*last\.pt cannot be read"):
        run(config, tmp_path / "run", resume=True)


def test_a_replaced_store_is_noticed(config: Config, tmp_path: Path, make_store: Callable[..., Path]) -> None:
    directory = run(config, tmp_path / "run", stop_after=2)
    make_store(scenes=3, seed=5)
    with pytest.raises(InputError, match=r"resume: .*train\.h5 must be the store of this run, fingerprint \w+, got"):
        run(config, tmp_path / "run", resume=True)
    make_store(scenes=3)  # the same rooms again
    assert run(config, tmp_path / "run", resume=True).load_checkpoint()["step"] == 6
    assert directory.load_meta()["store"]["fingerprint"]


def test_a_cosine_cannot_be_made_longer(config: Config, tmp_path: Path) -> None:
    cosine = dataclasses.replace(config, train=dataclasses.replace(config.train, schedule="cosine"))
    run(cosine, tmp_path / "run", stop_after=2)
    longer = dataclasses.replace(cosine, train=dataclasses.replace(cosine.train, epochs=9))
    with pytest.raises(InputError, match=r"resume: train\.epochs differs"):
        run(longer, tmp_path / "run", resume=True)


def test_a_relative_store_is_found_from_elsewhere(config: Config, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = dataclasses.replace(config, data=dataclasses.replace(config.data, store="store"))
    directory = run(relative, tmp_path / "run", stop_after=2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(directory.load_config(), tmp_path / "run", resume=True).load_checkpoint()["step"] == 6


def test_two_runs_into_one_folder(config: Config, tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "run").locked(),
        pytest.raises(InputError, match=r"out: .*run must not be in use, but another process is training in it"),
    ):
        run(config, tmp_path / "run")
    assert run(config, tmp_path / "run").load_checkpoint()["step"] == 6


def test_the_second_signal_acts_at_once() -> None:
    """As it would without us, whichever of the signals it is."""
    came = []
    before = {number: signal.signal(number, lambda *arguments: came.append(arguments[0])) for number in SIGNALS}
    try:
        for first, second in itertools.product(SIGNALS, SIGNALS):
            came.clear()
            with interruption() as interrupted:
                assert interrupted() == 0
                os.kill(os.getpid(), first)
                assert interrupted() == first
                assert came == []
                os.kill(os.getpid(), second)
                assert came == [second]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_the_status_tells_the_signal(config: Config, tmp_path: Path, monkeypatch, number: int, status: int) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    forward = TrainingStep._forward

    def interrupted_forward(*arguments):
        if not came:
            came.append(os.kill(os.getpid(), number))
        return forward(*arguments)

    came: list[None] = []
    monkeypatch.setattr(TrainingStep, "_forward", interrupted_forward)
    command = ["train", "--config", tmp_path / "small.yaml", "--out", tmp_path / "run"]
    assert main([*map(str, command), "--set", f"data.store={config.data.store}"]) == status
    assert RunDirectory(tmp_path / "run").load_checkpoint()["step"] == 1


def test_what_torchrun_starts_again_goes_on(config: Config, tmp_path: Path, monkeypatch, capsys) -> None:
    """torchrun --max-restarts repeats the command line of the first start."""
    (tmp_path / "small.yaml").write_text(SMALL)
    command = ["train", "--config", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "run")]
    command += ["--set", f"data.store={config.data.store}"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert main([*command, "--stop-after", "3"]) == 0  # the first start came to no checkpoint
    assert main(command) == 0
    whole = run(config, tmp_path / "whole")
    assert differences(whole, RunDirectory(tmp_path / "run")) == []
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert main(command) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_too_little_memory_names_the_split_that_fits(config: Config, tmp_path: Path, monkeypatch) -> None:
    """As if two chunks did not fit, but one did."""
    forward = TrainingStep._forward

    def small_memory(self, network, batch, geometry):
        if len(batch["xyz"]) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return forward(self, network, batch, geometry)

    monkeypatch.setattr(TrainingStep, "_forward", small_memory)
    with pytest.raises(
        InputError, match=r"step 0: out of memory with 2 chunks at a time .* train\.accumulate=2 \(1 at"
    ):
        run(config, tmp_path / "run")


def start(config: Config, folder: Path, *settings: str, program: tuple[str, ...] = ()) -> subprocess.Popen:
    """`pointseg train` for a very long time, a line logged at every step."""
    (folder / "long.yaml").write_text(SMALL)
    command = [*(program or (sys.executable, "-m", "pointseg")), "train", "--config", folder / "long.yaml"]
    settings = (f"data.store={config.data.store}", "train.epochs=100000", "train.log_every=1", *settings)
    command += ["--out", folder / "run", *(part for setting in settings for part in ("--set", setting))]
    return subprocess.Popen(
        [str(part) for part in command],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_lines(process: subprocess.Popen, directory: RunDirectory, count: int = 3) -> None:
    while process.poll() is None and sum(1 for _ in directory.read_metrics()) < count:
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_loader_process_is_named(config: Config, tmp_path: Path) -> None:
    with start(config, tmp_path, "data.workers=1") as process:
        wait_for_lines(process, RunDirectory(tmp_path / "run"))
        for worker in children(process.pid):
            os.kill(worker, signal.SIGKILL)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 2, message
    assert "data.workers: loader process" in message
    assert "Traceback" not in message


def passed_on() -> list[str]:
    """The option by which the job file for SLURM has torchrun pass SIGUSR1 on."""
    return re.findall(r"--signals-to-handle=\S+", (ROOT / "scripts" / "slurm" / "train.sbatch").read_text())


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d")
TORCHRUN += ("--rdzv-endpoint=127.0.0.1:0", *passed_on(), "-m", "pointseg")


@pytest.mark.slow
def test_a_lost_process_ends_the_others(config: Config, tmp_path: Path) -> None:
    with start(config, tmp_path, program=TORCHRUN) as process:
        directory = RunDirectory(tmp_path / "run")
        wait_for_lines(process, directory)
        os.kill(max(children(process.pid)), signal.SIGKILL)
        message = process.communicate(timeout=60)[1]
    assert process.returncode not in (0, None)
    assert "another process of this run has ended" in message, message[-3000:]
    assert directory.load_checkpoint()["step"] >= 1


@pytest.mark.slow
def test_torchrun_starts_lost_processes_again(config: Config, tmp_path: Path) -> None:
    with start(config, tmp_path, program=(*TORCHRUN[:3], "--max-restarts=1", *TORCHRUN[3:])) as process:
        directory = RunDirectory(tmp_path / "run")
        wait_for_lines(process, directory)
        os.kill(max(children(process.pid)), signal.SIGKILL)
        before = directory.load_meta()
        wait_for_lines(process, directory, 50)
        process.send_signal(signal.SIGTERM)
        message = process.communicate(timeout=60)[1]
    assert "stopped with a checkpoint" in message, message[-3000:]
    assert directory.load_meta() == before  # no second run
    steps = [line["step"] for line in directory.read_metrics()]
    assert steps == list(range(1, 1 + directory.load_checkpoint()["step"]))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_torchrun_leaves_a_checkpoint(config: Config, tmp_path: Path, number: int) -> None:
    with start(config, tmp_path, program=TORCHRUN) as process:
        directory = RunDirectory(tmp_path / "run")
        wait_for_lines(process, directory)
        process.send_signal(number)
        message = process.communicate(timeout=60)[1]
    assert message.count("stopped with a checkpoint") == 1, message[-3000:]
    # torchrun ends with a traceback of its own; the processes that it started have none.
    assert message.count("Traceback") == 1, message[-3000:]
    assert "SignalException" in message
    last = list(directory.read_metrics())[-1]["step"]
    assert directory.load_checkpoint()["step"] == last
