"""Argument checks of the operators: every message names the argument, what was expected and what came."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

import pointnet2_ops

FEATURE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def shape(x: Tensor, name: str, letters: str, **sizes: int) -> None:
    """Raises unless `x` has one dimension a letter of e.g. "B N 3" (digits are sizes) and the given sizes."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    wanted = letters.split()
    fixed = {**{letter: int(letter) for letter in wanted if letter.isdigit()}, **sizes}
    fits = x.dim() == len(wanted) and all(
        letter not in fixed or x.shape[i] == fixed[letter] for i, letter in enumerate(wanted)
    )
    if not fits:
        where = ", ".join(f"{letter}={sizes[letter]}" for letter in wanted if letter in sizes)
        raise ValueError(
            f"{name} must be [{', '.join(wanted)}]{' with ' + where if where else ''}, got {list(x.shape)}"
        )


def supported_device(x: Tensor, name: str) -> None:
    if x.is_cuda and not pointnet2_ops.CUDA_LIBRARY:
        raise RuntimeError(
            f"{name} is on {x.device}, but pointnet2_ops was built without CUDA: reinstall it where nvcc is found, "
            "`POINTNET2_OPS_CUDA=1 pip install --no-build-isolation .`"
        )


def same_device(x: Tensor, name: str, other: Tensor, other_name: str) -> None:
    if x.device != other.device:
        raise ValueError(f"{name} must be on {other.device} like {other_name}, got {x.device}")


def coordinates(x: Tensor, name: str, letters: str, **sizes: int) -> Tensor:
    """`x` for the geometry operators: float32 (half types are converted) or float64, without gradient."""
    features(x, name, letters, **sizes)
    x = x.detach()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def same_dtype(x: Tensor, name: str, other: Tensor, other_name: str) -> None:
    if x.dtype != other.dtype:
        raise TypeError(f"{name} must be {_name(other.dtype)} like {other_name}, got {_name(x.dtype)}")


def features(x: Tensor, name: str, letters: str, **sizes: int) -> None:
    shape(x, name, letters, **sizes)
    supported_device(x, name)
    if x.dtype not in FEATURE_DTYPES:
        raise TypeError(f"{name} must be float32, float64, bfloat16 or float16, got {_name(x.dtype)}")


def indices(x: Tensor, name: str, letters: str, **sizes: int) -> None:
    shape(x, name, letters, **sizes)
    if x.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} must be int32 or int64, got {_name(x.dtype)}")


def count(value: int, name: str, low: int, high: int | None = None, high_name: str = "") -> int:
    """`value` as an int in [low, high]."""
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{name} must be at most {high_name}={high}, got {value}")
    return value
