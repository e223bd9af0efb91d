"""The emulator finds what is broken, on kernels that are broken on purpose, and nothing where nothing is."""

from __future__ import annotations

import ctypes

import pytest
import torch
from cuda_emulator import EmulatedError, Emulator, find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to build the emulator with")

# In the order of kCases in harness_selftest.cpp: the kernel, and what must be found (None: nothing).
SELFTEST = [
    ("tree_sum", None),
    ("tree_sum_without_barrier", "race"),
    ("barrier_after_exit", "barrier divergence: .*has exited"),
    ("different_barriers", "barrier divergence: .*waits at the barrier"),
    ("rounds, two slots", None),
    ("rounds, one slot", "race"),
    ("pass_to_next_lane", None),
    ("pass_to_next_lane without __syncwarp", "race: reads what|nothing has written"),
    ("lane_missing", "without all lanes of its mask: .*thread 7 has exited"),
    ("lane_elsewhere", "without all lanes of its mask"),
    ("different_masks", "without all lanes of its mask"),
    ("half_warps", None),
    ("caller_not_in_mask", "the caller is not in its mask"),
    ("shuffle_from_outside_mask", "not in the mask"),
    ("shared, last element", None),
    ("shared, one past the end", r"out of bounds: read of 4 bytes at byte 256 of shared array 0 \(256 bytes\)"),
    ("shared, one before the start", "out of bounds: read of 4 bytes at byte -4 of shared array 0"),
    ("shared_never_written", "reads memory that nothing has written"),
    ("takes_too_much", "takes 512 bytes of shared memory, the launch gave 256"),
    ("global, last element", None),
    ("global read past the end", r"out of bounds: read of 4 bytes at byte 256 of input 0 \(256 bytes\)"),
    ("global read before the start", "out of bounds: read of 4 bytes at byte -4 of input 0"),
    ("global write past the end", r"out of bounds: write of 4 bytes at byte 4 of output 1 \(4 bytes\)"),
    ("global write before the start", "out of bounds: write of 4 bytes at byte -4 of output 1"),
    ("reads_output", "reads memory that nothing has written"),
    ("writes_input", "writes an input"),
    ("misaligned", "misaligned"),
    ("count_blocks, atomics", None),
    ("count_blocks, plain additions", "race"),
    ("read_only_load_of_own_write", "__ldg of memory that this launch has written"),
]


@pytest.mark.parametrize("number", range(len(SELFTEST)), ids=[name for name, _ in SELFTEST])
def test_emulator_finds_what_is_broken(emulator: Emulator, number: int) -> None:
    finding = SELFTEST[number][1]
    arguments = (number, emulator.input(torch.arange(64, dtype=torch.int32)), emulator.output(4))
    if finding is None:
        emulator.call("selftest", *arguments)
        emulator.finish((arguments[2], (1,), torch.int32))
    else:
        with pytest.raises(EmulatedError, match=finding):
            emulator.call("selftest", *arguments)


def test_emulated_results(emulator: Emulator) -> None:
    out = emulator.output(4)
    emulator.call("selftest", 0, emulator.input(torch.arange(64, dtype=torch.int32)), out)
    assert emulator.finish((out, (1,), torch.int32))[0].item() == 64 * 63 // 2


@pytest.mark.parametrize(
    ("grid", "threads", "shared", "opt_in", "finding"),
    [
        ((0, 1), 64, 256, 1, "grid is empty"),
        ((1, 70_000), 64, 256, 1, "too large"),
        ((1, 1), 2048, 8192, 1, "more than 1024 threads"),
        ((1, 1), 64, 64 * 1024, 0, "more shared memory"),
        ((1, 1), 64, 512, 1, "gave 512 bytes of shared memory, the kernel took 256"),
    ],
)
def test_emulator_refuses_launches(
    emulators: dict[int, Emulator], grid: tuple[int, int], threads: int, shared: int, opt_in: int, finding: str
) -> None:
    emulator = emulators[900]
    data = emulator.input(torch.arange(64, dtype=torch.int32)), emulator.output(4)
    with pytest.raises(EmulatedError, match=finding):
        emulator.call("selftest_launch", *grid, threads, ctypes.c_int64(shared), opt_in, *data)
