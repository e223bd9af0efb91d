"""Networks for semantic segmentation of point clouds."""

from pointseg.models.build import build_model
from pointseg.models.latent_gnn import LatentGNN
from pointseg.models.non_local import NonLocalBlock
from pointseg.models.pointnet2 import Geometry, PointNet2

__all__ = ["Geometry", "LatentGNN", "NonLocalBlock", "PointNet2", "build_model"]
