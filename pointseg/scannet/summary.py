"""What preprocessing did: a few lines for the terminal, and `preprocess_report.json` with every scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pointseg import __version__
from pointseg.atomic import replacing
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.store import SceneStore

REPORT = "preprocess_report.json"


class Failure(NamedTuple):
    """A scan that is not in the store."""

    scan_id: str
    reason: str  # one line, names the file
    file: Path | None = None  # the one to download again


@dataclass(frozen=True)
class SplitSummary:
    """One store as it is now."""

    store: SceneStore
    read: int  # scans that were read for it; the others were there
    written: bool  # False: it was up to date

    @property
    def label_counts(self) -> np.ndarray:
        """[21] int64, unannotated last."""
        return self.store.label_counts.sum(axis=0)

    def describe(self) -> str:
        counts, store = self.label_counts, self.store
        share = f"{100 * counts[-1] / counts.sum():.1f} % unannotated" if counts[:-1].any() else "no labels"
        state = f"written, {self.read} read" if self.written else "up to date"
        unaligned = sum(not info["aligned"] for info in store.info) if store.meta.aligned else 0
        note = f"; {_scans(unaligned)} without axisAlignment" if unaligned else ""
        size = _size(store.path.stat().st_size)
        return f"{store.path}: {state}, {_scans(len(store))}, {counts.sum():,} vertices, {share}, {size}{note}"


@dataclass(frozen=True)
class Summary:
    """What `preprocess` did."""

    splits: Mapping[str, SplitSummary]  # those that have a store
    failures: tuple[Failure, ...]
    findings: Mapping[str, tuple[str, ...]]  # scan id -> what `--verify` found, of the scans that have something
    verified: bool
    sizes: Mapping[str, int]  # bytes of the scans' files, by the ending of their names
    report: Path

    def describe(self) -> str:
        """Lines for the terminal."""
        lines = [split.describe() for split in self.splits.values()]
        annotated = {name: split.label_counts[:-1] for name, split in self.splits.items()}
        annotated = {name: counts / counts.sum() for name, counts in annotated.items() if counts.sum()}
        if annotated:
            lines += ["", f"{'% of annotated vertices':24}" + "".join(f"{name:>8}" for name in annotated)]
            for row, name in enumerate(CLASS_NAMES):
                lines.append(f"{name:24}" + "".join(f"{100 * shares[row]:8.2f}" for shares in annotated.values()))
        lines += ["", "The scans' files: " + ", ".join(f"{name} {_size(size)}" for name, size in self.sizes.items())]
        if self.verified:
            lines.append(f"Verified: {_scans(len(self.findings))} with findings")
        if self.failures:
            lines.append(f"Left out: {_scans(len(self.failures))}; mend them and run this again, the others are kept")
        lines.append(f"Scan by scan: {self.report}")
        return "\n".join(lines)

    def write(self, root: Path) -> None:
        """Writes the report; the files to download again are named relative to `root`."""
        scans: dict[str, dict[str, Any]] = {}
        for name, split in self.splits.items():
            store = split.store
            for i, (scan_id, info) in enumerate(zip(store.scan_ids, store.info, strict=True)):
                points, unannotated = int(store.label_counts[i].sum()), int(store.label_counts[i, -1])
                scans[scan_id] = {"split": name, "vertices": points, "annotated": points - unannotated}
                scans[scan_id] |= {"scene_type": info["scene_type"], "aligned": info["aligned"]}
        for failure in self.failures:
            scans[failure.scan_id] = {"left_out": failure.reason}
        if self.verified:
            for scan_id, scan in scans.items():
                scan["findings"] = self.findings.get(scan_id, ())
        again = sorted(_relative(failure.file, root) for failure in self.failures if failure.file)
        content = {
            "program": f"pointseg {__version__}",
            "stores": {name: split.store.description for name, split in self.splits.items()},
            "verified": self.verified,
            "bytes": self.sizes,
            "download_again": again,
            "scans": dict(sorted(scans.items())),
        }
        with replacing(self.report) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"
