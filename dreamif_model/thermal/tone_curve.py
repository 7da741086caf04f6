"""Gray levels go where the pixels are: a fire must not leave a person eight of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.thermal.gray_range import Range

BINS = 64  # of the range
FULL_SHARE = 0.01  # of the pixels in one bin: it counts as wholly occupied
MIN_SPANS = 20.0  # times the narrowest range (20 °C of most cameras): a narrower one has no fire
CLOSED = 2  # as many empty bins between occupied ones count as occupied: coarse counts skip bins


class ToneCurve:
    """A curve from the range to [0, 1], smoothed over frames.

    It is a straight line where at least half of the range is occupied, which is the rule. Where
    less is, the occupied part gets half of the levels; within each part the curve stays straight.
    Cameras' own automatic gain (plateau equalization) does the same in a coarser way.
    """

    def __init__(self) -> None:
        self._occupied: NDArray[np.float64] | None = None

    def follow(
        self, ordered: NDArray[Any], bounds: Range, smoothing: float, min_span: float
    ) -> NDArray[np.float64] | None:
        """Return the curve's values at BINS + 1 even places of the range; None for a line.

        ordered: (N,) sampled values, sorted.
        """
        low, high = bounds
        now = np.ones(BINS)
        if high - low > MIN_SPANS * min_span:
            counts = np.diff(np.searchsorted(ordered, np.linspace(low, high, BINS + 1)))
            now = _closed(np.minimum(1, counts / (FULL_SHARE * ordered.size)))
        before = now if self._occupied is None else self._occupied
        self._occupied = before + smoothing * (now - before)
        share = float(self._occupied.mean())
        if share >= 0.5:
            return None
        floor = share / (1 - share)
        slopes = floor + (1 - floor) * self._occupied
        return np.concatenate(([0.0], np.cumsum(slopes) / slopes.sum()))


def _closed(occupied: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill gaps of up to CLOSED bins between occupied ones (a morphological closing)."""
    reach = np.lib.stride_tricks.sliding_window_view
    highest = reach(np.pad(occupied, CLOSED), CLOSED + 1).max(-1)
    closed: NDArray[np.float64] = reach(highest, CLOSED + 1).min(-1)
    return closed
