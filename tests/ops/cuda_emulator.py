"""Builds the emulated CUDA kernels (cuda_ops/emulator) and calls their launchers on CPU tensors."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).resolve().parents[2] / "cuda_ops" / "emulator"
COMMON_FLAGS = [
    "-std=c++20",
    "-fPIC",
    "-U_FORTIFY_SOURCE",
    f"-I{SOURCES / 'include'}",
    f"-I{SOURCES}",
    f"-I{SOURCES.parent / 'csrc'}",
]
RUNTIME_FLAGS = [*COMMON_FLAGS, "-O2"]
# -fsanitize=thread puts a call before every memory access; the emulator's own functions answer it, as they do for
# misaligned accesses, which vectors of several words would else hide by being split.
KERNEL_FLAGS = [
    *COMMON_FLAGS,
    "-O1",
    "-ffp-contract=off",
    "-fno-exceptions",
    "-fsanitize=thread,alignment",
    "-DPOINTNET2_EMULATOR",
    "-Wno-unknown-pragmas",
]
RUNTIME = ("accesses", "collectives", "memory", "scheduler")
ELEMENT_TYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
FPS_KERNELS = {"choose": -1, "buckets": 0, "steps": 1, "rounds": 2, "bucket steps": 3}
SEARCH_KERNELS = {"choose": -1, "brute force": 0, "ordered": 1}
# (seed, yield period): ascending order; random order; random order with some warps far ahead.
SCHEDULES = [(0, 0), (1, 13), (2, 40)]


class EmulatedError(Exception):
    """A kernel broke a rule; the text says which."""


def find_compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def build(folder: Path) -> dict[int, Path]:
    """Compiles into `folder`, once for all processes that share it. Returns the library per CUDA architecture."""
    libraries = {900: folder / "emulated_900.so", 750: folder / "emulated_750.so"}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(library.exists() for library in libraries.values()):
            return libraries
        runtime = [(name, RUNTIME_FLAGS, name) for name in RUNTIME]
        modern = [(f"harness_{name}", KERNEL_FLAGS, name) for name in ("features", "geometry", "original", "selftest")]
        old = [("harness_geometry", [*KERNEL_FLAGS, "-D__CUDA_ARCH__=750"], "geometry_750")]

        def compile_one(job: tuple[str, list[str], str]) -> Path:
            source, flags, name = job
            run([*flags, "-c", str(SOURCES / f"{source}.cpp"), "-o", str(folder / f"{name}.o")])
            return folder / f"{name}.o"

        with ThreadPoolExecutor(2) as pool:
            objects = dict(zip("acmsfgbto", pool.map(compile_one, [*runtime, *modern, *old]), strict=True))
        for arch, parts in ((900, "acmsfgbt"), (750, "acmso")):
            out = libraries[arch].with_suffix(".part")
            run(["-shared", "-Wl,-Bsymbolic", *(str(objects[part]) for part in parts), "-o", str(out)])
            out.replace(libraries[arch])
    return libraries


def build_broken(folder: Path, header: str, old: str, new: str, runtime: list[Path]) -> Emulator:
    """The geometry kernels with `old` replaced by `new` in one header of csrc/cuda; `runtime` as compiled by build."""
    shutil.copytree(SOURCES.parent / "csrc" / "cuda", folder / "csrc" / "cuda")
    shutil.copytree(SOURCES, folder / "emulator")
    broken = folder / "csrc" / "cuda" / header
    text = broken.read_text()
    assert text.count(old) == 1, f"{header} holds {text.count(old)} times: {old}"
    broken.write_text(text.replace(old, new))
    flags = [flag for flag in KERNEL_FLAGS if not flag.startswith(("-I", "-O"))]
    out = folder / "broken.so"
    includes = [f"-I{folder / 'emulator' / 'include'}", f"-I{folder / 'emulator'}"]
    run([*flags, *includes, "-c", str(folder / "emulator" / "harness_geometry.cpp"), "-o", str(folder / "broken.o")])
    run(["-shared", "-Wl,-Bsymbolic", str(folder / "broken.o"), *map(str, runtime), "-o", str(out)])
    return Emulator(out)


def build_runtime(folder: Path) -> list[Path]:
    """The emulator without kernels."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = [folder / f"{name}.o" for name in RUNTIME]
    for source in objects:
        run([*COMMON_FLAGS, "-O1", "-c", str(SOURCES / f"{source.stem}.cpp"), "-o", str(source)])
    return objects


