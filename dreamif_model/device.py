"""Where the network runs, in which numbers, and how the host's memory and threads serve it."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dreamif_model.errors import ConfigError, DeviceError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = ("auto", *DTYPES)
BACKENDS = ("torch", "openvino")  # what runs the network

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, as docker --cpus sets it
# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def resolve_backend(name: str) -> str:
    """One of :data:`BACKENDS`; ConfigError for another name."""
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}: choose {' or '.join(BACKENDS)}")
    return name


def resolve_device(name: str, backend: str = "torch") -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    DeviceError when a CUDA device is asked for and missing: never a silent fallback. backend:
    ``openvino`` has the CPU only; ConfigError when it is asked for CUDA.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and backend != "openvino" else "cpu"
    if not re.fullmatch("cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise ConfigError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")
    kind, _, index = name.partition(":")
    if kind == "cuda" and backend == "openvino":
        raise ConfigError(
            f"backend openvino runs on the CPU only: got device {name!r}, choose cpu or auto"
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices here: use cpu or auto, "
            "or install a CUDA build of torch and its driver"
        )
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """``fp32``, ``fp16`` or ``bf16``; ``auto`` is fp16 on CUDA and fp32 on the CPU.

    ConfigError for fp16 on the CPU: torch emulates it there, many times slower.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"unknown precision {name!r}: choose {', '.join(PRECISIONS)}")
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 is for CUDA: on the CPU choose fp32 or bf16")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(f"{machine_name(device)} has no bf16: choose fp16 or fp32")
    return name


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Let CUDA compute fp32 in fp32, and sum fp16 in fp32, while inside.

    By default convolutions round fp32 to TF32's 10 bits, which is off by more than 1e-4, and
    long fp16 sums may be split and added in fp16, where they overflow. These switches are the
    process's: set here and put back, they leave a program that trains beside the engine alone.
    """
    if device.type != "cuda":
        yield
        return
    switches = _arithmetic_switches()
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def _arithmetic_switches() -> list[tuple[Any, str, Any]]:
    """Whose, which, and what it must be."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    sums = [(matmul, "allow_fp16_reduced_precision_reduction", False)]
    if hasattr(matmul, "fp32_precision"):  # torch 2.9 and later; the two kinds do not mix
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee"), *sums]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False), *sums]


def machine_name(device: torch.device) -> str:
    """The card's or the processor's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.processor() or platform.machine()


@cache
def prepare_cpu() -> None:
    """What makes inference on a CPU fast: memory is kept, threads fit a container's quota."""
    keep_freed_memory()
    quota = cpu_quota()
    if quota and torch.get_num_threads() > quota:
        torch.set_num_threads(quota)


def cpu_quota(path: Path = _CPU_QUOTA) -> int | None:
    """Whole CPUs that a container may use, at least 1; None without a limit.

    torch starts a thread per core that it sees, and it sees all of the host's: beyond the quota
    they only wait for each other.
    """
    try:
        allowed, period = path.read_text().split()
    except (OSError, ValueError):  # no cgroup v2
        return None
    return None if allowed == "max" else max(1, math.floor(int(allowed) / int(period)))


def usable_cores() -> int:
    """CPUs that this process may keep busy, at least 1: by its affinity and a container's quota."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed buffers: page faults otherwise cost about half of a CPU inference."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent from musl
    if mallopt is None:
        return
    for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 1 << 29)):
        mallopt(parameter, value)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: numpy's, torch's on the GPU, or torch's on the CPU.

    The last is a RuntimeError that only its text tells from others.
    """
    known = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return known or "DefaultCPUAllocator" in str(error)


def memory_mib(device: torch.device) -> dict[str, float]:
    """Mebibytes that this process holds now: ``host`` and, on CUDA, ``device``."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found = {"host": pages * resource.getpagesize() / 2**20}
    if device.type == "cuda":
        found["device"] = torch.cuda.memory_reserved(device) / 2**20
    return found


def settle_memory() -> None:
    """Leave what is alive now out of Python's full collections: they halt all threads, for 0.07 s.

    Until :func:`free_memory`.
    """
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Give memory that nothing uses any more back to the GPU."""
    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def use_cpu_threads(count: int) -> None:
    """Run the network on this many CPU threads; 0 leaves torch's choice within the quota."""
    if count < 0:
        raise ConfigError(f"the number of CPU threads is {count}, expected 0 or more")
    prepare_cpu()  # once in a process: later it would lower this number to the quota
    if count:
        torch.set_num_threads(count)
