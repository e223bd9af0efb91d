"""Fixtures of the operator tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pointnet2_ops
import pytest
import torch
from cuda_emulator import SCHEDULES, Emulator, build
from instruction_sets import AVAILABLE, instruction_set

DEVICES = ["cpu", *(["cuda"] if pointnet2_ops.CUDA_LIBRARY and torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[*AVAILABLE, *DEVICES[1:]])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device of the geometry kernels under test: the CPU with each instruction set, and CUDA."""
    if request.param not in AVAILABLE:
        yield request.param
        return
    with instruction_set(request.param):
        yield "cpu"


@pytest.fixture
def deterministic() -> Iterator[None]:
    """For gradcheck, which wants the same bits twice: sums by atomics, CUDA's default, have them only by chance."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Emulator]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # all xdist workers of a run build once
    return {arch: Emulator(library) for arch, library in build(shared / "cuda_emulator").items()}


@pytest.fixture(params=SCHEDULES, ids=["ascending", "random", "priorities"])
def emulator(request: pytest.FixtureRequest, emulators: dict[int, Emulator]) -> Emulator:
    emulators[900].schedule(*request.param)
    return emulators[900]
