"""Published accuracies on ScanNet's 312 validation scans, in %; only comparable with an evaluation of those scans.

Zhang, Yan, He: "LatentGNN: Learning Efficient Non-local Relations for Visual Recognition", ICML 2019, Table 3. Their
split "test" is today's "val". Voxel accuracy by Dai et al.'s definition as computed by PointNet++'s script.
"""

from __future__ import annotations

from typing import NamedTuple

SCANS = 312


class Row(NamedTuple):
    name: str
    voxel: float
    pixel: float | None = None
    class_pixel: float | None = None
    class_voxel: float | None = None


ROWS: tuple[Row, ...] = (
    Row("3DCNN", 73.0),
    Row("PointNet", 73.9),
    Row("PointNet++ SSG", 83.2, 81.5, 51.7, 53.1),
    Row("PointNet++ MSG", 84.5),
    Row("PointCNN", 85.1),
    Row("PointNet++ SSG + non-local", 84.0, 82.3, 53.1, 54.5),
    Row("PointNet++ SSG + LatentGNN", 84.2, 82.6, 53.2, 54.6),
    Row("PointNet++ SSG + LatentGNN, 3 kernels", 85.2, 83.7, 56.0, 57.6),
)
