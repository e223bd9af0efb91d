"""`pointnet2_ops._ext`: the original's nine compiled functions, called as published networks call them."""

from __future__ import annotations

import pytest
import torch
from pointnet2_ops import _ext, ops, reference
from pointnet2_ops._ext import furthest_point_sampling

B, N, M, K, C = 2, 40, 9, 5, 3


def cloud(points: int, device: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(-64, 64, (B, points, 3), generator=generator) / 64).to(device)


def test_geometry_in_the_originals_argument_order(device):
    xyz, centres = cloud(N, device), cloud(M, device, seed=1)
    assert torch.equal(furthest_point_sampling(xyz, M), reference.furthest_point_sample(xyz, M))
    assert torch.equal(_ext.ball_query(centres, xyz, 0.5, K), reference.ball_query(0.5, K, xyz, centres))
    squared, index = _ext.three_nn(xyz, centres)
    expected = reference.squared_distance(xyz[:, :, None], centres[:, None]).sort(dim=-1, stable=True)
    assert torch.equal(index, expected.indices[..., :3].int())
    torch.testing.assert_close(squared, expected.values[..., :3], rtol=1e-6, atol=0)


@pytest.mark.parametrize("grouped", [False, True])
def test_gathering_and_its_gradient(device, grouped):
    forward, backward = (
        (_ext.group_points, _ext.group_points_grad) if grouped else (_ext.gather_points, _ext.gather_points_grad)
    )
    features = torch.randn(B, C, N, dtype=torch.float64, device=device, requires_grad=True)
    index = torch.randint(0, N, (B, M, K) if grouped else (B, M), dtype=torch.int32, device=device)
    expected = (reference.grouping_operation if grouped else reference.gather_operation)(features, index)
    output = forward(features, index)
    assert torch.equal(output, expected)
    assert not output.requires_grad
    grad = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, features, grad)
    torch.testing.assert_close(backward(grad, index, N), wanted, rtol=1e-12, atol=1e-12)


def test_interpolation_and_its_gradient(device):
    features = torch.randn(B, C, M, dtype=torch.float64, device=device, requires_grad=True)
    index = torch.randint(0, M, (B, N, 3), dtype=torch.int32, device=device)
    weight = torch.rand(B, N, 3, dtype=torch.float64, device=device)
    expected = reference.three_interpolate(features, index, weight)
    torch.testing.assert_close(_ext.three_interpolate(features, index, weight), expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, features, grad)
    torch.testing.assert_close(_ext.three_interpolate_grad(grad, index, weight, M), wanted, rtol=1e-12, atol=1e-12)


def test_a_published_autograd_function_runs_unchanged():
    """The pattern of the networks that import `_ext`: forward and backward of their own around its functions."""

    class Grouping(torch.autograd.Function):
        @staticmethod
        def forward(ctx, features, idx):
            ctx.save_for_backward(idx)
            ctx.points = features.size(2)
            return _ext.group_points(features, idx)

        @staticmethod
        def backward(ctx, grad_out):
            (idx,) = ctx.saved_tensors
            return _ext.group_points_grad(grad_out.contiguous(), idx, ctx.points), None

    features = torch.randn(B, C, N, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, N, (B, M, K), dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda x: Grouping.apply(x, index), features)
    torch.testing.assert_close(Grouping.apply(features, index), ops.grouping_operation(features, index))


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: _ext.group_points_grad(torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 6).int(), 9), "idx must be"),
        (lambda: _ext.gather_points_grad(torch.zeros(2, 3, 4), torch.zeros(2, 4).int(), -1), "n must be at least 0"),
        (lambda: _ext.three_interpolate_grad(torch.zeros(2, 3, 4), torch.zeros(2, 4, 3).int(), torch.zeros(2, 4), 9),
         "weight must be"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, part):
    with pytest.raises(ValueError, match=part):
        call()


def test_an_index_out_of_range_is_an_error():
    with pytest.raises(IndexError):
        _ext.gather_points_grad(torch.zeros(1, 3, 4), torch.full((1, 4), 7).int(), 5)
