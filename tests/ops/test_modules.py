"""pointnet2_utils and pointnet2_modules: the grouping modules and layers of the original package."""

from __future__ import annotations

import pytest
import torch
from clouds import features, has_channels_last_memory, room
from pointnet2_ops import pointnet2_modules, pointnet2_utils, reference
from pointnet2_ops.pointnet2_modules import PointnetFPModule, PointnetSAModule, PointnetSAModuleMSG
from torch import Tensor

FORMATS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


@FORMATS
def test_query_and_group(channels_last: bool):
    xyz, x = room(2, 200), features(2, 5, 200, channels_last)
    new_xyz = xyz[:, :20]
    idx = reference.ball_query(0.4, 8, xyz, new_xyz)
    offsets = reference.grouping_operation(xyz.transpose(1, 2), idx) - new_xyz.transpose(1, 2)[..., None]
    grouped = reference.grouping_operation(x, idx)
    result = pointnet2_utils.QueryAndGroup(0.4, 8)(xyz, new_xyz, x)
    assert torch.equal(result, torch.cat([offsets, grouped], 1))
    assert has_channels_last_memory(result) is channels_last
    assert torch.equal(pointnet2_utils.QueryAndGroup(0.4, 8, use_xyz=False)(xyz, new_xyz, x), grouped)
    assert torch.equal(pointnet2_utils.QueryAndGroup(0.4, 8)(xyz, new_xyz), offsets)
    with pytest.raises(ValueError, match="needs features or use_xyz=True"):
        pointnet2_utils.QueryAndGroup(0.4, 8, use_xyz=False)(xyz, new_xyz)


def test_query_and_group_passes_gradients_to_coordinates():
    xyz = room(1, 100).requires_grad_()
    new_xyz = room(1, 4, seed=1).requires_grad_()
    pointnet2_utils.QueryAndGroup(0.5, 8)(xyz, new_xyz).sum().backward()
    assert new_xyz.grad.tolist() == [[[-8.0] * 3] * 4]
    assert xyz.grad.sum(1).tolist() == [[32.0] * 3]


def test_group_all():
    xyz, x = room(2, 50), features(2, 5, 50)
    expected = torch.cat([xyz.transpose(1, 2), x], 1)[:, :, None]
    assert torch.equal(pointnet2_utils.GroupAll()(xyz, None, x), expected)
    assert torch.equal(pointnet2_utils.GroupAll(use_xyz=False)(xyz, None, x), expected[:, 3:])
    assert torch.equal(pointnet2_utils.GroupAll()(xyz, None), expected[:, :3])


def parameter_shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in module.state_dict().items() if x.dim() > 1}


def test_parameter_names_of_the_original_package():
    mlps = [[5, 8, 16], [5, 4, 12]]
    module = PointnetSAModuleMSG(npoint=16, radii=[0.2, 0.4], nsamples=[8, 16], mlps=mlps)
    assert mlps == [[5, 8, 16], [5, 4, 12]]
    assert parameter_shapes(module) == {
        "mlps.0.0.weight": (8, 8, 1, 1),
        "mlps.0.3.weight": (16, 8, 1, 1),
        "mlps.1.0.weight": (4, 8, 1, 1),
        "mlps.1.3.weight": (12, 4, 1, 1),
    }
    assert "mlps.0.1.running_mean" in module.state_dict()
    assert "mlp.0.bias" in PointnetFPModule(mlp=[7, 8], bn=False).state_dict()


def test_set_abstraction():
    xyz, x = room(2, 300), features(2, 5, 300)
    module = PointnetSAModule(npoint=32, radius=0.4, nsample=16, mlp=[5, 8, 16], use_xyz=True).eval()
    new_xyz, output = module(xyz, x)
    chosen = reference.furthest_point_sample(xyz, 32)
    assert torch.equal(new_xyz, reference.gather_operation(xyz.transpose(1, 2), chosen).transpose(1, 2))
    grouped = module.mlps[0](module.groupers[0](xyz, new_xyz, x))
    torch.testing.assert_close(output, grouped.amax(3))
    two_scales = PointnetSAModuleMSG(npoint=32, radii=[0.2, 0.4], nsamples=[8, 16], mlps=[[5, 16], [5, 12]])
    assert two_scales(xyz, x)[1].shape == (2, 28, 32)
    all_points, output = PointnetSAModule(mlp=[5, 8, 16], use_xyz=False)(xyz, x)
    assert all_points is None
    assert output.shape == (2, 16, 1)
    assert PointnetSAModule(npoint=8, radius=0.3, nsample=4, mlp=[0, 6], bn=False)(xyz, None)[1].shape == (2, 6, 8)
    with pytest.raises(ValueError, match="must be of one length, got 1, 2 and 1"):
        PointnetSAModuleMSG(npoint=4, radii=[0.1], nsamples=[4, 8], mlps=[[3, 4]])


@FORMATS
def test_memory_formats_give_the_same_layers(channels_last: bool):
    torch.manual_seed(0)
    xyz, x = room(2, 300), features(2, 5, 300, channels_last)
    down = PointnetSAModule(npoint=32, radius=0.4, nsample=16, mlp=[5, 16])
    up = PointnetFPModule(mlp=[21, 8])
    new_xyz, middle = down(xyz, x)
    output = up(xyz, new_xyz, x, middle)
    expected = up(xyz, new_xyz, x.contiguous(), down(xyz, x.contiguous())[1].contiguous())
    torch.testing.assert_close(output, expected)


def interpolated(unknown: Tensor, known: Tensor, x: Tensor) -> Tensor:
    distance, idx = reference.three_nn(unknown, known)
    weight = 1 / (distance + 1e-8)
    return reference.three_interpolate(x, idx, weight / weight.sum(2, keepdim=True))


def test_feature_propagation():
    unknown, known = room(2, 100), room(2, 20, seed=1)
    own, x = features(2, 4, 100), features(2, 6, 20)
    module = PointnetFPModule(mlp=[10, 8, 12])
    expected = torch.cat([interpolated(unknown, known, x), own], 1)
    torch.testing.assert_close(module(unknown, known, own, x), module.mlp(expected[..., None])[..., 0])
    alone = PointnetFPModule(mlp=[6, 8])
    assert alone(unknown, known, None, x).shape == (2, 8, 100)
    # A single known column goes to every point, with and without its coordinates.
    one = features(2, 6, 1)
    torch.testing.assert_close(module(unknown, None, own, one), module(unknown, known[:, :1], own, one))


def test_modules_are_where_the_original_package_has_them():
    assert pointnet2_modules.build_shared_mlp([3, 4]).state_dict()["0.weight"].shape == (4, 3, 1, 1)
    for name in ("furthest_point_sample", "gather_operation", "three_nn", "three_interpolate", "ball_query"):
        assert callable(getattr(pointnet2_utils, name))
    assert callable(pointnet2_utils.grouping_operation)
