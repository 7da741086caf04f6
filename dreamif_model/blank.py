"""Whether an image shows anything at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_STEP = 8  # every eighth row and column tells
DEAD_SHARE = 0.02  # of the pixels may stand out: they are dead ones
BLANK_SPAN = {"u": 1.0, "f": 0.01}  # counts; °C


def is_blank(image: NDArray[np.generic]) -> bool:
    """Whether nearly all pixels have one value: a cap on the lens, a closed shutter.

    image: (H, W) or (H, W, C), uint8, uint16 or float32 in °C. NaN and infinite pixels do not
    count; an image of nothing else is blank.
    """
    sample = np.asarray(image[::SAMPLE_STEP, ::SAMPLE_STEP]).ravel()
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return True
    low, high = np.quantile(sample, (DEAD_SHARE / 2, 1 - DEAD_SHARE / 2))
    return bool(high - low <= BLANK_SPAN[sample.dtype.kind])
