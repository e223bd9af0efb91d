"""What kinds of rooms there are, how often, how large, and which recipe furnishes each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from pointseg.scannet.synthetic import homes, works
from pointseg.scannet.synthetic.layout import Room
from pointseg.scannet.synthetic.openings import add_door
from pointseg.scannet.synthetic.shell import add_shell, empty_flat, empty_room

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    scene_type: str  # ScanNet's `sceneType`
    width: Range  # metres
    depth: Range
    recipe: Callable[[Room], None]
    parts: tuple[int, ...] = (1,)  # rooms it may have; more than one is a flat with walls inside


BEDROOM = Kind("Bedroom / Hotel", (3.0, 5.4), (2.8, 4.6), homes.bedroom)
LIVING = Kind("Living room / Lounge", (3.6, 7.0), (3.4, 5.6), homes.living_room)
LOBBY = Kind("Lobby", (5.0, 8.0), (4.0, 6.5), works.lobby)
BATHROOM = Kind("Bathroom", (1.8, 3.3), (1.7, 2.9), homes.bathroom)
WASHROOM = Kind("Bathroom", (2.6, 4.5), (2.6, 3.8), works.washroom)
OFFICE = Kind("Office", (3.0, 6.0), (2.8, 5.0), works.office)
KITCHEN = Kind("Kitchen", (2.8, 5.0), (2.6, 4.4), homes.kitchen)
STAFF_KITCHEN = Kind("Kitchen", (3.4, 6.0), (3.0, 5.0), works.lounge_kitchen)
LIBRARY = Kind("Bookstore / Library", (4.2, 8.0), (3.8, 6.5), works.library)
CONFERENCE = Kind("Conference Room", (4.2, 7.5), (3.6, 5.5), works.conference_room)
CLASSROOM = Kind("Classroom", (5.5, 8.5), (5.0, 7.0), works.classroom)
STUDIO = Kind("Apartment", (4.6, 7.0), (4.0, 5.5), homes.apartment)
FLAT = Kind("Apartment", (6.0, 8.6), (4.6, 7.0), homes.apartment, parts=(2, 3, 4))
HALLWAY = Kind("Hallway", (4.0, 9.0), (1.5, 2.6), works.hallway)
STORAGE = Kind("Storage/Basement/Garage", (2.8, 5.5), (2.6, 4.5), homes.storeroom)
LAUNDRY = Kind("Laundry Room", (2.4, 4.5), (2.2, 3.6), homes.laundry)
COPY = Kind("Copy/Mail Room", (3.0, 5.0), (2.6, 4.2), works.copy_room)
DINING = Kind("Dining Room", (3.4, 5.0), (3.2, 4.6), homes.dining_room)
MISC = Kind("Misc.", (3.5, 7.0), (3.2, 5.5), works.anything)

# Rooms of a set go round this list: each kind about as often as in ScanNet, the commonest ones early.
KINDS: tuple[Kind, ...] = (
    BEDROOM, BATHROOM, OFFICE, KITCHEN, LIVING, LIBRARY, FLAT, CONFERENCE,
    BEDROOM, BATHROOM, CLASSROOM, STUDIO, LIVING, HALLWAY, OFFICE, STORAGE,
    BEDROOM, LIVING, MISC, BATHROOM, OFFICE, LAUNDRY, LIBRARY, STAFF_KITCHEN,
    BEDROOM, LIVING, COPY, WASHROOM, OFFICE, CONFERENCE, DINING, BEDROOM,
    LIVING, LOBBY, FLAT, KITCHEN, BATHROOM, OFFICE, MISC, BEDROOM,
)  # fmt: skip


def furnish(rng: Generator, number: int, step: float) -> tuple[str, Room]:
    """Room `number` of a data set: its scene type, which goes round `KINDS`, and the finished room.

    `step` is the largest distance between neighbouring vertices of a surface, metres.
    """
    kind = KINDS[number % len(KINDS)]
    width, depth, parts = rng.uniform(*kind.width), rng.uniform(*kind.depth), int(rng.choice(kind.parts))
    room = empty_flat(rng, step, width, depth, parts) if parts > 1 else empty_room(rng, step, width, depth)
    if kind.recipe is not homes.apartment:  # a flat says where its front door is
        add_door(room)
    kind.recipe(room)
    add_shell(room)
    return kind.scene_type, room
