"""Where the network runs, and how the host's memory and threads serve it."""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache

import torch

from dreamif_model.errors import ConfigError, DeviceError

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def resolve_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    DeviceError when a CUDA device is asked for and missing: never a silent fallback.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch("cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise ConfigError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices here: use cpu or auto, "
            "or install a CUDA build of torch and its driver"
        )
    return torch.device(name)


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


def use_cpu_threads(count: int) -> None:
    """Run the network on this many CPU threads; 0 leaves torch's choice (one per core)."""
    if count < 0:
        raise ConfigError(f"the number of CPU threads is {count}, expected 0 or more")
    if count:
        torch.set_num_threads(count)
