"""The annotation of a scan as people make it: whole segments get an object's name, not always the right one or any.

P = vertices of the mesh.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pointseg.scannet.synthetic.categories import CATEGORIES
from pointseg.scannet.synthetic.mesh import Mesh, cells_of, smooth_noise

FRINGE = 0.045  # metres; where objects meet, segments follow cubes of this side instead of the objects' borders
REGION = 0.6  # metres; about the largest segment
SMALLEST = 1 / 3000  # share of the vertices; smaller segments join a neighbour: 20 vertices in a scan of 60,000
MISTAKEN = 0.012  # share of segments that get a neighbour's name
SKIPPED = 1 / 250  # share of the vertices; the smaller than this an object is, the more often nobody annotates it
STRUCTURE = ("wall", "floor")


def segment(mesh: Mesh, rng: Generator) -> np.ndarray:
    """An over-segmentation [P]: connected pieces of one main direction and one region; ids are vertex numbers."""
    direction = np.abs(mesh.normal).argmax(1)
    side = np.take_along_axis(mesh.normal, direction[:, None], 1)[:, 0] > 0
    warp = np.column_stack([smooth_noise(mesh.xyz, 0.3, 1.5, rng) for _ in range(3)])
    _, region = cells_of(mesh.xyz + 0.08 * warp, REGION)
    first, cube = cells_of(mesh.xyz, FRINGE, shift=rng.uniform(0, FRINGE))
    key = ((region * len(mesh.xyz) + mesh.thing[first][cube]) * 3 + direction) * 2 + side
    edges = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    joined = edges[key[edges[:, 0]] == key[edges[:, 1]]]
    graph = coo_array((np.ones(len(joined), np.int8), tuple(joined.T)), (len(key), len(key)))
    piece = connected_components(graph, directed=False)[1]

    into = _absorb(piece, edges)
    for _ in range(3):  # a small one may have joined one that itself joins a third
        into = into[into]
    _, first, number = np.unique(into[piece], return_index=True, return_inverse=True)
    return first[number]


def _absorb(piece: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """For each piece the one it joins: itself, or, for a small one, the largest of its larger neighbours."""
    size = np.bincount(piece)
    one, two = piece[np.concatenate([edges, edges[:, ::-1]])].T
    smaller = (size[one] < SMALLEST * len(piece)) & (size[two] > size[one])
    one, two = one[smaller], two[smaller]
    order = np.argsort(size[two], kind="stable")  # the last to name a piece wins
    into = np.arange(len(size))
    into[one[order]] = two[order]
    return into


def annotate(mesh: Mesh, segments: np.ndarray, categories: list[str], rng: Generator) -> list[dict]:
    """The segment groups of the aggregation file.

    A segment belongs to the object that most of its vertices are of, but a few go to the object beside it. Small
    objects are often left out, ceilings mostly, and parts of everything.
    """
    owner = _owners(mesh, segments, rng)
    size = np.bincount(segments, minlength=len(owner))
    groups: list[dict] = []
    for index, category in enumerate(categories):
        own = np.flatnonzero(owner == index)
        vertices = size[own].sum()
        skipped = 0.5 * np.exp(-vertices / (SKIPPED * len(segments)))
        chance = {"ceiling": 0.7, "wall": 0.0, "floor": 0.0}.get(category, skipped)
        if len(own) == 0 or rng.random() < chance:
            continue
        missed = 0.3 if category not in STRUCTURE and rng.random() < 0.15 else 0.05
        own = own[rng.random(len(own)) > missed]
        if len(own):
            number = len(groups)
            groups.append({"id": number, "objectId": number, "label": category, "segments": own.tolist()})
    return groups


def _owners(mesh: Mesh, segments: np.ndarray, rng: Generator) -> np.ndarray:
    """The object that the segment of each number goes to, [largest number + 1]; -1 where a number names no segment."""
    count = int(mesh.thing.max()) + 1
    pairs, votes = np.unique(segments * count + mesh.thing, return_counts=True)
    pairs = pairs[np.argsort(votes, kind="stable")]  # the last to name a segment wins
    owner = np.full(int(segments.max()) + 1, -1)
    owner[pairs // count] = pairs % count
    one, two = segments[mesh.faces[:, :2]].T
    border = one != two
    one, two = one[border], two[border]
    mistaken = rng.random(len(owner)) < MISTAKEN
    swapped = mistaken[one] & ~mistaken[two]
    owner[one[swapped]] = owner[two[swapped]]
    return owner


def labels_of(segments: np.ndarray, groups: list[dict]) -> np.ndarray:
    """NYU40 id of each vertex [P] uint16; 0 where no group names the vertex's segment."""
    of_segment = np.zeros(int(segments.max()) + 1, dtype=np.uint16)
    for group in groups:
        of_segment[group["segments"]] = CATEGORIES[group["label"]][0]
    return of_segment[segments]
