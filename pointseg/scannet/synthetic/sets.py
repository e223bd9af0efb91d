"""Named sets of rooms: which scans, by ScanNet's own ids and splits, and how dense."""

from __future__ import annotations

from dataclasses import dataclass, field

from pointseg.errors import InputError
from pointseg.scannet.labels import Split, scans_of, spaces_of

# Vertices a square metre of surface before decimation, which leaves ScanNet's 800 on floors; 60,000 and more a room.
DEFAULT_DENSITY = 870.0


@dataclass(frozen=True, kw_only=True)
class RoomSet:
    """Scan ids of each split. Scans of one space are scans of one room, on other paths of the camera."""

    scans: dict[Split, tuple[str, ...]] = field(default_factory=dict)
    density: float = DEFAULT_DENSITY

    @property
    def count(self) -> int:
        return sum(map(len, self.scans.values()))


def first_scans(split: Split, count: int) -> tuple[str, ...]:
    """Scan 00 of the split's first `count` spaces."""
    spaces = spaces_of(split)
    if not 0 <= count <= len(spaces):
        raise InputError(f"{split} scenes must be 0 to {len(spaces)}, as many as ScanNet has spaces, got {count}")
    return tuple(f"scene{space:04d}_00" for space in spaces[:count])


SETS: dict[str, RoomSet] = {
    # For tests: a scan is there in a tenth of a second.
    "rooms-mini": RoomSet(scans={"train": first_scans("train", 9), "val": first_scans("val", 3)}, density=120.0),
    "rooms-100": RoomSet(scans={"train": first_scans("train", 79), "val": first_scans("val", 21)}),
    # ScanNet v2's 1201 and 312 scans.
    "rooms-1513": RoomSet(scans={"train": scans_of("train"), "val": scans_of("val")}),
}


def room_set(name: str) -> RoomSet:
    if name not in SETS:
        raise InputError(f"set must be one of {', '.join(SETS)}, got {name!r}")
    return SETS[name]
