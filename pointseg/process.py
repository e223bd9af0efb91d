"""Settings of the process for computing on the CPU; `main` makes them before PyTorch is loaded."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next allocation; says whether the C library could be told.

    glibc returns every block over 32 MiB to the system when it is freed, and the next tensor of that size pays for
    each of its pages again: half the time of a training step on the CPU. The process then never shrinks below its
    peak. Other C libraries are left as they are. See mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)


def let_waiting_threads_sleep() -> None:
    """Makes OpenMP threads that wait for one another sleep soon, unless the environment says how they shall wait.

    Where other work shares the cores, a spinning thread keeps the core that the thread it waits for needs: with one
    busy neighbour on two cores, training ran at 2.3 chunks/s, and at 8 with this setting, which costs 3 % on a quiet
    machine. It has to be made before PyTorch loads OpenMP (GNU's, in PyTorch's Linux builds).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # of the order of 10 microseconds
