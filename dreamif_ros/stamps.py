"""Time stamps as integer nanoseconds: the one place that converts them."""

from __future__ import annotations

from typing import Any

NANOSECONDS = 1_000_000_000  # in one second


def to_ns(stamp: Any) -> int:
    """A ``builtin_interfaces/Time``, of ROS or of rosbags, as nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def split_ns(time_ns: int) -> tuple[int, int]:
    """Nanoseconds as the two fields of a ``builtin_interfaces/Time``: sec and nanosec."""
    return divmod(time_ns, NANOSECONDS)


def to_seconds(time_ns: int) -> float:
    """Nanoseconds as seconds."""
    return time_ns / NANOSECONDS


def from_seconds(seconds: float) -> int:
    """Seconds as the nearest whole number of nanoseconds."""
    return round(seconds * NANOSECONDS)
