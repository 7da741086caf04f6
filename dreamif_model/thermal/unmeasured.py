"""Pixels of a thermal image that measure nothing: telemetry rows, borders of zeros."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EDGE_ROWS = 4  # at the top and at the bottom that may hold telemetry
MIN_ROWS = 24  # of an image that is looked at: smaller sensors send no telemetry rows
PERCENTILES = (1.0, 99.0)  # of the scene
OUTSIDE_SHARE = 0.5  # of a row's pixels far from the scene: it is no row of the scene


class Unmeasured(NamedTuple):
    """What was found in one frame.

    top, bottom: Rows that hold telemetry.
    zeros: Share of the scene's pixels that are exactly 0, far from all others.
    """

    top: int = 0
    bottom: int = 0
    zeros: float = 0.0


def find_unmeasured(image: NDArray[Any], ordered: NDArray[Any]) -> Unmeasured:
    """Look for telemetry rows and for zeros that are no measurement.

    A value lies far from the scene when it is outside of the scene's range by more than that
    range. Only what is certain is reported: in a scene that reaches down to 0, zeros are counts.

    Args:
        image: (h, w), uint16 or float32, finite.
        ordered: (N,) pixels of the scene, sorted, without the first and last EDGE_ROWS rows.
    """
    first, last = np.searchsorted(ordered, 0), np.searchsorted(ordered, 0, side="right")
    known = np.concatenate((ordered[:first], ordered[last:])) if last > first else ordered
    if not known.size:
        return Unmeasured()
    low, high = (float(known[int(p / 100 * (known.size - 1))]) for p in PERCENTILES)
    far = high - low
    zeros = 1 - known.size / ordered.size if low - far > 0 else 0.0
    if image.shape[0] < MIN_ROWS:
        return Unmeasured(zeros=zeros)
    bounds = low - far, high + far
    return Unmeasured(
        _rows_outside(image[:EDGE_ROWS], *bounds, zeros > 0),
        _rows_outside(image[: -EDGE_ROWS - 1 : -1], *bounds, zeros > 0),
        zeros,
    )


def _rows_outside(rows: NDArray[Any], low: float, high: float, has_zeros: bool) -> int:
    """How many rows, counted from the first, are mostly outside of [low, high].

    has_zeros: the scene itself has zeros, as at the border of a rectified image: they tell
    nothing of a row, which must have other values far from the scene.
    """
    outside = (rows < low) | (rows > high)
    if has_zeros:
        outside &= rows != 0
    return int(np.cumprod(outside.mean(1) > OUTSIDE_SHARE).sum())


def only_measured(image: NDArray[Any], found: Unmeasured) -> NDArray[Any]:
    """(h, w) with NaN, or 0 in whole numbers, wherever nothing was measured."""
    nothing = np.nan if image.dtype == np.float32 else 0
    kept = image.copy()
    if found.zeros:
        kept[kept == 0] = nothing
    kept[: found.top] = kept[len(kept) - found.bottom :] = nothing
    return kept


def without_rows(image: NDArray[Any], top: int, bottom: int) -> NDArray[Any]:
    """(h, w) with the first and last rows replaced by the nearest row of the scene."""
    filled = image.copy()
    if top:
        filled[:top] = image[top]
    if bottom:
        filled[-bottom:] = image[-bottom - 1]
    return filled
