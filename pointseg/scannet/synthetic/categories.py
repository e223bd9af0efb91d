"""Raw categories of the synthetic rooms and their NYU40 ids, as ScanNet's label table has them."""

from __future__ import annotations

# raw category -> (NYU40 id, NYU40 name); the table's own spellings, "refridgerator" included.
CATEGORIES: dict[str, tuple[int, str]] = {
    "wall": (1, "wall"),
    "floor": (2, "floor"),
    "cabinet": (3, "cabinet"),
    "kitchen cabinet": (3, "cabinet"),
    "wardrobe": (3, "cabinet"),
    "file cabinet": (3, "cabinet"),
    "bathroom vanity": (3, "cabinet"),
    "bed": (4, "bed"),
    "chair": (5, "chair"),
    "office chair": (5, "chair"),
    "armchair": (5, "chair"),
    "couch": (6, "sofa"),
    "table": (7, "table"),
    "coffee table": (7, "table"),
    "door": (8, "door"),
    "doorframe": (8, "door"),
    "window": (9, "window"),
    "bookshelf": (10, "bookshelf"),
    "picture": (11, "picture"),
    "poster": (11, "picture"),
    "counter": (12, "counter"),
    "kitchen counter": (12, "counter"),
    "blinds": (13, "blinds"),
    "desk": (14, "desk"),
    "curtain": (16, "curtain"),
    "dresser": (17, "dresser"),
    "pillow": (18, "pillow"),
    "mirror": (19, "mirror"),
    "ceiling": (22, "ceiling"),
    "books": (23, "books"),
    "refrigerator": (24, "refridgerator"),
    "tv": (25, "television"),
    "towel": (27, "towel"),
    "shower curtain": (28, "shower curtain"),
    "box": (29, "box"),
    "whiteboard": (30, "whiteboard"),
    "nightstand": (32, "night stand"),
    "toilet": (33, "toilet"),
    "sink": (34, "sink"),
    "lamp": (35, "lamp"),
    "bathtub": (36, "bathtub"),
    "bag": (37, "bag"),
    "trash can": (39, "otherfurniture"),
    "recycling bin": (39, "otherfurniture"),
    "radiator": (39, "otherfurniture"),
    "ottoman": (39, "otherfurniture"),
    "tv stand": (39, "otherfurniture"),
    "washing machine": (39, "otherfurniture"),
    "rack": (39, "otherfurniture"),
    "monitor": (40, "otherprop"),
    "microwave": (40, "otherprop"),
    "bottle": (40, "otherprop"),
    "plant": (40, "otherprop"),
}

# Header of scannetv2-labels.combined.tsv. Rows here fill the columns that ScanNet's own scripts read.
HEADER = (
    "id",
    "raw_category",
    "category",
    "count",
    "nyu40id",
    "eigen13id",
    "nyuClass",
    "nyu40class",
    "eigen13class",
    "ModelNet40",
    "ModelNet10",
    "ShapeNetCore55",
    "synsetoffset",
    "wnsynsetid",
    "wnsynsetkey",
    "mpcat40",
    "mpcat40index",
)


def label_table() -> str:
    """The text of `scannetv2-labels.combined.tsv` for these categories."""
    rows = ["\t".join(HEADER)]
    for number, (raw, (nyu40_id, nyu40_name)) in enumerate(CATEGORIES.items(), start=1):
        known = {
            "id": str(number),
            "raw_category": raw,
            "category": raw,
            "count": "1",
            "nyu40id": str(nyu40_id),
            "nyuClass": raw,
            "nyu40class": nyu40_name,
        }
        rows.append("\t".join(known.get(column, "") for column in HEADER))
    return "\n".join(rows) + "\n"
