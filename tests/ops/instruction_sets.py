"""Forces the instruction set of the CPU geometry kernels: every path must give the same indices."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pointnet2_ops

_set_isa = ctypes.CDLL(str(Path(pointnet2_ops.__file__).with_name("_cpu.abi3.so"))).pointnet2_set_isa

NAMES = ("portable", "avx2", "avx512")
# The library answers with what it will use; what this machine lacks is replaced by its best.
AVAILABLE = tuple(name for number, name in enumerate(NAMES) if _set_isa(number) == number)
_set_isa(-1)


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    if _set_isa(NAMES.index(name)) != NAMES.index(name):
        raise RuntimeError(f"this machine has no {name}")
    try:
        yield
    finally:
        _set_isa(-1)


def every_instruction_set() -> Iterator[str]:
    """Yields each available one's name while it is in force."""
    for name in AVAILABLE:
        with instruction_set(name):
            yield name
