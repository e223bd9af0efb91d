"""The facts of ScanNet: classes, ids, colours, the unannotated label, splits. No other file repeats them.

Class order, NYU40 ids and colours are the ScanNet benchmark's. A *space* is a room, the SSSS of a scan's name
`sceneSSSS_NN`; NN counts the scans of that room. Splits are defined by space, so no room is in two of them.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from pointseg.errors import InputError

NUM_CLASSES = 20
IGNORE = 255  # the label of every vertex that is unannotated or of a category outside the benchmark; never scored
IGNORE_COLOR = (0, 0, 0)

# Train id = row: name, NYU40 id, colour.
_CLASSES: tuple[tuple[str, int, tuple[int, int, int]], ...] = (
    ("wall", 1, (174, 199, 232)),
    ("floor", 2, (152, 223, 138)),
    ("cabinet", 3, (31, 119, 180)),
    ("bed", 4, (255, 187, 120)),
    ("chair", 5, (188, 189, 34)),
    ("sofa", 6, (140, 86, 75)),
    ("table", 7, (255, 152, 150)),
    ("door", 8, (214, 39, 40)),
    ("window", 9, (197, 176, 213)),
    ("bookshelf", 10, (148, 103, 189)),
    ("picture", 11, (196, 156, 148)),
    ("counter", 12, (23, 190, 207)),
    ("desk", 14, (247, 182, 210)),
    ("curtain", 16, (219, 219, 141)),
    ("refrigerator", 24, (255, 127, 14)),
    ("shower curtain", 28, (158, 218, 229)),
    ("toilet", 33, (44, 160, 44)),
    ("sink", 34, (112, 128, 144)),
    ("bathtub", 36, (227, 119, 194)),
    ("otherfurniture", 39, (82, 84, 163)),
)

CLASS_NAMES: tuple[str, ...] = tuple(name for name, _, _ in _CLASSES)
NYU40_IDS: tuple[int, ...] = tuple(nyu40 for _, nyu40, _ in _CLASSES)
CLASS_COLORS: np.ndarray = np.array([color for _, _, color in _CLASSES], dtype=np.uint8)  # [20, 3]

# "Calibrated" accuracy weights class recalls by these shares (Qi et al. 2017, PointNet++, ScanNet evaluation). They are
# published in another class order, hence by name here.
_CALIBRATED = {
    "wall": 0.388,
    "floor": 0.357,
    "chair": 0.038,
    "table": 0.033,
    "desk": 0.017,
    "bed": 0.02,
    "bookshelf": 0.016,
    "sofa": 0.025,
    "sink": 0.002,
    "bathtub": 0.002,
    "toilet": 0.002,
    "curtain": 0.007,
    "counter": 0.006,
    "door": 0.022,
    "window": 0.004,
    "shower curtain": 0.0004,
    "refrigerator": 0.003,
    "picture": 0.002,
    "cabinet": 0.024,
    "otherfurniture": 0.029,
}
CALIBRATED_WEIGHTS: np.ndarray = np.array([_CALIBRATED[name] for name in CLASS_NAMES])  # [20] float64, benchmark order

# The classes 1..20 of PointNet++'s prepared ScanNet files, whose 0 is "unannotated".
POINTNET2_CLASS_NAMES: tuple[str, ...] = tuple(_CALIBRATED)

_TRAIN_ID_OF_NYU40 = np.full(256, IGNORE, dtype=np.uint8)
_TRAIN_ID_OF_NYU40[list(NYU40_IDS)] = np.arange(NUM_CLASSES)
_NYU40_OF_TRAIN_ID = np.zeros(256, dtype=np.uint8)
_NYU40_OF_TRAIN_ID[:NUM_CLASSES] = NYU40_IDS
_COLOR_OF_TRAIN_ID = np.empty((256, 3), dtype=np.uint8)
_COLOR_OF_TRAIN_ID[:] = IGNORE_COLOR
_COLOR_OF_TRAIN_ID[:NUM_CLASSES] = CLASS_COLORS

CLASS_COLORS.setflags(write=False)
CALIBRATED_WEIGHTS.setflags(write=False)


def nyu40_to_train(ids: np.ndarray) -> np.ndarray:
    """NYU40 ids (any integer type, any values, any shape) to train ids uint8 of the same shape.

    Every id outside the benchmark's list becomes IGNORE, also those that real files hold but NYU40 does not know
    (50, 149) and negative ones.
    """
    ids = _integers("ids", ids)
    known = (ids >= 0) & (ids < 256)
    return _TRAIN_ID_OF_NYU40[np.where(known, ids, 0)]


def train_to_nyu40(labels: np.ndarray) -> np.ndarray:
    """Train ids (0..19 or IGNORE) to NYU40 ids uint8; IGNORE becomes 0, NYU40's "unannotated"."""
    return _NYU40_OF_TRAIN_ID[_train_ids(labels)]


def colorize(labels: np.ndarray) -> np.ndarray:
    """Train ids [P] (0..19 or IGNORE) to the benchmark's colours [P, 3] uint8; IGNORE becomes IGNORE_COLOR."""
    return _COLOR_OF_TRAIN_ID[_train_ids(labels)]


def _train_ids(labels: np.ndarray) -> np.ndarray:
    labels = _integers("labels", labels)
    wrong = labels[((labels < 0) | (labels >= NUM_CLASSES)) & (labels != IGNORE)]
    if wrong.size:
        raise ValueError(f"labels must be 0..{NUM_CLASSES - 1} or {IGNORE}, got {int(wrong.flat[0])}")
    return labels


