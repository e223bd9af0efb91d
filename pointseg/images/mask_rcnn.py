"""Mask R-CNN of torchvision with context modules in its backbone, as in Tables 1 and 2 of the LatentGNN paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

from torch import nn

from pointseg.errors import InputError
from pointseg.images.context import insert_context

BACKBONES = ("resnet18", "resnet50", "resnet101", "resnext101_32x8d")  # the paper's Table 1, and a small one to try


def mask_rcnn(
    stages: Sequence[int] = (3, 4, 5),
    *,
    backbone: Literal["resnet18", "resnet50", "resnet101", "resnext101_32x8d"] = "resnet50",
    num_classes: int = 91,
    pretrained: Literal["none", "imagenet", "coco"] = "none",
    detector: Mapping[str, Any] | None = None,
    **context: Any,
) -> nn.Module:
    """torchvision's Mask R-CNN with an FPN on a ResNet, and a context module in each of `stages`.

    Different from the paper's: torchvision's ResNets have the stride of a bottleneck in its 3 x 3 convolution and take
    RGB in 0..1.

    Args:
        stages: of 3, 4, 5; () is the plain detector.
        num_classes: classes with the background, which is class 0.
        pretrained: weights that torchvision downloads before the modules are put in: "imagenet" those of the backbone,
            "coco" all (resnet50 only). Then the backbone's BatchNorm is frozen, and so are its stem and first stage.
        detector: further arguments of `torchvision.models.detection.MaskRCNN`, such as min_size.
        **context: further arguments of `insert_context`: kind, position, norm, channel_stride, kernels, ...

    Raises:
        InputError: torchvision is missing or does not load; arguments that do not fit.
    """
    if backbone not in BACKBONES:
        raise InputError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    if pretrained not in ("none", "imagenet", "coco"):
        raise InputError(f"pretrained must be none, imagenet or coco, got {pretrained!r}")
    if pretrained == "coco" and backbone != "resnet50":
        raise InputError(f"pretrained='coco' needs backbone='resnet50', got {backbone!r}")
    detection = load_torchvision().models.detection
    options = dict(detector or {})
    if pretrained == "coco":
        weights = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
        model = detection.maskrcnn_resnet50_fpn(weights=weights, num_classes=num_classes, **options)
    else:
        imagenet = pretrained == "imagenet"
        body = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name=backbone,
            weights="IMAGENET1K_V1" if imagenet else None,
            **({} if imagenet else {"norm_layer": nn.BatchNorm2d}),
            trainable_layers=3 if imagenet else 5,
        )
        model = detection.MaskRCNN(body, num_classes, **options)
    if stages:
        insert_context(model.backbone.body, stages, **context)
    return model


def small_objects() -> dict[str, Any]:
    """Arguments for `detector` where objects are some ten pixels wide and few: small anchors, fewer proposals."""
    load_torchvision()
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(tuple((size,) for size in (8, 16, 32, 64, 128)), ((0.5, 1.0, 2.0),) * 5)
    proposals = {f"rpn_{when}_nms_top_n_{mode}": 100 for when in ("pre", "post") for mode in ("train", "test")}
    return {"rpn_anchor_generator": anchors, "box_batch_size_per_image": 64, **proposals}


def load_torchvision() -> ModuleType:
    """The package, with its operators, or an InputError that says in one line what to do."""
    try:
        import torchvision
        import torchvision.models.detection
    except ModuleNotFoundError as error:
        raise InputError(f"images: {error.name} is missing: pip install 'pointseg[images]'") from None
    except (ImportError, OSError, RuntimeError) as error:  # built for another PyTorch: operators do not exist
        reason = str(error).splitlines()[0]
        raise InputError(
            f"images: torchvision is installed but does not load ({reason}): it must be built for the same PyTorch, "
            "of one version and one of CPU or CUDA"
        ) from None
    return torchvision
