"""A local Wiener filter for noise of known variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage

if TYPE_CHECKING:
    from cv2.typing import MatLike

WINDOW = (3, 3)  # pixels
PASSES = (1.1, 0.22)  # times the known variance: what the first pass leaves, the second takes
FLOOR = 1e-3  # of the local variance, which running sums may leave below 0


def smooth(image: FloatImage, variance: FloatImage) -> FloatImage:
    """Smooth (H, W) where it varies no more than noise of ``variance`` (H, W) does.

    With mean m and variance q of the 3×3 pixels around, q averaged over 3×3 pixels once more (Lee,
    Digital image enhancement and noise filtering by use of local statistics, 1980)::

        m + max(1 − v/q, 0) · (image − m)
    """
    for share in PASSES:
        mean = cv2.blur(image, WINDOW)
        local = cv2.subtract(cv2.blur(cv2.multiply(image, image), WINDOW), cv2.multiply(mean, mean))
        kept = cv2.divide(variance, _max(cv2.blur(local, WINDOW), FLOOR), scale=-share)
        kept += 1
        detail = cv2.multiply(cv2.subtract(image, mean), _max(kept, 0.0))
        image = np.asarray(cv2.add(mean, detail, dst=detail), np.float32)
    return image


def _max(image: MatLike, minimum: float) -> MatLike:
    """OpenCV's, which is faster than NumPy's; its stubs do not know that it takes a number."""
    return cv2.max(image, minimum)  # type: ignore[call-overload, no-any-return]
