"""A local Wiener filter for noise of known variance."""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage

WINDOW = (3, 3)  # pixels
MARGIN = 1.25  # times the known variance
FLOOR = 1e-3  # of the local variance, which running sums may leave below 0


def smooth(image: FloatImage, variance: FloatImage) -> FloatImage:
    """Smooth (H, W) where it varies no more than noise of ``variance`` (H, W) does.

    With mean m and variance q of the 3×3 pixels around (Lee, Digital image enhancement and noise
    filtering by use of local statistics, 1980)::

        m + max(1 − v/q, 0) · (image − m)
    """
    mean = cv2.blur(image, WINDOW)
    local = cv2.subtract(cv2.blur(cv2.multiply(image, image), WINDOW), cv2.multiply(mean, mean))
    share = cv2.divide(variance, np.maximum(local, np.float32(FLOOR)), scale=-MARGIN)
    share += 1
    detail = cv2.multiply(cv2.subtract(image, mean), np.maximum(share, 0))
    return np.asarray(cv2.add(mean, detail, dst=detail), np.float32)
