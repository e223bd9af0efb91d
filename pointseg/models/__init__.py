"""Networks for semantic segmentation of point clouds."""

from pointseg.models.build import build_model
from pointseg.models.latent_gnn import LatentGNN
from pointseg.models.non_local import NonLocalBlock
from pointseg.models.pointcnn import PointCNN
from pointseg.models.pointnet import PointNet
from pointseg.models.pointnet2 import Geometry, PointNet2
from pointseg.models.voxel_cnn import VoxelCNN

__all__ = ["Geometry", "LatentGNN", "NonLocalBlock", "PointCNN", "PointNet", "PointNet2", "VoxelCNN", "build_model"]
