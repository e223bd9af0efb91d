"""LAS and LAZ, the ASPRS's formats for laser scans, through laspy: pip install 'pointseg[las]'.

A file written from a LAS file keeps its header, so its steps, offsets and coordinate system, and all its dimensions.
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud, flat_columns, numbers

_WITH_COLOR = {0: 2, 1: 3, 4: 5, 6: 7, 9: 10}  # point formats without colours -> the same with
_STEP = 1e-4  # metres or the file's unit; of coordinates that come from another format


def check_installed(path: Path) -> None:
    if importlib.util.find_spec("laspy") is None or importlib.util.find_spec("lazrs") is None:
        raise InputError(f"{path}: needs laspy: pip install 'pointseg[las]'")


def read(path: Path) -> Cloud:
    check_installed(path)
    import laspy

    try:
        las = laspy.read(path)
        columns = {"x": np.asarray(las.x), "y": np.asarray(las.y), "z": np.asarray(las.z)}
        columns |= {name: np.asarray(las[name]) for name in las.point_format.dimension_names if name not in "XYZ"}
    except Exception as error:  # lazrs raises its own kind
        raise InputError(f"{path}: cannot be read as LAS: {' '.join(str(error).split())}") from None
    note = ""
    if all(name in columns and not columns[name].any() for name in COLOR):  # point formats have them, scanners may not
        for name in COLOR:
            del columns[name]
        note = "its colours are all black and left out"
    return Cloud(columns, note=note, template=las.header)


def write(path: Path, cloud: Cloud) -> None:
    """Class colours fill the 16 bits that LAS has; columns that LAS does not know become extra dimensions."""
    check_installed(path)
    import laspy

    columns = flat_columns(numbers(cloud.columns))
    header = _header(cloud, all(name in columns for name in COLOR))
    known = set(header.point_format.dimension_names)
    others = [name for name in columns if name not in known | {"x", "y", "z"}]
    header.add_extra_dims([laspy.ExtraBytesParams(name[:32], columns[name].dtype.newbyteorder("=")) for name in others])
    points = laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header)
    for number, axis in enumerate("xyz"):
        steps = np.rint((columns[axis].astype(np.float64) - header.offsets[number]) / header.scales[number])
        if not (np.abs(steps) < 2**31).all():
            raise InputError(f"{path}: LAS holds coordinates within {2**31} steps of its offset, not those of {axis}")
        points[axis.upper()] = steps.astype(np.int32)
    for name, column in columns.items():
        if name not in "xyz":
            points[name[:32]] = column.astype(np.uint16) * 257 if name in COLOR and column.dtype == np.uint8 else column
    with replacing(path) as temporary, temporary.open("wb") as file:
        laspy.LasData(header, points).write(file, do_compress=path.suffix.lower() == ".laz")


def _header(cloud: Cloud, color: bool):
    """Of the file read, or one that fits the coordinates; of a point format with colours where there are any."""
    import laspy

    if isinstance(cloud.template, laspy.LasHeader):
        header = copy.deepcopy(cloud.template)
        number = header.point_format.id
        if color and number in _WITH_COLOR:
            wider = laspy.PointFormat(_WITH_COLOR[number])
            for dimension in header.point_format.extra_dimensions:
                wider.add_extra_dimension(
                    laspy.ExtraBytesParams(dimension.name, dimension.dtype, dimension.description or "")
                )
            header.set_version_and_point_format(header.version, wider)
        return header
    header = laspy.LasHeader(point_format=7 if color else 6, version="1.4")
    corners = np.array([[np.nanmin(cloud.columns[axis]), np.nanmax(cloud.columns[axis])] for axis in "xyz"], np.float64)
    header.offsets = np.floor(corners[:, 0])
    header.scales = np.maximum(_STEP, np.ptp(corners, axis=1) / 2**30)
    return header
