"""What is counted, what the scores are called and mean, and how the protocols differ."""

from __future__ import annotations

from pointseg.config import Protocol
from pointseg.metrics import VOXEL_2CM, VOXEL_4_84CM, AbsentRule

SCHEMA = 2  # of eval.json

# What is counted: every point, or one point per voxel of this size.
MEASURES: dict[str, float | None] = {"pixel": None, "voxel_2cm": VOXEL_2CM, "voxel_4.84cm": VOXEL_4_84CM}

TERMS = {
    "pixel accuracy": "correct points / annotated points of the 20 classes",
    "voxel accuracy": "one label per occupied voxel (that of its first point in point order, for truth and prediction "
    "alike): correct voxels / voxels annotated with one of the 20 classes. The size is named: 2 cm is that of "
    "PointNet++'s released script, 4.84 cm = 1.5 m / 31 that of Dai et al. (CVPR 2017)",
    "class accuracy": "mean over the classes that occur of correct / occurrences, counts summed over all scenes first; "
    "'class pixel' counts points, 'class voxel' counts voxels",
    "calibrated accuracy": "the same mean, weighted by PointNet++'s fixed class shares of ScanNet",
    "interval": "95 % of the scores that come out when as many scenes are drawn anew, with replacement, from those "
    "evaluated (bootstrap over scenes); what other scenes of the same kind would give, not what other seeds would",
    "IoU": "correct / (occurrences + wrong answers with this class), over points; mIoU is the mean over the classes "
    "that occur",
    "unannotated": "points without one of the 20 classes are counted nowhere; answers outside the 20 are wrong",
}

PROTOCOLS: dict[Protocol, str] = {
    "every_vertex": "Every vertex gets a prediction. The scan is cut into columns that overlap evenly, with a margin "
    "of context; the points of a column are dealt out to chunks; a vertex takes the class with the largest sum of "
    "probabilities over the chunks in which it is inside the column. Voxels are those of the whole scan.",
    "benchmark": "The predictions of every_vertex, scored as ScanNet's benchmark does.",
    "pointnet2": "PointNet++'s released script: columns on a grid from the scan's minimum, with a margin of context; "
    "one draw with replacement per column; columns with almost no drawn point inside are dropped; only drawn points "
    "inside the column are scored, a point drawn twice counts twice. Voxels are those of the drawn points of a column.",
    "pointnet2_literal": "The draws and answers of pointnet2, counted with every quirk of the released script.",
}

NOTES: dict[Protocol, tuple[str, ...]] = {
    "every_vertex": (),
    "benchmark": ("mIoU: a class that does not occur but was predicted counts as 0, as in ScanNet's evaluator",),
    "pointnet2": (
        "differs from the released script: every column is scored, its last incomplete batches too",
        "differs from the released script: voxel keys do not collide, voxel indices are rounded down, not up",
        "differs from the released script: means over classes leave out classes that do not occur",
    ),
    "pointnet2_literal": (
        "as released: for each scan read one batch of columns (evaluate.literal_batch) at most is scored, and what is "
        "left at the end is dropped",
        "as released: voxel indices are rounded up and some voxels share a key, of which the first point counts",
        "as released: a class that does not occur counts as 0 in means over classes (mIoU, which the script has not, "
        "leaves it out)",
        "not as released: where PointNet++'s network has an output for unannotated points, this one has it only with "
        "train.unannotated=class",
    ),
}

ABSENT_RULES: dict[Protocol, AbsentRule] = {
    "every_vertex": "skip",
    "benchmark": "benchmark",
    "pointnet2": "skip",
    "pointnet2_literal": "zero",
}
