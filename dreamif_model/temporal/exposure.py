"""A camera that changes its gain or offset must not lose its memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage

# Median deviation in units of noise: 0.67 for noise alone; above this the exposure has changed.
USUAL = 1.2
STEPS = 8  # of reweighted least squares
OUTLIER = 9.0  # squared deviations
GAINS = 0.25, 4.0
MIN_BLOCKS = 50


def fit_exposure(
    before: FloatImage, now: FloatImage, variance: FloatImage
) -> tuple[float, float] | None:
    """Gain and offset with which most of ``now`` is ``before``, by robust least squares.

    Args:
        before: (N,) block means of the state.
        now: (N,) those of the frame.
        variance: (N,) of their difference for noise alone.

    Returns:
        None if most is the same as before, or if no gain and offset explain it.
    """
    if now.size < MIN_BLOCKS or _median_deviation(now - before, variance) < USUAL:
        return None
    gain, offset = 1.0, float(np.median(now - before))
    for _ in range(STEPS):
        residual = now - gain * before - offset
        weight = 1 / (variance + residual * residual / OUTLIER)
        mean_before, mean_now = (float(np.average(v, weights=weight)) for v in (before, now))
        centred = before - mean_before
        spread = float((weight * centred * centred).sum())
        if spread > 0:
            gain = float((weight * centred * (now - mean_now)).sum()) / spread
        offset = mean_now - gain * mean_before
    left = _median_deviation(now - gain * before - offset, variance)
    return (gain, offset) if left < USUAL and GAINS[0] < gain < GAINS[1] else None


def _median_deviation(residual: NDArray[np.floating], variance: FloatImage) -> float:
    return float(np.median(np.abs(residual) / np.sqrt(variance)))
