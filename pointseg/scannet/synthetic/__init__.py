"""Synthetic rooms in ScanNet's own layout on disk: furnished, scanned, annotated, deterministic by seed.

`rooms` draws a kind of room, `shell` and `openings` build it on one of the `outlines`, the recipes in `homes` and
`works` furnish it with `arrangements` of `furniture`, made of `shapes` and packed by `layout`. `scanning` turns it into
the `mesh` a hand-held scanner would give (`camera` says what that sees), `annotator` names its segments, `writing`
writes the files.
"""

from __future__ import annotations

from pointseg.scannet.synthetic.sets import DEFAULT_DENSITY, SETS, RoomSet, room_set
from pointseg.scannet.synthetic.writing import write_dataset, write_set

__all__ = ["DEFAULT_DENSITY", "SETS", "RoomSet", "room_set", "write_dataset", "write_set"]
