"""Stripes of a thermal sensor: an offset of each column and of each row, which drifts slowly.

A frame x, less the offsets so far, is compared with its own mean over nine pixels across the
stripes. What is left is averaged along each of them, where edges are clipped::

    m = mean(clip(x − blur(x), ± k)),    k = 3 · 1.25 · mean(abs(x − blur(x)))
    offset' = (1 − LEAK) · offset + m / N

Amplifiers differ by chance, so neighbouring stripes are uncorrelated; a scene's columns are not,
because optics blur them. So the offsets count only where the correlation ρ of neighbours is low and
m is more than noise. No time is needed to tell both, and nothing of a scene that stands still for
long gets into the offsets.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, GrayImage
from dreamif_model.temporal.blocks import rounded

WINDOW = 9  # pixels across the stripes
CLIP = 3 * 1.25  # times the mean absolute value: three deviations of noise
MAX_COUNT = 16.0  # frames that offsets are averaged over
LEAK = 0.01  # per frame; what a scene left in the offsets goes away
MIN_LEVEL = 0.7  # gray levels, σ of stripes that are removed
CORRELATIONS = 0.15, 0.35  # of neighbours, at which a pattern is certainly stripes, or a scene
SURE = 1.3  # times what noise alone makes of m; less is no sign of stripes
PERIOD = 8  # frames between two looks at a sensor without stripes
JUMP = 0.6  # of the level; what is left of new stripes after a shutter
MIN_SIDE = 32  # pixels; of a smaller image nothing is known

Profile = NDArray[np.float32]  # (columns,) or (rows,)


class StripeFilter:
    """Removes the stripes of one camera.

    Attributes:
        level: σ of the offsets in gray levels, as last measured; 0 where nothing is removed.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the offsets."""
        self._columns, self._rows = _Offsets(), _Offsets()
        self._shape: tuple[int, ...] = ()
        self._skipped = PERIOD

    @property
    def level(self) -> float:
        return float(np.hypot(self._columns.level, self._rows.level))

    def filter(self, image: GrayImage) -> GrayImage:
        """Return (h, w) without stripes, or the image itself where there are none."""
        if image.shape != self._shape:
            self.reset()
            self._shape = image.shape
        self._skipped += 1
        if min(image.shape) < MIN_SIDE or (not self.level and self._skipped < PERIOD):
            return image
        self._skipped = 0
        levels = image.astype(np.float32)
        for axis, offsets in enumerate((self._columns, self._rows)):
            found = offsets.follow(levels, axis)
            if offsets.level:
                levels = levels - np.expand_dims(found, axis)
        if not self.level:
            return image
        return rounded(levels)


class _Offsets:
    """The offsets of the columns, or of the rows."""

    def __init__(self) -> None:
        self.level = 0.0
        self._offsets: Profile | None = None
        self._count = 0.0

    def follow(self, image: FloatImage, axis: int) -> Profile:
        """The offsets with the next frame; ``level`` is 0 where they do not count.

        axis: along the stripes.
        """
        if self._offsets is None:
            self._offsets = np.zeros(image.shape[1 - axis], np.float32)
        left, noise = _profile(image - np.expand_dims(self._offsets, axis), axis)
        pattern = self._offsets + left
        level = _deviation(pattern)
        excess = float(np.sqrt(max(0.0, level**2 - (SURE * noise) ** 2)))
        share = np.interp(_correlation(pattern, level, noise), CORRELATIONS, (1.0, 0.0))
        if excess * share < MIN_LEVEL:
            self.level, self._count = 0.0, 0.0
            self._offsets[:] = 0
            return self._offsets
        if _deviation(left) > JUMP * level:
            self._count = 0.0
        self.level, self._count = excess, min(self._count + 1, MAX_COUNT)
        self._offsets *= np.float32(1 - LEAK)
        self._offsets += left / np.float32(self._count)
        limit = CLIP * level
        return cast("Profile", np.clip(self._offsets, -limit, limit) * np.float32(share))


def _profile(image: FloatImage, axis: int) -> tuple[Profile, float]:
    """Means m of the columns (axis 0) or rows (axis 1), and its σ for noise alone."""
    window = (1, WINDOW) if axis else (WINDOW, 1)
    detail = cv2.subtract(image, cv2.blur(image, window))
    limit = CLIP * cv2.norm(detail, cv2.NORM_L1) / detail.size
    np.clip(detail, -limit, limit, out=detail)
    mean = cv2.reduce(detail, axis, cv2.REDUCE_AVG).ravel()
    power = cv2.norm(detail, cv2.NORM_L2SQR) / detail.size - float((mean * mean).mean())
    return cast("Profile", mean), float(np.sqrt(max(power, 0) / image.shape[axis]))


def _deviation(profile: Profile) -> float:
    """σ by the median, on which single poles have no influence."""
    return float(np.median(np.abs(profile - np.median(profile)))) / 0.6745


def _correlation(profile: Profile, level: float, noise: float) -> float:
    """Correlation of neighbours, without single poles and noise; 1 for an empty profile."""
    clipped = np.clip(profile, -3 * level, 3 * level)
    power = float((clipped * clipped).sum()) - profile.size * noise**2
    return float((clipped[1:] * clipped[:-1]).sum()) / power if power > 0 else 1.0
