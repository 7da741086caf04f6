"""Whether an image shows anything at all."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLE_SIDE = 240  # rows or columns that are looked at: more cost time and tell no more
COARSE_SIDE = 32  # rows or columns of a first look, which is enough for most images
SHOWN_SHARE = 2e-4  # of the pixels that must differ from the rest, beside single dead ones
BLANK_SPAN = {"u": 1.0, "f": 0.01}  # counts; °C


def is_blank(image: NDArray[np.generic]) -> bool:
    """Whether all pixels have one value: a cap on the lens, a closed shutter.

    Something small in front of an even background is a picture: a person far away, a drone in the
    sky. Single dead pixels, pairs of them and dead lines are none; noise of one count is none.

    Args:
        image: (H, W) or (H, W, C), uint8, uint16 or float32 in °C. NaN and infinite pixels do
            not count; an image of nothing else is blank.
    """
    if _is_clearly_shown(image):
        return False
    step = max(1, min(image.shape[:2]) // SAMPLE_SIDE)
    sample = np.ascontiguousarray(image[::step, ::step])
    if sample.dtype.kind == "f":
        finite = np.isfinite(sample)
        if not finite.any():
            return True
        sample = np.where(finite, sample, np.median(sample[finite])).astype(np.float32)
    pixels = cv2.medianBlur(sample, 3)  # takes out what is one pixel wide
    middle = np.median(pixels)
    shown = np.abs(pixels.astype(np.float32) - middle) > BLANK_SPAN[sample.dtype.kind]
    return bool(shown.mean() <= SHOWN_SHARE)


def _is_clearly_shown(image: NDArray[np.generic]) -> bool:
    """Whether a few pixels show a picture, as in nearly every frame: a look at all costs more."""
    step = max(1, min(image.shape[:2]) // COARSE_SIDE)
    sample = np.asarray(image[::step, ::step]).ravel()
    if not np.isfinite(sample).all():
        return False
    outside = sample.size // 100
    ordered = np.partition(sample, (outside, sample.size - 1 - outside))
    span = float(ordered[-1 - outside]) - float(ordered[outside])
    return span > BLANK_SPAN[sample.dtype.kind]
