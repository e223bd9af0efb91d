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


BEDROOM = Kind("Bedroom / Hotel", (3.6, 6.4), (3.3, 5.5), homes.bedroom)
LIVING = Kind("Living room / Lounge", (4.2, 8.3), (4.0, 6.7), homes.living_room)
LOBBY = Kind("Lobby", (5.9, 9.5), (4.8, 7.7), works.lobby)
BATHROOM = Kind("Bathroom", (2.1, 3.9), (2.0, 3.4), homes.bathroom)
WASHROOM = Kind("Bathroom", (3.1, 5.3), (3.1, 4.6), works.washroom)
OFFICE = Kind("Office", (3.6, 7.1), (3.3, 5.9), works.office)
KITCHEN = Kind("Kitchen", (3.3, 5.9), (3.1, 5.2), homes.kitchen)
STAFF_KITCHEN = Kind("Kitchen", (4.0, 7.1), (3.6, 5.9), works.lounge_kitchen)
LIBRARY = Kind("Bookstore / Library", (5.0, 9.5), (4.6, 7.7), works.library)
CONFERENCE = Kind("Conference Room", (5.0, 8.9), (4.2, 6.6), works.conference_room)
CLASSROOM = Kind("Classroom", (6.2, 9.5), (5.6, 7.8), works.classroom)
STUDIO = Kind("Apartment", (5.5, 8.3), (4.8, 6.6), homes.apartment)
FLAT = Kind("Apartment", (7.1, 10.2), (5.5, 8.3), homes.apartment, parts=(2, 3, 4))
HALLWAY = Kind("Hallway", (4.8, 10.7), (1.8, 3.1), works.hallway)
STORAGE = Kind("Storage/Basement/Garage", (3.3, 6.6), (3.1, 5.3), homes.storeroom)
LAUNDRY = Kind("Laundry Room", (2.9, 5.3), (2.7, 4.2), homes.laundry)
COPY = Kind("Copy/Mail Room", (3.6, 5.9), (3.1, 5.0), works.copy_room)
DINING = Kind("Dining Room", (4.0, 5.9), (3.8, 5.5), homes.dining_room)
MISC = Kind("Misc.", (4.1, 8.3), (3.8, 6.6), works.anything)

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
