"""Checks of what carries images between processes: shared memory and socket buffers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from dreamif_ros.doctor.findings import Finding

SHARED_MEMORY, LOCKS = Path("/dev/shm"), Path("/proc/locks")
SETTINGS = Path("/proc/sys/net/core")
SEGMENT_MB = 67.0  # of shared memory that Fast DDS reserves for a process with our settings
PROCESSES = 4  # two cameras, fusion, detection
IMAGE_MB = 4.0  # an RGB image of 1280x1024
ASKED_MB = 33.6  # socket buffers that our nodes ask for; the kernel grants its maximum
_SEGMENT = re.compile(r"fast(dds|rtps)_[0-9a-f]{16}")


def check_shared_memory(folder: Path = SHARED_MEMORY, free: int | None = None) -> Iterator[Finding]:
    """Whether there is room for the segments of a few nodes; free: bytes."""
    free_mb = (shutil.disk_usage(folder).free if free is None else free) / 1e6
    text = f"{free_mb:.0f} MB free in {folder}"
    if free_mb >= PROCESSES * SEGMENT_MB:
        yield Finding("shared memory", "ok", text)
    else:
        advice = (
            f"each node reserves {SEGMENT_MB:.0f} MB there: start a container with "
            "--shm-size=1g or --ipc=host, else end programs or remove leftover segments"
        )
        yield Finding("shared memory", "warning", text, advice)


def check_leftover_segments(folder: Path = SHARED_MEMORY, locks: Path = LOCKS) -> Iterator[Finding]:
    """Look for segments of Fast DDS whose processes were killed: their lock files are free."""
    locked = {line.split()[5].rpartition(":")[2] for line in locks.read_text().splitlines()}
    segments = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    leftover = [path for path in segments if not _is_used(path, locked)]
    if not leftover:
        yield Finding("leftover segments", "ok", f"none; {len(segments)} in use")
        return
    size_mb = sum(path.stat().st_size for path in leftover) / 1e6
    text = f"{len(leftover)} of Fast DDS, up to {size_mb:.0f} MB, from programs that were killed"
    advice = (
        f"end all ROS programs, in containers as well, then: rm {folder}/fastdds_* "
        f"{folder}/fastrtps_* {folder}/sem.fast*"
    )
    yield Finding("leftover segments", "warning", text, advice)


def _is_used(segment: Path, locked: set[str]) -> bool:
    """Whether a process that we can see holds the lock of a segment."""
    lock = segment.with_name(f"{segment.name}_el")
    return not lock.exists() or str(lock.stat().st_ino) in locked


def check_socket_buffers(folder: Path = SETTINGS) -> Iterator[Finding]:
    """Whether the kernel grants sockets that hold an image."""
    for name in ("rmem_max", "wmem_max"):
        granted_mb = int((folder / name).read_text()) / 1e6
        text = f"net.core.{name} is {granted_mb:.1f} MB"
        if granted_mb >= IMAGE_MB:
            yield Finding("socket buffers", "ok", f"{text}; our nodes ask for {ASKED_MB:.0f} MB")
            continue
        advice = (
            f"images of more than that may be lost between machines, and where shared memory "
            f"is not used: sudo sysctl -w net.core.{name}=33554432"
        )
        yield Finding("socket buffers", "warning", text, advice)
