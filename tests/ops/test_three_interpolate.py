from __future__ import annotations

import pytest
import torch
from clouds import features, has_channels_last_memory, indices, room
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

FORMATS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


def weights(B: int, N: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(B, N, 3, generator=torch.Generator().manual_seed(N)).to(dtype)


def gradients(operator, x: Tensor, idx: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    operator(x, idx, weight).backward(grad)
    return x.grad, weight.grad


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_equals_reference(channels_last: bool, dtype: torch.dtype, index_dtype: torch.dtype, device: str):
    x = features(2, 5, 40, channels_last, dtype).to(device)
    idx, weight = indices((2, 70, 3), 40, index_dtype).to(device), weights(2, 70).to(device)
    output = ops.three_interpolate(x, idx, weight)
    assert output.dtype == dtype
    tolerance = {torch.bfloat16: 1e-2, torch.float16: 1e-3}.get(dtype, 1e-6)
    torch.testing.assert_close(output, reference.three_interpolate(x, idx, weight), rtol=tolerance, atol=1e-6)
    assert has_channels_last_memory(output) is channels_last


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_gradients_equal_reference(channels_last: bool, dtype: torch.dtype, device: str):
    x = features(2, 5, 40, channels_last, dtype).to(device)
    idx, weight = indices((2, 90, 3), 40).to(device), weights(2, 90).to(device)
    grad = features(2, 5, 90, channels_last, dtype).to(device)
    result = gradients(ops.three_interpolate, x, idx, weight, grad)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = gradients(reference.three_interpolate, x.to(wide), idx, weight, grad.to(wide))
    tolerance = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 2e-6)
    torch.testing.assert_close(result[0], expected[0].to(dtype), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(result[1], expected[1], rtol=1e-5, atol=1e-5)
    assert has_channels_last_memory(result[0]) is channels_last
    assert result[1].dtype == weight.dtype


@given(
    size=st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 40), st.integers(0, 60)),
    channels_last=st.booleans(),
    grad_channels_last=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_equals_reference_for_generated_sizes(size: tuple[int, ...], channels_last: bool, grad_channels_last: bool):
    B, C, M, N = size
    x, idx, weight = features(B, C, M, channels_last), indices((B, N, 3), M), weights(B, N)
    output = ops.three_interpolate(x, idx, weight)
    torch.testing.assert_close(output, reference.three_interpolate(x, idx, weight), rtol=1e-6, atol=1e-6)
    grad = features(B, C, N, grad_channels_last)
    result = gradients(ops.three_interpolate, x, idx, weight, grad)
    expected = gradients(reference.three_interpolate, x, idx, weight, grad)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@FORMATS
@pytest.mark.usefixtures("deterministic")
def test_gradcheck(channels_last: bool, device: str):
    x = features(2, 3, 6, channels_last, torch.float64).to(device).requires_grad_()
    idx = indices((2, 7, 3), 6).to(device)
    weight = weights(2, 7, torch.float64).to(device).requires_grad_()
    assert gradcheck(lambda x, weight: ops.three_interpolate(x, idx, weight), (x, weight))
    assert gradgradcheck(lambda x, weight: ops.three_interpolate(x, idx, weight), (x, weight))


def test_features_are_not_kept_for_weights_without_gradient():
    x = features(1, 4, 20).requires_grad_()
    output = ops.three_interpolate(x, indices((1, 6, 3), 20), weights(1, 6))
    saved = [tensor for tensor in output.grad_fn.saved_tensors if tensor is not None]
    assert all(tensor.data_ptr() != x.data_ptr() for tensor in saved)
    output.sum().backward()
    assert x.grad is not None


def test_weight_dtypes(device: str):
    x, idx, weight = features(2, 5, 40).to(device), indices((2, 9, 3), 40).to(device), weights(2, 9).to(device)
    expected = ops.three_interpolate(x, idx, weight.bfloat16().float())
    assert torch.equal(ops.three_interpolate(x, idx, weight.bfloat16()), expected)
    assert ops.three_interpolate(x.double(), idx, weight).dtype == torch.float64


def test_autocast(device: str):
    xyz = room(2, 100).to(device)
    layer = torch.nn.Linear(6, 8).to(device)
    x = features(2, 6, 20, channels_last=True).to(device).requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        distance, idx = ops.three_nn(xyz, xyz[:, :20])
        weight = 1 / (distance + 1e-8)
        output = ops.three_interpolate(
            layer(x.transpose(1, 2)).transpose(1, 2), idx, weight / weight.sum(2, keepdim=True)
        )
        loss = output.float().square().mean()
    assert distance.dtype == torch.float32
    assert output.dtype == torch.bfloat16
    loss.backward()
    assert x.grad.isfinite().all()
    assert layer.weight.grad.abs().sum() > 0


@FORMATS
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(channels_last: bool, threads: int, set_threads):
    x, idx, weight = features(3, 64, 700, channels_last), indices((3, 3000, 3), 700), weights(3, 3000)
    grad = features(3, 64, 3000, channels_last)
    set_threads(1)
    expected = ops.three_interpolate(x, idx, weight), *gradients(ops.three_interpolate, x, idx, weight, grad)
    set_threads(threads)
    result = ops.three_interpolate(x, idx, weight), *gradients(ops.three_interpolate, x, idx, weight, grad)
    for a, b in zip(result, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_instruction_sets_do_not_matter(dtype: torch.dtype):
    x, idx, weight = features(2, 37, 50, True, dtype), indices((2, 90, 3), 50), weights(2, 90)
    grad = features(2, 37, 90, True, dtype)
    results = []
    for _ in every_instruction_set():
        results.append((ops.three_interpolate(x, idx, weight), *gradients(ops.three_interpolate, x, idx, weight, grad)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_errors():
    x, idx, weight = features(2, 6, 50), indices((2, 7, 3), 50), weights(2, 7)
    with pytest.raises(ValueError, match=r"features must be \[B, C, M\], got \[2, 6\]"):
        ops.three_interpolate(x[..., 0], idx, weight)
    with pytest.raises(ValueError, match=r"idx must be \[B, N, 3\] with B=2, got \[2, 7, 2\]"):
        ops.three_interpolate(x, idx[..., :2], weight)
    with pytest.raises(ValueError, match=r"weight must be \[B, N, 3\] with B=2, N=7, got \[2, 6, 3\]"):
        ops.three_interpolate(x, idx, weight[:, :6])
    with pytest.raises(TypeError, match=r"weight must be float32, float64, bfloat16 or float16, got int64"):
        ops.three_interpolate(x, idx, weight.long())
    with pytest.raises(ValueError, match=r"weight must be on cpu like features, got meta"):
        ops.three_interpolate(x, idx, weight.to("meta"))
    with pytest.raises(IndexError, match=r"idx must be in \[0, 50\), got -3 at flat position 0"):
        ops.three_interpolate(x, torch.full((2, 7, 3), -3), weight)
