"""Single pixels of a thermal sensor whose offset is wrong, found while the camera turns.

Such a pixel x differs from its eight neighbours by the same amount, whatever is in front of it::

    d = x − mean(ring),   offset = mean(d) over views of the scene

A small hot lamp differs from its neighbours as well, for as long as the camera looks at it. So a
frame is another view only where the whole picture was displaced, as by a pan: before a scene that
stands still nothing is learned, for minutes or for hours, whatever moves in it. And what is fixed
to a moving camera, such as an aerial, differs from its neighbours by another amount before each
background: d must vary no more than it does at other pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, GrayImage

PERIOD = 4  # frames between two looks, which come between those at the noise
SMALL = 4  # times smaller is the picture in which a displacement is looked for
MIN_SIDE = 16  # pixels of that picture
FAR, MAX_FAR = 1.5, 0.5  # of its pixels, and of its width: by how much a view is displaced
EXPLAINED = 0.75  # of what changed, that the displacement leaves at most
STALE = 16  # looks after which a view is given up: the camera may have turned far at once
AROUND = (5, 5)  # pixels whose mean tells that another thing is seen
MOVED = 4.0  # gray levels by which that mean changes
MIN_VIEWS, MAX_VIEWS = 24, 96  # that tell enough; with more, all count half
MIN_OFFSET = 5.0  # gray levels
CERTAIN = 8.0  # standard errors
STEADY = 1.6  # times the usual deviation of d
ALONE = 2.0  # times as far out as any neighbour
CLIP = 64.0  # gray levels that d is clipped to
JUDGED = 8  # views between two judgements
RING = np.array(((1, 1, 1), (1, 0, 1), (1, 1, 1)), np.uint8)
AGAINST_RING = np.array(((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)), np.float32) / 8


class StuckPixels:
    """Corrects the pixels of one camera; it keeps what it learned of them.

    Attributes:
        offsets: of the pixels that are corrected, by their place in the flattened image.
    """

    def __init__(self) -> None:
        self._begin((0, 0))

    def _begin(self, shape: tuple[int, ...]) -> None:
        self.offsets: dict[int, float] = {}
        self._count = self._learned = 0
        self._waited = STALE  # looks since the last view
        self._small: FloatImage | None = None  # the last view, and what was around each pixel
        self._around: FloatImage = np.zeros(shape, np.float32)
        self._views, self._sum, self._power = np.zeros((3, *shape), np.float32)
        self._places, self._taken = np.zeros(0, np.intp), np.zeros(0, np.float32)

    def filter(self, image: GrayImage) -> GrayImage:
        """Return (h, w) with such pixels corrected, or the image itself where there are none."""
        if image.shape != self._views.shape:
            self._begin(image.shape)
        if self._count % PERIOD == PERIOD // 2 and min(image.shape) >= MIN_SIDE * SMALL:
            self._look(image.astype(np.float32))
        self._count += 1
        if not self.offsets:
            return image
        corrected = image.copy()
        levels = corrected.flat[self._places] - self._taken
        corrected.flat[self._places] = np.rint(levels.clip(0, 255)).astype(np.uint8)
        return corrected

    def _look(self, frame: FloatImage) -> None:
        """Learn from the frame where it shows another view."""
        size = frame.shape[1] // SMALL, frame.shape[0] // SMALL
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32)
        displaced = self._small is not None and _displaced(self._small, small)
        self._waited += 1
        if not displaced and self._waited < STALE:
            return
        self._waited = 0
        around = np.asarray(cv2.blur(frame, AROUND), np.float32)
        moved = (cv2.absdiff(around, self._around) > MOVED).astype(np.uint8)
        self._small, self._around = small, around
        if not displaced:
            return
        difference = cv2.filter2D(
            frame, cv2.CV_32F, AGAINST_RING, borderType=cv2.BORDER_REFLECT_101
        )
        np.clip(difference, -CLIP, CLIP, out=difference)
        cv2.accumulate(np.ones_like(frame), self._views, moved)
        cv2.accumulate(difference, self._sum, moved)
        cv2.accumulateSquare(difference, self._power, moved)
        self._learned += 1
        if self._learned % JUDGED == 0:
            self._judge()

    def _judge(self) -> None:
        """Tell which pixels are to be corrected."""
        if self._views.max() > MAX_VIEWS:
            for sums in (self._views, self._sum, self._power):
                sums *= 0.5
        known = self._views >= MIN_VIEWS
        if not known.any():
            return
        views = np.maximum(self._views, 1)
        mean = self._sum / views
        deviation = np.sqrt(np.maximum(self._power / views - mean * mean, 0))
        usual = float(np.median(deviation[known]))
        size = np.abs(mean)
        clear = (size > MIN_OFFSET) & (size > CERTAIN * deviation / np.sqrt(views))
        steady = deviation <= STEADY * max(usual, 0.5)
        alone = size > ALONE * cv2.dilate(size, RING)
        self._places = np.flatnonzero(known & clear & steady & alone)
        self._taken = mean.flat[self._places].astype(np.float32)
        self.offsets = dict(zip(self._places.tolist(), self._taken.tolist(), strict=True))


def _displaced(before: FloatImage, now: FloatImage) -> bool:
    """Whether the whole picture moved across the sensor, and little else changed."""
    window = cv2.createHanningWindow(now.shape[::-1], cv2.CV_32F)
    # phaseCorrelate changes its inputs in place.
    (x, y), _ = cv2.phaseCorrelate(before.copy(), now.copy(), window)
    if not FAR < np.hypot(x, y) < MAX_FAR * min(now.shape):
        return False
    shift = np.array([[1, 0, x], [0, 1, y]])
    there = np.asarray(cv2.warpAffine(before, shift, now.shape[::-1], borderValue=-1.0), np.float32)
    seen = there >= 0
    return bool(_unlike(there[seen], now[seen]) < EXPLAINED * _unlike(before[seen], now[seen]))


def _unlike(before: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """Share of the variance that no gain and offset explain."""
    if not (np.ptp(before) and np.ptp(now)):
        return 1.0
    return 1.0 - float(np.corrcoef(before, now)[0, 1]) ** 2
