"""A run directory: what it says of the code that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pointseg import rundir


def test_a_commit_is_named_only_where_it_holds_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package may lie in a folder of somebody's own repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    source = tmp_path / "rundir.py"
    source.write_text("")
    monkeypatch.setattr(rundir, "__file__", str(source))
    assert rundir._commit() is None
    git("init")
    git("commit", "--allow-empty", "--message=Begin")
    assert rundir._commit() is None
    git("add", "rundir.py")
    git("commit", "--message=Add it")
    head = git("rev-parse", "HEAD")
    assert rundir._commit() == head
    source.write_text("changed")
    assert rundir._commit() == f"{head}+"
