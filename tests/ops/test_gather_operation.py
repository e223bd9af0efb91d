from __future__ import annotations

import pytest
import torch
from clouds import features, has_channels_last_memory, indices
from hypothesis import given, settings
from hypothesis import strategies as st
from pointnet2_ops import ops, reference
from torch.autograd import gradcheck, gradgradcheck

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
FORMATS = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


def gradient(operator, x: torch.Tensor, idx: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    operator(x, idx).backward(grad)
    return x.grad


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_equals_reference(channels_last: bool, dtype: torch.dtype, index_dtype: torch.dtype, device: str):
    x = features(2, 5, 40, channels_last, dtype).to(device)
    idx = indices((2, 70), 40, index_dtype).to(device)
    output = ops.gather_operation(x, idx)
    assert output.dtype == dtype
    assert torch.equal(output, reference.gather_operation(x, idx))
    assert has_channels_last_memory(output) is channels_last


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_equals_reference(channels_last: bool, dtype: torch.dtype, device: str):
    x = features(2, 5, 40, channels_last, dtype).to(device)
    idx = indices((2, 300), 40).to(device)
    grad = features(2, 5, 300, channels_last, dtype).to(device)
    result = gradient(ops.gather_operation, x, idx, grad)
    # Half types are summed in float32 and rounded once.
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = gradient(reference.gather_operation, x.to(wide), idx, grad.to(wide)).to(dtype)
    tolerance = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 1e-6)
    torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
    assert has_channels_last_memory(result) is channels_last


def test_half_gradients_are_summed_in_float32(device: str):
    x = torch.zeros(1, 2, 3, dtype=torch.bfloat16, device=device)
    for columns in (x, x.transpose(1, 2).contiguous().transpose(1, 2)):
        idx = torch.ones(1, 1000, dtype=torch.int32, device=device)
        # Added up in bfloat16, ones would stop at 256.
        result = gradient(ops.gather_operation, columns, idx, torch.ones(1, 2, 1000, device=device).bfloat16())
        assert result[0, :, 1].tolist() == [1000, 1000]


@given(
    size=st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 40), st.integers(0, 60)),
    channels_last=st.booleans(),
    grad_channels_last=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_equals_reference_for_generated_sizes(size: tuple[int, ...], channels_last: bool, grad_channels_last: bool):
    B, C, N, Q = size
    x, idx = features(B, C, N, channels_last), indices((B, Q), N)
    assert torch.equal(ops.gather_operation(x, idx), reference.gather_operation(x, idx))
    grad = features(B, C, Q, grad_channels_last)
    result = gradient(ops.gather_operation, x, idx, grad)
    torch.testing.assert_close(result, gradient(reference.gather_operation, x, idx, grad), rtol=1e-6, atol=1e-5)


def test_any_strides(device: str):
    wide = features(2, 12, 80).to(device)
    views = {
        "every other channel": wide[:, ::2],
        "every other point": wide[:, :, ::2],
        "the first channels of rows": wide.transpose(1, 2).contiguous()[..., 1:7].transpose(1, 2),
        "one row for all points": wide.transpose(1, 2)[:, :1].contiguous().transpose(1, 2).expand(2, 12, 80),
        "one cloud for all": wide[:1].expand(2, 12, 80),
        "one channel": wide.transpose(1, 2).contiguous()[..., :1].transpose(1, 2),
    }
    for name, x in views.items():
        idx = indices((2, 31), x.shape[2]).to(device)
        expected = reference.gather_operation(x, idx)
        assert torch.equal(ops.gather_operation(x, idx), expected), name
        assert torch.equal(
            ops.gather_operation(x, idx.repeat(1, 2)[:, ::2]), expected[..., [*range(0, 31, 2), *range(1, 31, 2)]]
        )
        grad = torch.ones((), device=device).expand(expected.shape)
        x64 = x.double()
        assert torch.equal(
            gradient(ops.gather_operation, x64, idx, grad.double()),
            gradient(reference.gather_operation, x64, idx, grad.double()),
        ), name


@FORMATS
@pytest.mark.usefixtures("deterministic")
def test_gradcheck(channels_last: bool, device: str):
    x = features(2, 3, 6, channels_last, torch.float64).to(device).requires_grad_()
    idx = indices((2, 9), 6).to(device)
    assert gradcheck(lambda x: ops.gather_operation(x, idx), x)
    assert gradgradcheck(lambda x: ops.gather_operation(x, idx), x)


@FORMATS
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(channels_last: bool, threads: int, set_threads):
    x, idx = features(3, 64, 700, channels_last), indices((3, 5000), 700)
    grad = features(3, 64, 5000, channels_last)
    set_threads(1)
    expected = ops.gather_operation(x, idx), gradient(ops.gather_operation, x, idx, grad)
    set_threads(threads)
    assert torch.equal(ops.gather_operation(x, idx), expected[0])
    assert torch.equal(gradient(ops.gather_operation, x, idx, grad), expected[1])


def test_errors():
    x, idx = features(2, 6, 50), indices((2, 7), 50)
    with pytest.raises(ValueError, match=r"features must be \[B, C, N\], got \[2, 6\]"):
        ops.gather_operation(x[..., 0], idx)
    with pytest.raises(ValueError, match=r"idx must be \[B, M\] with B=2, got \[1, 7\]"):
        ops.gather_operation(x, idx[:1])
    with pytest.raises(TypeError, match=r"idx must be int32 or int64, got float32"):
        ops.gather_operation(x, idx.float())
    with pytest.raises(TypeError, match=r"features must be float32, float64, bfloat16 or float16, got int32"):
        ops.gather_operation(x.int(), idx)
    with pytest.raises(ValueError, match=r"idx must be on cpu like features, got meta"):
        ops.gather_operation(x, idx.to("meta"))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("value", [-1, 50, 2**31 - 1])
def test_indices_must_be_in_range(dtype: torch.dtype, value: int):
    x, idx = features(2, 6, 50), indices((2, 7), 50, dtype)
    idx[1, 3] = value
    with pytest.raises(IndexError, match=rf"idx must be in \[0, 50\), got {value} at flat position 10"):
        ops.gather_operation(x, idx)
    with pytest.raises(IndexError, match=rf"got {value}"):
        torch.ops.pointnet2_ops.gather_operation_backward(features(2, 6, 7), idx, 50, False)


def test_wide_indices_are_not_cut_to_32_bits():
    idx = torch.tensor([[2**32 + 1]])
    with pytest.raises(IndexError, match=str(2**32 + 1)):
        ops.gather_operation(features(1, 2, 50), idx)
