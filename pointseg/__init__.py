"""pointseg: semantic segmentation of indoor point clouds with PointNet++ and LatentGNN."""

__version__ = "0.1.0"
