"""Counts and latencies of a running node: plain values, safe to use from two threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping

WINDOW = 1000  # newest samples that percentiles are taken from


class Statistics:
    """Counts by name, and the newest latencies by stage."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._seconds: dict[str, deque[float]] = {}
        self._moments: dict[str, deque[float]] = {}

    def count(self, name: str) -> None:
        """Count one more ``name``, and remember when, for its rate."""
        with self._lock:
            self._counts[name] += 1
            self._moments.setdefault(name, deque(maxlen=WINDOW)).append(time.monotonic())

    def add_latencies(self, seconds: Mapping[str, float]) -> None:
        """Record how long each stage of one frame took."""
        with self._lock:
            for stage, value in seconds.items():
                self._seconds.setdefault(stage, deque(maxlen=WINDOW)).append(value)

    def counts(self) -> dict[str, int]:
        """All counts so far."""
        with self._lock:
            return dict(self._counts)

    def rate_hz(self, name: str, over_s: float = 2.0) -> float:
        """How often per second ``name`` was counted in the last ``over_s`` seconds."""
        since = time.monotonic() - over_s
        with self._lock:
            recent = sum(moment >= since for moment in self._moments.get(name, ()))
        return recent / over_s

    def seconds_since(self, name: str) -> float | None:
        """Seconds since ``name`` was last counted; None if it never was."""
        with self._lock:
            moments = self._moments.get(name)
            return time.monotonic() - moments[-1] if moments else None

    def stages(self) -> list[str]:
        """The stages that were measured."""
        with self._lock:
            return list(self._seconds)

    def percentile_ms(self, stage: str, share: float) -> float | None:
        """Quantile (``share`` in [0, 1]) of a stage in milliseconds; None if it never ran."""
        with self._lock:
            samples = list(self._seconds.get(stage, ()))
        return _quantile(sorted(samples), share) * 1e3 if samples else None


def _quantile(ordered: list[float], share: float) -> float:
    """Nearest-rank quantile of a sorted, non-empty list."""
    return ordered[round(share * (len(ordered) - 1))]
