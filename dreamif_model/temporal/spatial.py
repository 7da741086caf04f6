"""A local Wiener filter for what noise is left of known variance."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage

WINDOW = (3, 3)  # pixels
MARGIN = 1.25  # times the known variance


def smooth(image: FloatImage, variance: FloatImage) -> FloatImage:
    """Smooth (H, W) where it varies no more than noise of ``variance`` (H, W) does.

    With mean m and variance q of the 3×3 pixels around (Lee, Digital image enhancement and noise
    filtering by use of local statistics, 1980)::

        m + max(q − v, 0) / q · (image − m)
    """
    mean = cv2.blur(image, WINDOW)
    local = cv2.blur(cv2.multiply(image, image), WINDOW) - cv2.multiply(mean, mean)
    local = np.maximum(local, np.float32(1e-3))
    share = np.maximum(1 - np.float32(MARGIN) * variance / local, 0)
    return cast("FloatImage", mean + share * (image - mean))
