"""E57, ASTM's format for scanners (E2807), through pye57: pip install 'pointseg[e57]'.

A file's scans are put behind one another, each moved to where its pose says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud

_NAMES = {
    "cartesianX": "x", "cartesianY": "y", "cartesianZ": "z", "intensity": "intensity",
    "colorRed": "red", "colorGreen": "green", "colorBlue": "blue",
}  # fmt: skip


def check_installed(path: Path) -> None:
    if importlib.util.find_spec("pye57") is None:
        raise InputError(f"{path}: needs pye57: pip install 'pointseg[e57]'")


def read(path: Path) -> Cloud:
    check_installed(path)
    import pye57

    try:
        file = pye57.E57(str(path))
        scans = [
            file.read_scan(number, intensity=True, colors=True, ignore_missing_fields=True)
            for number in range(file.scan_count)
        ]
        recorded = sum(file.get_header(number).point_count for number in range(file.scan_count))
        file.close()
    except Exception as error:  # pye57's errors have no common class
        raise InputError(f"{path}: cannot be read as E57: {' '.join(str(error).split())}") from None
    common = [name for name in _NAMES if scans and all(name in scan for scan in scans)]
    columns = {_NAMES[name]: np.concatenate([scan[name] for scan in scans]) for name in common}
    if "x" not in columns:
        raise InputError(f"{path}: expected scans with positions, got {len(scans)} scans")
    notes = [f"{len(scans)} scans"] if len(scans) > 1 else []
    if recorded > len(columns["x"]):
        notes.append(f"{recorded - len(columns['x']):,} points that the scanner calls invalid are left out")
    return Cloud(columns, note=", ".join(notes))


def write(path: Path, cloud: Cloud) -> None:
    """One scan: positions (float32 from where its pose puts them), intensity and colours. No place for labels."""
    check_installed(path)
    import pye57

    columns = {axis: np.asarray(cloud.columns[axis], np.float64) for axis in "xyz"}
    origin = np.array([np.floor(column.min()) for column in columns.values()])
    columns = {axis: column - start for (axis, column), start in zip(columns.items(), origin, strict=True)}
    if "intensity" in cloud.columns:
        columns["intensity"] = np.asarray(cloud.columns["intensity"], np.float32)
    if (rgb := cloud.rgb) is not None:
        columns |= {name: np.ascontiguousarray(rgb[:, axis]) for axis, name in enumerate(COLOR)}
    data = {old: columns[new] for old, new in _NAMES.items() if new in columns}
    with replacing(path) as temporary:
        file = pye57.E57(str(temporary), mode="w")
        file.write_scan_raw(data, rotation=np.array([1.0, 0, 0, 0]), translation=origin)
        file.close()
