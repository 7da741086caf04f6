"""The distance of the scene, by the messages of a range finder or an altimeter.

Knows nothing of ROS: messages are objects with the fields of ``sensor_msgs/Range`` or
``std_msgs/Float64``.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

DISTANCE_TYPES = ("range", "float64")
STALE_S = 2.0  # without a usable message: then the fixed distance counts
LIMITS_M = 0.1, 20_000.0  # what is nearer or farther is no distance of a scene
MEDIAN_OF = 3  # newest distances, so that one wrong echo counts for nothing


class Distances:
    """Takes every message; says which distance counts.

    fixed_m: while no message can be used; None for that of the calibration. Set it at any time.
    refusal: why the last message could not be used; empty if it could, or before the first.
    used, refused: number of messages.
    """

    def __init__(self, fixed_m: float | None = None) -> None:
        self.fixed_m = fixed_m
        self.refusal = ""
        self.used = self.refused = 0
        self._newest: deque[float] = deque(maxlen=MEDIAN_OF)
        self._used_s: float | None = None

    def take(self, message: Any, now_s: float) -> None:
        """Remember the distance in a message, or count that it has none."""
        self.refusal = refusal(message)
        if self.refusal:
            self.refused += 1
            return
        if not self.is_fresh(now_s):
            self._newest.clear()
        self._newest.append(_metres(message))
        self.used, self._used_s = self.used + 1, now_s

    def is_fresh(self, now_s: float) -> bool:
        """Whether a message that could be used came a short time ago."""
        return self._used_s is not None and now_s - self._used_s <= STALE_S

    def now_m(self, now_s: float) -> float | None:
        """The distance of the scene in metres; None for that of the calibration."""
        return median(tuple(self._newest)) if self.is_fresh(now_s) else self.fixed_m


def refusal(message: Any) -> str:
    """Why a message has no distance that can be used; empty if it has one.

    A ``Range`` of ±infinity has met nothing, or something too near; NaN is an invalid one
    (REP 117). Its limits count where the driver has set them.
    """
    metres, (low, high) = _metres(message), LIMITS_M
    if getattr(message, "max_range", 0.0) > getattr(message, "min_range", 0.0):
        low, high = max(low, message.min_range), min(high, message.max_range)
    if low <= metres <= high:  # false for NaN
        return ""
    return f"{metres:g} m is not from {low:g} to {high:g} m"


def _metres(message: Any) -> float:
    return float(message.range if hasattr(message, "range") else message.data)
