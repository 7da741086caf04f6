"""Dead and stuck pixels of a thermal camera, replaced from their neighbours."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)  # the eight neighbours
NOISE_MARGIN = 8.0  # times the noise, beyond all neighbours: above what noise alone reaches
STUCK_FRAMES = 50  # the same value for so long, while the neighbours' change
SAMPLE_STEP = 4  # noise is measured on every fourth row and column

Indices = NDArray[np.intp]  # (N,), of pixels in the flattened image


class PixelRepair:
    """Finds broken pixels of one camera in its frames; keeps how long each has not changed.

    Two signs, each of its own kind of defect. A pixel that stands far out of all eight neighbours
    is broken now: objects of 2×2 pixels and more, lines and edges have a neighbour of their own
    value, and are kept. A pixel that has not changed for :data:`STUCK_FRAMES` while most around it
    have is broken too, whatever its value: that finds dead pixels side by side, up to four, and
    those stuck within the range of the scene.
    """

    def __init__(self) -> None:
        self._before: NDArray[Any] | None = None
        self._unchanged: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)  # frames, up to 255

    def repair(self, image: NDArray[Any], min_step: float) -> NDArray[Any]:
        """Return (h, w) uint8, uint16 or float32, finite, with broken pixels replaced.

        They become the median of the 3×3 pixels around. min_step: in the unit of the image; a
        pixel that stands out by less is never taken for broken by that alone. Frames are of one
        size and type.
        """
        medians = cv2.medianBlur(image, 3)
        repaired = image.copy()
        for broken in (_standing_out(image, medians, min_step), self._stuck(image)):
            repaired.flat[broken] = medians.flat[broken]
        return repaired

    def _stuck(self, image: NDArray[Any]) -> Indices:
        if self._before is None:
            self._unchanged = np.zeros(image.shape, np.uint8)
        else:
            longer = self._unchanged + (self._unchanged < 255)
            self._unchanged = longer * (image == self._before)
        self._before = image.copy()
        around = cv2.medianBlur(self._unchanged, 3)
        return np.flatnonzero((self._unchanged >= STUCK_FRAMES) & (around < STUCK_FRAMES // 2))


def _standing_out(image: NDArray[Any], medians: NDArray[Any], min_step: float) -> Indices:
    """Pixels hotter than the hottest neighbour or colder than the coldest, by far.

    By more than noise does, and by more than the neighbours stand out of the pixels around them:
    the peak of something small, blurred by the lens, has neighbours that are raised too.
    """
    above = cv2.subtract(image, cv2.dilate(image, RING))  # of counts: 0 where it is not above
    below = cv2.subtract(cv2.erode(image, RING), image)
    beyond = cv2.max(above, below)
    sample = np.s_[::SAMPLE_STEP, ::SAMPLE_STEP]
    noise = float(np.median(cv2.absdiff(image[sample], medians[sample])))
    limit = max(min_step, NOISE_MARGIN * noise)
    found = np.flatnonzero(beyond > limit)  # few: costly steps from here
    raised = abs(medians.flat[found] - _wide_medians(image, found))
    return found[beyond.flat[found] > raised]


def _wide_medians(image: NDArray[Any], places: Indices) -> NDArray[np.float64]:
    """Medians of the 5×5 pixels around some, (N,)."""
    padded = cv2.copyMakeBorder(image, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    chosen = windows[np.unravel_index(places, image.shape)].reshape(-1, 25)
    return np.sort(chosen, axis=1)[:, 12].astype(np.float64)
