"""`pointseg.images.insert_context`: an exact no-op on any ResNet, until it is trained."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pointseg.errors import InputError
from pointseg.images import insert_context, mask_rcnn
from pointseg.images.mask_rcnn import load_torchvision
from pointseg.models import LatentGNN, NonLocalBlock

try:
    load_torchvision()
    NO_TORCHVISION = ""
except InputError as error:
    NO_TORCHVISION = str(error)
needs_torchvision = pytest.mark.skipif(bool(NO_TORCHVISION), reason=NO_TORCHVISION)
EVERY_WAY = list(
    itertools.product([(3,), (4,), (5,), (3, 4, 5)], ["latent_gnn", "non_local"], ["after", "before_last"])
)


class Block(nn.Module):
    """A residual block as in He et al."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


class SmallResNet(nn.Module):
    """Two blocks a stage, and the outputs of all stages, as a detector's body."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.layer3 = nn.Sequential(Block(16, 24, 2), Block(24, 24, 1))
        self.layer4 = nn.Sequential(Block(24, 32, 2), Block(32, 32, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [self.conv1(x)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            outputs.append(stage(outputs[-1]))
        return outputs


def check_surgery(backbone: nn.Module, run: Callable[[], list[Tensor]], stages, kind, position, norm: str) -> None:
    """Outputs equal to the bit, weights and names kept, modules in their places, gradients."""
    before = [output.clone() for output in run()]
    weights = {name: tensor.clone() for name, tensor in backbone.named_parameters()}
    names = set(backbone.state_dict())
    blocks = {stage: list(getattr(backbone, f"layer{stage - 1}")) for stage in stages}
    inserted = insert_context(backbone, stages, kind, position, channel_stride=2, norm=norm)
    assert list(inserted) == list(stages)
    assert all(torch.equal(one, other) for one, other in zip(before, run(), strict=True))
    now = dict(backbone.named_parameters())
    assert all(torch.equal(tensor, now[name]) for name, tensor in weights.items())
    assert names < set(backbone.state_dict())
    assert {name.split(".")[1] for name in set(backbone.state_dict()) - names} == {"context"}
    for stage, module in inserted.items():
        assert isinstance(module, LatentGNN if kind == "latent_gnn" else NonLocalBlock)
        expected = [*blocks[stage], module] if position == "after" else [*blocks[stage][:-1], module, blocks[stage][-1]]
        assert list(getattr(backbone, f"layer{stage - 1}")) == expected
        module.scale.data.fill_(0.5)
    changed = run()
    assert not torch.equal(before[-1], changed[-1])
    sum((output * torch.randn_like(output)).sum() for output in changed).backward()
    for module in inserted.values():
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("stages", "kind", "position"), EVERY_WAY)
def test_surgery_on_a_small_resnet_is_a_no_op_to_the_bit(stages, kind, position, training, norm):
    torch.manual_seed(0)
    backbone = SmallResNet().train(training)
    x = torch.randn(2, 3, 64, 48)
    check_surgery(backbone, lambda: backbone(x), stages, kind, position, norm)
    assert all(module.training == training for module in backbone.modules())


@needs_torchvision
@pytest.mark.parametrize(("stages", "kind", "position"), EVERY_WAY)
def test_surgery_on_torchvisions_resnet_is_a_no_op_to_the_bit(stages, kind, position):
    backbone = load_torchvision().models.resnet18().eval()
    x = torch.randn(1, 3, 64, 64)
    check_surgery(backbone, lambda: [backbone(x)], stages, kind, position, "frozen")


def test_statistics_do_not_move_and_the_dtype_is_the_backbones():
    backbone = SmallResNet().double()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    inserted = insert_context(backbone, (5,), channel_stride=4, kernels=2, norm="batch")
    now = dict(backbone.named_buffers())
    assert all(torch.equal(buffer, now[name]) for name, buffer in before.items())
    module = inserted[5]
    assert all(p.dtype == torch.float64 for p in module.parameters())
    assert (module.in_channels, module.reduced, module.dims) == (32, 8, (50, 50))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"stages": (2,)}, r"among 3, 4, 5 \(layer2, layer3, layer4\), got 2"),
        ({"kind": "gnn"}, "kind must be 'latent_gnn' or 'non_local', got 'gnn'"),
        ({"position": "before"}, "position must be 'after' or 'before_last'"),
        ({"channel_stride": 20}, "stage 3: in_channels must be at least channel_stride=20"),
        ({"norm": "group"}, "stage 3: norm must be"),
        ({"latent_dims": {3: 5}}, "latent_dims must have an entry for stage 4"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(arguments, part):
    backbone = SmallResNet()
    names = list(backbone.state_dict())
    with pytest.raises(InputError, match=part):
        insert_context(backbone, **arguments)
    assert list(backbone.state_dict()) == names


def test_an_unfit_backbone_is_named():
    backbone = SmallResNet()
    insert_context(backbone, (4,))
    with pytest.raises(InputError, match=r"backbone\.layer3 must have no context module yet, it has LatentGNN"):
        insert_context(backbone, (3, 4))
    del backbone.layer4
    with pytest.raises(InputError, match=r"backbone\.layer4 must be an nn\.Sequential of blocks, got none"):
        insert_context(backbone, (5,))
    backbone.layer4 = nn.Sequential(Block(24, 32, 2))
    with pytest.raises(InputError, match=r"layer4 must be .*, got Sequential of length 1"):
        insert_context(backbone, (5,), position="before_last")


def test_torchvision_missing_or_not_loading_is_one_line(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"torchvision is missing: pip install 'pointseg\[images\]'"):
        mask_rcnn()
    monkeypatch.delitem(sys.modules, "torchvision")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator x does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"does not load \(operator x does not exist\): it must be built for the same"):
        mask_rcnn()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"backbone": "resnet19"}, "backbone must be one of resnet18, resnet50, resnet101"),
        ({"pretrained": "yes"}, "pretrained must be none, imagenet or coco"),
        ({"pretrained": "coco", "backbone": "resnet101"}, "pretrained='coco' needs backbone='resnet50'"),
    ],
)
def test_wrong_arguments_of_mask_rcnn_are_named(arguments, part):
    with pytest.raises(InputError, match=part):
        mask_rcnn(**arguments)
