"""Grouping is a gather with a two-dimensional index; what is tested here is what it adds."""

from __future__ import annotations

import pytest
import torch
from clouds import features, has_channels_last_memory, indices
from pointnet2_ops import ops, reference
from torch.autograd import gradcheck

FORMATS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shape", [(2, 5, 40, 7, 4), (1, 1, 1, 1, 1), (0, 3, 5, 2, 2), (2, 16, 9, 0, 8), (3, 1, 8, 5, 2)]
)
def test_equals_reference(channels_last: bool, dtype: torch.dtype, shape: tuple[int, ...], device: str):
    B, C, N, M, K = shape
    x = features(B, C, N, channels_last, dtype).to(device)
    for index_dtype in (torch.int32, torch.int64):
        idx = indices((B, M, K), N, index_dtype).to(device)
        output = ops.grouping_operation(x, idx)
        assert output.shape == (B, C, M, K)
        assert torch.equal(output, reference.grouping_operation(x, idx))
        if C > 1 and N > 1:
            assert has_channels_last_memory(output) or not channels_last
            assert output.is_contiguous() or channels_last


@FORMATS
@pytest.mark.parametrize("grad_channels_last", [False, True])
def test_gradient(channels_last: bool, grad_channels_last: bool, device: str):
    x = features(2, 6, 30, channels_last).to(device).requires_grad_()
    idx = indices((2, 11, 8), 30).to(device)
    grad = features(2, 6, 88, grad_channels_last).to(device).unflatten(2, (11, 8))
    ops.grouping_operation(x, idx).backward(grad)
    expected = torch.zeros(2, 6, 30, dtype=torch.float64, device=device)
    expected.scatter_add_(2, idx.long().flatten(1)[:, None].expand(-1, 6, -1), grad.double().flatten(2))
    torch.testing.assert_close(x.grad.double(), expected, rtol=1e-5, atol=1e-5)
    assert has_channels_last_memory(x.grad) is channels_last


@FORMATS
@pytest.mark.usefixtures("deterministic")
def test_gradcheck(channels_last: bool, device: str):
    x = features(2, 3, 6, channels_last, torch.float64).to(device).requires_grad_()
    idx = indices((2, 4, 3), 6).to(device)
    assert gradcheck(lambda x: ops.grouping_operation(x, idx), x)


def test_strided_indices(device: str):
    x, idx = features(2, 4, 30).to(device), indices((2, 5, 8), 30).to(device)
    for view in (idx.transpose(1, 2), idx[:, :, ::2], idx[:, ::2]):
        assert torch.equal(ops.grouping_operation(x, view), reference.grouping_operation(x, view))


def test_errors():
    x = features(2, 6, 50)
    with pytest.raises(ValueError, match=r"idx must be \[B, M, K\] with B=2, got \[2, 7\]"):
        ops.grouping_operation(x, indices((2, 7), 50))
    with pytest.raises(ValueError, match=r"idx must be \[B, M, K\] with B=2, got \[3, 7, 4\]"):
        ops.grouping_operation(x, indices((3, 7, 4), 50))
    with pytest.raises(IndexError, match=r"idx must be in \[0, 50\), got 50 at flat position 0"):
        ops.grouping_operation(x, torch.full((2, 7, 4), 50))
