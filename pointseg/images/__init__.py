"""Context modules on images: in any ResNet, and in torchvision's Mask R-CNN (the extra `[images]`)."""

from pointseg.images.context import insert_context
from pointseg.images.mask_rcnn import mask_rcnn

__all__ = ["insert_context", "mask_rcnn"]
