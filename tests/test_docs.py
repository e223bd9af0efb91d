"""The documentation says what is there: links lead somewhere, commands and their options exist, configurations too."""

from __future__ import annotations

import itertools
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import untrained_run

from benchmarks import predict_tables
from pointseg.cli import main
from pointseg.cli.commands import COMMANDS
from pointseg.config import Config
from pointseg.config_file import parse_config
from scripts.run_documentation import NOT_RUN, STEPS, documented, not_run

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
PAGES += [ROOT / "cuda_ops" / "README.md", ROOT / "data" / "README.md"]


def anchors(page: Path) -> set[str]:
    """Of the headings, as the site and code hosts make them; of documented names, as mkdocstrings does."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    names = re.findall(r"^::: (\S+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S))
    for link in links:
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(file), f"{page}: {link}"


def commands() -> list[tuple[str, list[str]]]:
    """Each `pointseg` command line of the documentation, with its page."""
    found = []
    for page in PAGES:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.splitlines() if language in ("", "bash", "sh") else ():
                for part in re.split(r"&&|\s#\s", line.split("  #")[0]):
                    words = shlex.split(part) if "pointseg" in part else []
                    name = next((n for n, word in enumerate(words) if word.endswith("pointseg")), None)
                    if name is not None and len(words) > name + 1 and words[name] != "cd":
                        found.append((page.name, words[name + 1 :]))
    return found


def test_tables_of_predictions_come_from_the_results():
    assert predict_tables.written(predict_tables.PAGE.read_text()) == predict_tables.PAGE.read_text()


def python_blocks() -> list[str]:
    blocks = [block for page in PAGES for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)]
    return [block for block in blocks if 'pretrained="coco"' not in block]  # which is a download


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.splitlines()[-1])
def test_python_runs_as_it_stands(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    points = np.random.default_rng(0).uniform(0, [3, 3, 2.4], (3000, 3)).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    np.save("scan.npy", points)
    for name in ("demo", "pointnet2_ssg_latentgnn"):
        untrained_run(tmp_path / "runs" / name)
    (tmp_path / "block.py").write_text(block)
    batch = torch.from_numpy(points)[None]  # which is what the operators take
    given = {"features": torch.randn(1, 256, 3000), "weight": torch.rand(1, 3000, 3)}
    found = runpy.run_path("block.py", given | {"xyz": batch if "pointnet2_ops" in block else points})
    if "labels" in found:
        assert found["labels"].train_id.shape == (3000,)
        assert (found["labels"].train_id < len(found["labels"].classes)).all()


def test_every_command_is_run_or_has_a_reason_not_to_be():
    """By scripts/run_documentation.py; a new command in the pages belongs into its STEPS."""
    pages, steps = documented(), {step.command for step in STEPS}
    assert [command for command, of in pages.items() if command not in steps and not not_run(command, of)] == []
    assert [command for command in (*steps, *NOT_RUN) if command not in pages] == []
    assert len(steps) == len(STEPS) > 40


def test_commands_and_their_options_exist(capsys: pytest.CaptureFixture[str]):
    lines = [(page, words) for page, words in commands() if re.fullmatch(r"[a-z]+", words[0])]
    assert len(lines) > 20
    for page, words in lines:
        assert words[0] in COMMANDS, f"{page}: pointseg {' '.join(words)}"
        with pytest.raises(SystemExit):
            main([words[0], "--help"])
        text = capsys.readouterr().out
        for word in words[1:]:
            if word.startswith("--") or word == "-o":
                assert word in text, f"{page}: pointseg {' '.join(words)}"
        for option, value in itertools.pairwise(words):
            if option == "--set" and words[0] != "synth":  # whose --set is a set of rooms
                assert isinstance(parse_config("", [value]), Config)
            if option == "--config" and "/" in value:
                assert (ROOT / value).is_file(), f"{page}: {value}"
