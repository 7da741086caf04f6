"""How noisy each camera of a recording is, and what the memory of a stream took out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, GrayImage
from dreamif_model.cameras import Both
from dreamif_model.temporal.blocks import SIDE
from dreamif_model.temporal.filter import Filtered, TemporalFilter
from dreamif_model.temporal.noise import NoiseMeter
from dreamif_model.temporal.pattern import StripeFilter


@dataclass(frozen=True)
class NoiseFound:
    """The noise of one frame, σ in gray levels; None where an image is too small.

    Attributes:
        cameras: of each camera, without stripes.
        stripes: of the infrared sensor's columns and rows; 0 where there are none.
    """

    cameras: Both[float | None]
    stripes: float


class NoiseWatch:
    """Follows the noise of both cameras as a stream does, but changes nothing."""

    def __init__(self) -> None:
        self._stripes = StripeFilter()
        self._meters = Both.make(lambda _: _Meter())

    def look(self, visible: ByteImage, infrared: GrayImage) -> NoiseFound:
        """Measure the next frame.

        Args:
            visible: (H, W) or (H, W, 3) RGB.
            infrared: (h, w) of the sensor's own pixels.
        """
        luma = visible if visible.ndim == 2 else cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY)
        left = self._stripes.filter(infrared)
        levels = Both(
            self._meters.infrared.look(left), self._meters.visible.look(np.asarray(luma, np.uint8))
        )
        return NoiseFound(levels, self._stripes.level)


class _Meter:
    """A noise meter that begins anew where the image has another size."""

    def __init__(self) -> None:
        self._meter, self._shape = NoiseMeter(), (0, 0)

    def look(self, image: GrayImage) -> float | None:
        height, width = (side // SIDE * SIDE for side in image.shape)
        if not height or not width:
            return None
        if self._shape != (height, width):
            self._meter, self._shape = NoiseMeter(), (height, width)
        self._meter.measure(image[:height, :width].astype(np.float32))
        return self._meter.noise.sigma if self._meter.noise else None


class WatchedFilter(TemporalFilter):
    """Tells what it took out of the last frame.

    Attributes:
        removed: root of the mean square change of each camera's image, in gray levels; of
            infrared with its stripes.
    """

    removed: Both[float] = Both(0.0, 0.0)
    _stripes_removed = 0.0

    def without_stripes(self, infrared: GrayImage) -> GrayImage:
        """See TemporalFilter."""
        left = super().without_stripes(infrared)
        self._stripes_removed = _change(infrared, left)
        return left

    def filter(
        self, visible: ByteImage, infrared: GrayImage, time_s: float | None = None
    ) -> Filtered:
        """See TemporalFilter."""
        cleaned = super().filter(visible, infrared, time_s)
        noise = _change(infrared, cleaned.infrared)
        # Noise and stripes are independent, and measured on images of different sizes.
        total = math.hypot(noise, self._stripes_removed)
        self.removed = Both(total, _change(visible, cleaned.visible))
        return cleaned


def _change(before: ByteImage, after: ByteImage) -> float:
    if after is before:
        return 0.0
    return cv2.norm(before, after, cv2.NORM_L2) / math.sqrt(before.size)