def run(arguments: list[str]) -> None:
    compiler = find_compiler()
    assert compiler is not None
    result = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{compiler} {' '.join(arguments)}\n{result.stderr}")


@dataclass(frozen=True)
class View:
    """Features [B, C, N] in emulated memory; strides as in features.cuh."""

    pointer: ctypes.c_void_p
    batch: int
    stride: int
    channels_last: bool


class Emulator:
    """One emulated machine. Every call runs its kernels under the current schedule and frees its memory."""

    def __init__(self, library: Path):
        self.library = ctypes.CDLL(str(library))
        self.library.emulator_allocate.restype = ctypes.c_void_p
        self.library.emulator_error.restype = ctypes.c_char_p
        for name in ("emulator_unwritten", "fps_scratch", "order_scratch", "inverse_counts_size"):
            if hasattr(self.library, name):
                getattr(self.library, name).restype = ctypes.c_int64
        self.schedule(0)

    def schedule(self, seed: int, yield_period: int = 0) -> None:
        """0: threads in ascending order. Else at random, giving way at one in `yield_period` memory accesses."""
        self.library.emulator_schedule(ctypes.c_uint64(seed), ctypes.c_int(yield_period))

    # ---- geometry

    def furthest_point_sample(
        self, xyz: Tensor, npoint: int, kernel: str = "choose", points_per_thread: int = 0
    ) -> Tensor:
        """points_per_thread: of the kernels that keep points in registers; 0: as the launcher chooses."""
        B, N, _ = xyz.shape
        double, number = int(xyz.dtype == torch.float64), FPS_KERNELS[kernel]
        idx, scratch = self.output(B * npoint * 4), self.library.fps_scratch(double, i64(B), N, number)
        self.call(
            "furthest_point_sample",
            double,
            self.input(xyz.contiguous()),
            i64(B),
            N,
            npoint,
            number,
            points_per_thread,
            idx,
            self.output(max(scratch, 1)),
        )
        return self.finish((idx, (B, npoint), torch.int32))[0]

    def ball_query(
        self, radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor, kernel: str = "choose"
    ) -> tuple[Tensor, Tensor]:
        B, N, _ = xyz.shape
        M = new_xyz.shape[1]
        squared_radius = torch.tensor(radius, dtype=xyz.dtype).square().item()
        idx, count = self.output(B * M * nsample * 4), self.output(B * M * 4)
        self.call(
            "ball_query",
            int(xyz.dtype == torch.float64),
            self.input(xyz.contiguous()),
            self.input(new_xyz.contiguous()),
            *map(i64, (B, N, M)),
            ctypes.c_double(squared_radius),
            nsample,
            SEARCH_KERNELS[kernel],
            idx,
            count,
            self.output(self.library.order_scratch(i64(B), i64(N), i64(0))),
        )
        return self.finish((idx, (B, M, nsample), torch.int32), (count, (B, M), torch.int32))

    def three_nn(self, unknown: Tensor, known: Tensor, kernel: str = "choose") -> tuple[Tensor, Tensor]:
        B, N, _ = unknown.shape
        distance, idx = self.output(B * N * 3 * unknown.element_size()), self.output(B * N * 3 * 4)
        self.call(
            "three_nn",
            int(unknown.dtype == torch.float64),
            self.input(unknown.contiguous()),
            self.input(known.contiguous()),
            *map(i64, (B, N, known.shape[1])),
            SEARCH_KERNELS[kernel],
            distance,
            idx,
            self.output(self.library.order_scratch(i64(B), i64(N), i64(known.shape[1]))),
        )
        return self.finish((distance, (B, N, 3), unknown.dtype), (idx, (B, N, 3), torch.int32))

    # ---- features

    def narrow_indices(self, idx: Tensor) -> Tensor:
        out = self.output(4 * idx.numel())
        self.call("narrow_indices", self.input(idx.contiguous()), i64(idx.numel()), out)
        return self.finish((out, tuple(idx.shape), torch.int32))[0]

    def gather_operation(self, features: Tensor, idx: Tensor) -> Tensor:
        B, C, N = features.shape
        view = self.view(features)
        out = self.output(B * C * idx.shape[1] * features.element_size())
        self.call(
            "gather_operation",
            features.element_size(),
            view.pointer,
            i64(view.batch),
            i64(view.stride),
            self.input(idx.contiguous()),
            *map(i64, (B, C, N, idx.shape[1])),
            int(view.channels_last),
            out,
        )
        return self.finish_features(out, (B, C, idx.shape[1]), features.dtype, view.channels_last)

    def scatter_add(
        self, grad: Tensor, idx: Tensor, points: int, weight: Tensor | None = None, deterministic: bool = True
    ) -> Tensor:
        """grad [B, C, Q], idx [B, Q] -> [B, C, points]; or with weights idx, weight [B, Q, 3]."""
        B, C, _ = grad.shape
        edges = idx[0].numel()
        view = self.view(grad)
        counts = sorted_edges = None
        if deterministic:
            counts = self.output(4 * self.library.inverse_counts_size(i64(B), i64(edges), i64(points)))
            sorted_edges = self.output(4 * B * edges)
        out = self.output(B * C * points * grad.element_size())
        self.call(
            "scatter_backward",
            ELEMENT_TYPES[grad.dtype],
            view.pointer,
            i64(view.batch),
            i64(view.stride),
            self.input(idx.contiguous()),
            None if weight is None else self.input(weight.contiguous()),
            *map(i64, (B, C, edges, points)),
            int(view.channels_last),
            counts,
            sorted_edges,
            out,
        )
        return self.finish_features(out, (B, C, points), grad.dtype, view.channels_last)

    def three_interpolate(self, features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
        B, C, M = features.shape
        N = idx.shape[1]
        view = self.view(features)
        out = self.output(B * C * N * features.element_size())
        self.call(
            "three_interpolate",
            ELEMENT_TYPES[features.dtype],
            view.pointer,
            i64(view.batch),
            i64(view.stride),
            self.input(idx.contiguous()),
            self.input(weight.contiguous()),
            *map(i64, (B, C, M, N)),
            int(view.channels_last),
            out,
        )
        return self.finish_features(out, (B, C, N), features.dtype, view.channels_last)

    def interpolation_weight_gradient(self, grad: Tensor, features: Tensor, idx: Tensor) -> Tensor:
        B, C, M = features.shape
        N = idx.shape[1]
        view, grad_view = self.view(features), self.view(grad)
        dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
        out = self.output(B * N * 3 * dtype.itemsize)
        self.call(
            "interpolation_weight_gradient",
            ELEMENT_TYPES[features.dtype],
            grad_view.pointer,
            i64(grad_view.batch),
            i64(grad_view.stride),
            view.pointer,
            i64(view.batch),
            i64(view.stride),
            self.input(idx.contiguous()),
            *map(i64, (B, C, M, N)),
            int(view.channels_last),
            out,
        )
        return self.finish((out, (B, N, 3), dtype))[0]

    # ---- memory

    def input(self, tensor: Tensor) -> ctypes.c_void_p:
        """A read-only copy of the tensor's memory, from its first to its last element, no better aligned."""
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        flat = tensor.as_strided((span,), (1,), tensor.storage_offset())
        bytes_ = flat.numel() * flat.element_size()
        pointer = ctypes.c_void_p(self.library.emulator_allocate(i64(bytes_), flat.data_ptr() % 16, 1))
        ctypes.memmove(pointer, flat.data_ptr(), bytes_)
        return pointer

    def output(self, bytes_: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.library.emulator_allocate(i64(bytes_), 0, 0))

    def view(self, features: Tensor) -> View:
        channels_last = features.stride(1) == 1 and features.stride(2) != 1
        stride = features.stride(2 if channels_last else 1)
        return View(self.input(features), features.stride(0), stride, channels_last)

    def call(self, name: str, *arguments: object) -> None:
        if getattr(self.library, name)(*arguments) != 0:
            self.library.emulator_free_all()
            raise EmulatedError(self.library.emulator_error().decode())

    def finish(self, *outputs: tuple[ctypes.c_void_p, tuple[int, ...], torch.dtype]) -> tuple[Tensor, ...]:
        """Reads the outputs, all of which must have been written, and frees all memory."""
        tensors = []
        for pointer, shape, dtype in outputs:
            unwritten = self.library.emulator_unwritten(pointer)
            assert unwritten == 0, f"{unwritten} bytes of an output {shape} were never written"
            tensor = torch.empty(shape, dtype=dtype)
            ctypes.memmove(tensor.data_ptr(), pointer, tensor.numel() * tensor.element_size())
            tensors.append(tensor)
        self.library.emulator_free_all()
        return tuple(tensors)

    def finish_features(
        self, out: ctypes.c_void_p, shape: tuple[int, int, int], dtype: torch.dtype, channels_last: bool
    ) -> Tensor:
        B, C, N = shape
        (x,) = self.finish((out, (B, N, C) if channels_last else shape, dtype))
        return x.transpose(1, 2) if channels_last else x


def i64(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)
