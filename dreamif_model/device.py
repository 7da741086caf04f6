"""Devices, CPU threads and memory for the network. Importing it does not load torch."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
import re
import resource
import sys
from functools import cache
from pathlib import Path

from dreamif_model.errors import ConfigError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")  # numeric precision of the network

_NVIDIA = Path("/dev/nvidiactl"), Path("/dev/nvhost-ctrl"), Path("/dev/nvgpu")  # driver, Jetson
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's, such as docker --cpus sets
# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def check_device_name(name: str) -> None:
    """ConfigError unless the name is ``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    if not re.fullmatch("auto|cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise ConfigError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")


def has_nvidia_driver() -> bool:
    """Whether the driver of an NVIDIA card is loaded, on Linux."""
    return any(path.exists() for path in _NVIDIA)


@cache
def cuda_is_here() -> bool:
    """Whether torch can use an NVIDIA card; torch is imported only if there is a driver."""
    if sys.platform.startswith("linux") and not has_nvidia_driver():
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@cache
def cpu_has_bf16(path: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16 itself, by AVX-512, AMX or Arm's BF16 extension."""
    text = path.read_text() if path.is_file() else ""
    return bool(re.search(r"^(flags|Features)\s*:.*\b(avx512_bf16|amx_bf16|bf16)\b", text, re.M))


@cache
def bf16_is_fast(path: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16 faster than fp32.

    Intel's do by AMX only: without it, which virtual machines may hide, bf16 took 1.4 times as
    long as fp32. AMD's do by AVX-512.
    """
    if not cpu_has_bf16(path):
        return False
    text = path.read_text()
    return "GenuineIntel" not in text or re.search(r"\bamx_bf16\b", text) is not None


def machine_name(device: str) -> str:
    """Name of the card or processor; device: ``cpu``, ``cuda`` or ``cuda:N``."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.processor() or platform.machine()


def cpu_quota(path: Path = _CPU_QUOTA) -> int | None:
    """Whole CPUs that the container may use, at least 1; None without a limit.

    Libraries see all cores of the host and would start a thread for each; threads beyond the quota
    only wait for each other.
    """
    try:
        allowed, period = path.read_text().split()
    except (OSError, ValueError):  # no cgroup v2
        return None
    return None if allowed == "max" else max(1, math.floor(int(allowed) / int(period)))


def usable_cores() -> int:
    """CPUs that this process may use, at least 1, by its affinity and the container's quota."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed buffers, because page faults cost about half of a CPU inference."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return
    for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 1 << 29)):
        mallopt(parameter, value)


def use_cpu_threads(count: int) -> None:
    """Set the CPU threads of networks that are built from now on; 0 for one per usable core."""
    global _asked_threads
    if count < 0:
        raise ConfigError(f"the number of CPU threads is {count}, expected 0 or more")
    _asked_threads = count


def cpu_threads() -> int:
    """CPU threads of a network: the number that was set, or one per usable core."""
    return _asked_threads or usable_cores()


_asked_threads = 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed in numpy or in torch, on the GPU or on the CPU.

    torch's on the CPU is a RuntimeError that only its text tells from others.
    """
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "DefaultCPUAllocator" in str(error)


def memory_mib(device: str) -> dict[str, float]:
    """MiB that this process holds now: ``host`` and, on CUDA, ``device``."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found = {"host": pages * resource.getpagesize() / 2**20}
    if device != "cpu":
        import torch

        found["device"] = torch.cuda.memory_reserved(torch.device(device)) / 2**20
    return found


def settle_memory() -> None:
    """Return unused memory, and keep the objects that exist now out of garbage collections.

    A full collection halts all threads for 0.07 s. :func:`free_memory` undoes this.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def free_memory() -> None:
    """Collect garbage and return unused memory to the GPU."""
    gc.unfreeze()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
