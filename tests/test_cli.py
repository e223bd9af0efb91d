"""The command line: help for everything, and one clear line with status 2 for wrong input."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import pointseg
from pointseg.cli.commands import COMMANDS, main
from pointseg.cli.store import STORE_COMMANDS
from pointseg.config_file import dump_config, parse_config
from pointseg.rundir import RunDirectory
from pointseg.scannet.ply import write_ply
from pointseg.store import SCHEMA_VERSION
from tests.test_train import SMALL


def fails(capsys: pytest.CaptureFixture, *arguments: str | Path) -> str:
    """Runs a command that must end with status 2 and one line on stderr, which is returned."""
    assert main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pointseg: ")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def trained(make_store: Callable[..., Path], tmp_path: Path) -> Path:
    """A run directory with one step of training behind it."""
    store = make_store(scenes=2)
    make_store("val", scenes=1, points=400)
    (tmp_path / "small.yaml").write_text(SMALL)
    run = tmp_path / "run"
    arguments = ["--config", tmp_path / "small.yaml", "--out", run, "--set", f"data.store={store}", "--stop-after", 1]
    assert main(["train", *map(str, arguments)]) == 0
    return run


ALL = {(name,): command for name, command in COMMANDS.items()} | {
    ("store", name): command for name, command in STORE_COMMANDS.items()
}
GROUPS = {(): COMMANDS, ("store",): STORE_COMMANDS}


@pytest.mark.parametrize("command", [(), *ALL], ids=" ".join)
def test_help_explains_every_option(command: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    if command in GROUPS:
        assert all(re.search(rf"• {name}\s+\w", text) for name in GROUPS[command])
        return
    # An option that nothing explains shows only "(default: ...)" or "(required)" behind its name.
    plain = re.sub(r"[│╭╰╮╯─]", " ", text)
    entries = re.split(r"\n {1,3}(?=--?[a-z]|\[?[A-Z]+[ \]])", plain)[1:]
    parameters = inspect.signature(ALL[command]).parameters
    assert len(entries) == len(parameters) + 1  # and --help
    for entry in entries:
        words = re.sub(r"\((default|required|repeatable).*", "", entry, flags=re.S).split()
        assert len(words) >= 4, entry


def test_module_and_command_are_the_same_program() -> None:
    texts = [
        subprocess.run([*program, "--help"], capture_output=True, text=True, check=True, env=None).stdout
        for program in ([sys.executable, "-m", "pointseg"], [Path(sys.executable).with_name("pointseg")])
    ]
    assert texts[0] == texts[1]
    assert "preprocess" in texts[0]


def test_config_prints_what_it_reads(capsys: pytest.CaptureFixture) -> None:
    assert main(["config", "--set", "train.lr=3e-4"]) == 0
    printed = capsys.readouterr().out
    assert parse_config(printed).train.lr == 3e-4
    assert printed == dump_config(parse_config("", ["train.lr=3e-4"]))


def test_missing_folders(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in fails(capsys, "preprocess", nowhere, tmp_path / "store")
    assert str(nowhere) in fails(capsys, "evaluate", nowhere)
    assert str(nowhere) in fails(capsys, "report", nowhere)
    assert str(nowhere) in fails(capsys, "train", "--config", nowhere)
    assert str(nowhere) in fails(capsys, "train", "--out", nowhere, "--resume")
    (tmp_path / "c.yaml").write_text(f"data: {{store: {nowhere}}}")
    assert str(nowhere) in fails(capsys, "train", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "--config FILE is needed" in fails(capsys, "train")


def test_unknown_keys_name_the_nearest_one(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("train: {learning_rate: 1}")
    line = fails(capsys, "train", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run")
    assert "unknown key train.learning_rate; the nearest known one is train." in line
    assert "nearest known one is model.dropout" in fails(capsys, "config", "--set", "model.droput=1")


def test_a_start_that_failed_can_be_started_again(capsys, make_store: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    run = ["train", "--config", tmp_path / "small.yaml", "--out", tmp_path / "run"]
    run += ["--set", f"data.store={make_store(scenes=2)}"]
    assert "stop_after must be 1 or more, got 0" in fails(capsys, *run, "--stop-after", "0")
    RunDirectory(tmp_path / "run").create(parse_config(SMALL), {})  # and then it crashed
    assert main([*map(str, run), "--stop-after", "1"]) == 0
    assert "already holds a run" in fails(capsys, *run)


def test_the_demo_needs_no_clone_and_four_rooms(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "scenes must be 4 or more, so that a quarter of them can" in fails(capsys, "demo", "--scenes", "3")
    assert "unknown key train.lrr" in fails(capsys, "demo", "--set", "train.lrr=1")  # its configuration was found
    assert not list(tmp_path.iterdir())


def test_files_where_folders_belong_and_the_other_way_round(capsys, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\x00")
    write_ply(tmp_path / "mesh.ply", np.zeros((4, 3), np.float32))
    config = ["train", "--config", tmp_path / "small.yaml", "--set", f"data.store={tmp_path / 'store'}"]
    assert "must be a folder" in fails(capsys, *config, "--out", tmp_path / "file")
    assert "not UTF-8" in fails(capsys, "train", "--config", tmp_path / "file")
    (tmp_path / "folder.ply").mkdir()
    target = tmp_path / "folder.ply"
    assert "must be a file" in fails(capsys, "predict", trained, tmp_path / "mesh.ply", "-o", target)
    nested = tmp_path / "file" / "out.ply"
    assert "cannot write to the folder" in fails(capsys, "predict", trained, tmp_path / "mesh.ply", "-o", nested)


def test_chunks_smaller_than_the_first_level(capsys: pytest.CaptureFixture) -> None:
    line = fails(capsys, "config", "--set", "data.num_points=512")
    assert "data.num_points must be at least the 1024 centres that the network samples, got 512" in line


def test_checkpoint_of_another_architecture(capsys: pytest.CaptureFixture, trained: Path) -> None:
    line = fails(capsys, "evaluate", trained, "--set", "model.head=24")
    assert re.search(r"is of another architecture than the configuration: \S+ must be \(24.*got \(16", line)


def test_checkpoints_that_cannot_be_read(capsys: pytest.CaptureFixture, trained: Path) -> None:
    checkpoint = RunDirectory(trained).checkpoint_file
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in fails(capsys, "evaluate", trained)
    checkpoint.write_bytes(b"")
    assert "cannot be read" in fails(capsys, "evaluate", trained)
    checkpoint.write_bytes(b"weights")
    assert "cannot be read" in fails(capsys, "evaluate", trained)
    torch.save({"model": {}}, checkpoint)
    assert "must have format 1, got None" in fails(capsys, "evaluate", trained)
    checkpoint.unlink()
    assert "does not exist" in fails(capsys, "evaluate", trained)


def test_store_of_another_version(capsys: pytest.CaptureFixture, trained: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "store" / "val.h5", "a") as file:
        file.attrs["schema_version"] = 99
    line = fails(capsys, "evaluate", trained)
    assert f"expected store version {SCHEMA_VERSION}, got 99; run `pointseg preprocess` again" in line


def test_a_mesh_cut_in_half(capsys: pytest.CaptureFixture, trained: Path, tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 2, (300, 3)).astype(np.float32)
    write_ply(tmp_path / "mesh.ply", points)
    whole = (tmp_path / "mesh.ply").read_bytes()
    (tmp_path / "half.ply").write_bytes(whole[: len(whole) // 2])
    line = fails(capsys, "predict", trained, tmp_path / "half.ply", "-o", tmp_path / "out.ply")
    assert "half.ply" in line
    assert not (tmp_path / "out.ply").exists()
    assert "nothing.ply" in fails(capsys, "predict", trained, tmp_path / "nothing.ply", "-o", tmp_path / "out.ply")
    assert main(["predict", str(trained), str(tmp_path / "mesh.ply"), "-o", str(tmp_path / "out.ply")]) == 0
    assert (tmp_path / "out.ply").exists()


def test_a_training_scan_without_labels(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main(["synth", str(tmp_path / "scannet"), "--scenes", "2"]) == 0
    scans = sorted((tmp_path / "scannet" / "scans").iterdir())
    broken, kept = scans[0], scans[1]
    for path in broken.iterdir():
        if "labels.ply" in path.name or "segs" in path.name or "aggregation" in path.name:
            path.unlink()
    capsys.readouterr()
    line = fails(capsys, "preprocess", tmp_path / "scannet", tmp_path / "store")
    assert broken.name in line
    assert "label" in line
    with h5py.File(next((tmp_path / "store").glob("*.h5"))) as file:
        assert [name.decode() for name in file["scan_ids"]] == [kept.name]
    shutil.rmtree(broken)
    assert main(["preprocess", str(tmp_path / "scannet"), str(tmp_path / "store")]) == 0


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pointseg {pointseg.__version__}\n"


def test_completion_script(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--tyro-print-completion", "bash"])
    assert not end.value.code
    assert "reproduce" in capsys.readouterr().out


def test_quiet_draws_no_bar(capsys: pytest.CaptureFixture, trained: Path) -> None:
    assert main(["evaluate", str(trained)]) == 0
    shown = capsys.readouterr()
    assert "evaluating: 100%" in shown.err
    assert main(["evaluate", str(trained), "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert "every_vertex" in quiet.out


@pytest.mark.parametrize(("environment", "drawn"), [({}, True), ({"TQDM_DISABLE": "1"}, False)])
def test_bars_heed_the_environment(environment: dict[str, str], drawn: bool) -> None:
    program = "from pointseg.progress import progress_bar; list(progress_bar(range(3), desc='work'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"} | environment,
    )
    assert ("work: 100%" in done.stderr) == drawn