def _integers(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {values.dtype}")
    return values


# --- Splits ----------------------------------------------------------------------------------------------------------

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SplitVersion = Literal["v2", "v1"]

# One digit a space: how many scans spaces 0..706 have. 1513 in all; 1201 of them train, 312 val.
_SCANS_PER_SPACE = (
    "3223123113223311331221213313133321322132223232312134311322232231231321113431123233123233431153123122"
    "3622133112333233313123232132111331313311232321321132321312315312433132322321131114311122111332131311"
    "3313333313243132112132231121131332112223133121123131112331123422332133322231232331311141321322322312"
    "2323122312313311121141122211131231332331321122233232331232321341231223321213333133231313211133233222"
    "2112313222232113513333133241212121341212311122233316321123221112122133233263322322212112231122111131"
    "2331151133321123231121132321231122213113331313133211232123331211111232323233313323333234432322113333"
    "3212323234322332211121221232337312121111314113322213122341121133323312222622233221112331112253243421"
    "3332231"
)
NUM_SCANS_PER_SPACE: tuple[int, ...] = tuple(int(digit) for digit in _SCANS_PER_SPACE)
_TEST_SPACES = range(707, 807)  # one scan each, labels not public

# fmt: off
# ScanNet v2's validation spaces. The same scans are v1's test split, on which papers before the benchmark report.
V2_VAL_SPACES: tuple[int, ...] = (
    11, 15, 19, 25, 30, 46, 50, 63, 64, 77, 81, 84, 86, 88, 95, 100, 131, 139, 144, 146, 149, 153, 164, 169, 187,
    193, 196, 203, 207, 208, 217, 221, 222, 231, 246, 249, 251, 256, 257, 277, 278, 300, 304, 307, 314, 316, 328,
    329, 334, 338, 342, 343, 351, 353, 354, 355, 356, 357, 377, 378, 382, 389, 406, 412, 414, 423, 426, 427, 430,
    432, 435, 441, 458, 461, 462, 474, 488, 490, 494, 496, 500, 518, 527, 535, 549, 550, 552, 553, 558, 559, 565,
    568, 574, 575, 578, 580, 583, 591, 593, 595, 598, 599, 606, 607, 608, 609, 616, 618, 621, 629, 633, 643, 644,
    645, 647, 648, 651, 652, 653, 655, 658, 660, 663, 664, 665, 670, 671, 678, 684, 685, 686, 689, 690, 693, 695,
    696, 697, 699, 700, 701, 702, 704,
)

# v1's own validation spaces, all of them inside v2's train split: the cut for choosing hyperparameters without looking
# at the scans that are reported on.
V1_VAL_SPACES: tuple[int, ...] = (
    3, 33, 34, 54, 56, 57, 59, 68, 73, 74, 91, 102, 112, 133, 145, 148, 160, 170, 180, 198, 204, 225, 237, 240, 248,
    264, 273, 298, 319, 331, 340, 350, 365, 379, 391, 409, 416, 433, 450, 471, 473, 478, 483, 495, 505, 506, 508,
    513, 514, 516, 520, 524, 529, 534, 537, 539, 540, 548, 556, 561, 566, 567, 605, 617, 630, 635, 639, 642, 675,
    692, 706,
)
# fmt: on

_SPACES: dict[Split, tuple[int, ...]] = {
    "train": tuple(sorted(set(range(len(NUM_SCANS_PER_SPACE))) - set(V2_VAL_SPACES))),
    "val": V2_VAL_SPACES,
    "test": tuple(_TEST_SPACES),
}
_SPLIT_OF_SPACE: dict[int, Split] = {space: split for split, spaces in _SPACES.items() for space in spaces}
_SCAN_ID = re.compile(r"scene(\d{4})_(\d{2})")


def is_scan_id(name: str) -> bool:
    """Is `name` of the form sceneSSSS_NN?"""
    return _SCAN_ID.fullmatch(name) is not None


def space_of(scan_id: str) -> int:
    """The space (room) of a scan: `space_of("scene0011_01") == 11`."""
    match = _SCAN_ID.fullmatch(scan_id)
    if match is None:
        raise InputError(f"scan id: expected sceneSSSS_NN (as scene0011_00), got {scan_id!r}")
    return int(match[1])


def split_of(scan_id: str, version: SplitVersion = "v2") -> Split | None:
    """The split of a scan; None if `version` has it in none.

    v1 cuts v2's train scans into its own train and val, and tests on v2's val scans; the scans of v2's test it lacks.
    """
    space = space_of(scan_id)
    if space not in _SPLIT_OF_SPACE:
        raise InputError(f"scan id: ScanNet has spaces 0..{_TEST_SPACES[-1]}, got {scan_id!r}")
    split = _SPLIT_OF_SPACE[space]
    if version == "v2":
        return split
    return {"train": "val" if space in V1_VAL_SPACES else "train", "val": "test", "test": None}[split]


def labels_are_public(scan_id: str) -> bool:
    """False for ScanNet's test scans, which come as meshes alone."""
    return space_of(scan_id) not in _TEST_SPACES


def spaces_of(split: Split) -> tuple[int, ...]:
    """All spaces of a split, ascending: 565 for train, 142 for val, 100 for test."""
    if split not in _SPACES:
        raise InputError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    return _SPACES[split]


def scans_of(split: Split) -> tuple[str, ...]:
    """All scan ids of a split, ascending: 1201 for train, 312 for val, 100 for test."""
    scans = dict.fromkeys(_TEST_SPACES, 1) | dict(enumerate(NUM_SCANS_PER_SPACE))
    return tuple(f"scene{space:04d}_{scan:02d}" for space in spaces_of(split) for scan in range(scans[space]))
