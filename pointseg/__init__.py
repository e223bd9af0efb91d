"""pointseg: semantic segmentation of indoor point clouds with PointNet++ and LatentGNN.

import pointseg

segmenter = pointseg.load_pretrained()  # or pointseg.load_run("runs/NAME")
labels = segmenter.predict(xyz)  # xyz [P, 3] metres, +z up; labels.train_id [P], labels.probability [P]
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_pretrained", "load_run"]


def __getattr__(name: str) -> Any:
    """The functions come with torch, which takes seconds to import: only when they are asked for."""
    if name in ("load_pretrained", "load_run"):
        from pointseg.prediction import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module 'pointseg' has no attribute {name!r}")
