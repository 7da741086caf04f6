"""Whether a camera's picture changes by more than its noise. Knows nothing of ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLE_SIDE = 120  # rows or columns that are looked at, at least
BLOCKS = (24, 18)  # across and down; noise averages out in each
NOISES = 8.0  # a change is clear beyond so many standard deviations of a block's noise
MIN_SHARE = 0.02  # and beyond this share of the picture's contrast
OTHER_SHARE = 0.25  # of the contrast: pixels that change more on average show another picture;
# the noise in front of an even background changes them by 0.2 of what is then the contrast
STEPS = {"u": 1.0, "f": 0.02}  # counts or gray levels, and °C: nothing smaller is a change
_GAUSS_MEDIAN = 0.6745  # median of the absolute value of a normal variable, in deviations


class Motion:
    """Compares the pictures of one camera with the last one that differed clearly."""

    def __init__(self) -> None:
        self._reference: NDArray[np.float32] | None = None

    def look(self, image: NDArray[Any]) -> bool:
        """Whether (H, W) or (H, W, C) differs clearly from the reference, which it then becomes."""
        sample, step = _sample(image), STEPS["f" if image.dtype.kind == "f" else "u"]
        before = self._reference
        if before is None or before.shape != sample.shape:
            self._reference = sample
            return False
        if not _differ(before, sample, step):
            return False
        self._reference = sample
        return True


def _sample(image: NDArray[Any]) -> NDArray[np.float32]:
    """Some rows and columns of one channel, without NaN and Inf."""
    step = max(1, min(image.shape[:2]) // SAMPLE_SIDE)
    channel = image[::step, ::step] if image.ndim == 2 else image[::step, ::step, 1]
    sample = channel.astype(np.float32)
    return np.nan_to_num(sample, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _differ(before: NDArray[np.float32], now: NDArray[np.float32], step: float) -> bool:
    change = now - before
    change -= np.median(change)  # the exposure, or the shutter's offset
    usual = float(np.median(np.abs(change)))
    contrast = float(np.subtract(*np.percentile(now[::4, ::4], (99, 1))))
    if usual > max(OTHER_SHARE * contrast, 2 * step):
        return True
    per_block = max(1.0, change.size / (BLOCKS[0] * BLOCKS[1]))
    noise = usual / _GAUSS_MEDIAN / per_block**0.5
    blocks = cv2.resize(change, BLOCKS, interpolation=cv2.INTER_AREA)
    return bool(np.abs(blocks).max() > max(NOISES * noise, MIN_SHARE * contrast, step))
