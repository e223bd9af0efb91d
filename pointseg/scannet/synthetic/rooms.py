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


BEDROOM = Kind("Bedroom / Hotel", (3.4, 6.0), (3.1, 5.2), homes.bedroom)
LIVING = Kind("Living room / Lounge", (4.0, 7.8), (3.8, 6.3), homes.living_room)
LOBBY = Kind("Lobby", (5.6, 9.0), (4.5, 7.3), works.lobby)
BATHROOM = Kind("Bathroom", (2.0, 3.7), (1.9, 3.2), homes.bathroom)
WASHROOM = Kind("Bathroom", (2.9, 5.0), (2.9, 4.3), works.washroom)
OFFICE = Kind("Office", (3.4, 6.7), (3.1, 5.6), works.office)
KITCHEN = Kind("Kitchen", (3.1, 5.6), (2.9, 4.9), homes.kitchen)
STAFF_KITCHEN = Kind("Kitchen", (3.8, 6.7), (3.4, 5.6), works.lounge_kitchen)
LIBRARY = Kind("Bookstore / Library", (4.7, 9.0), (4.3, 7.3), works.library)
CONFERENCE = Kind("Conference Room", (4.7, 8.4), (4.0, 6.2), works.conference_room)
CLASSROOM = Kind("Classroom", (6.2, 9.5), (5.6, 7.8), works.classroom)
STUDIO = Kind("Apartment", (5.2, 7.8), (4.5, 6.2), homes.apartment)
FLAT = Kind("Apartment", (6.7, 9.6), (5.2, 7.8), homes.apartment, parts=(2, 3, 4))
HALLWAY = Kind("Hallway", (4.5, 10.1), (1.7, 2.9), works.hallway)
STORAGE = Kind("Storage/Basement/Garage", (3.1, 6.2), (2.9, 5.0), homes.storeroom)
LAUNDRY = Kind("Laundry Room", (2.7, 5.0), (2.5, 4.0), homes.laundry)
COPY = Kind("Copy/Mail Room", (3.4, 5.6), (2.9, 4.7), works.copy_room)
DINING = Kind("Dining Room", (3.8, 5.6), (3.6, 5.2), homes.dining_room)
MISC = Kind("Misc.", (3.9, 7.8), (3.6, 6.2), works.anything)

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
