"""All that is remembered of one camera."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage, Matrix, to_bytes
from dreamif_model.temporal.blocks import SIDE, block_means, to_pixels
from dreamif_model.temporal.canvas import Placement
from dreamif_model.temporal.colour import MIN_BIAS, ColourMemory, coloured
from dreamif_model.temporal.exposure import fit_exposure
from dreamif_model.temporal.memory import CameraMemory
from dreamif_model.temporal.motion import ROUNDING, View
from dreamif_model.temporal.noise import NoiseMeter
from dreamif_model.temporal.spatial import smooth

EXPOSURE_STEP = 3  # of the blocks' rows and columns, every third tells of a changed exposure
CUT = 0.25  # of the blocks; where fewer agree with the state, it is another scene


class CameraFilter:
    """Removes the noise of one camera. Call :meth:`look` with each frame, then :meth:`clean`.

    Attributes:
        view: what its last frame tells of motion; None where there is no memory or nothing new.
    """

    def __init__(self) -> None:
        self.meter, self._channel_meter = NoiseMeter(), NoiseMeter()
        self.view: View | None = None
        self._memory: CameraMemory | None = None
        self._colour: ColourMemory | None = None
        self._newest: ByteImage | None = None  # the last frame
        self._result: ByteImage | None = None  # what was made of it
        self._frame = self._levels = np.zeros((0, 0), np.float32)

    def look(self, image: ByteImage, place: Placement) -> bool:
        """Measure a frame, (H, W) or (H, W, 3) RGB; whether its noise is to be removed.

        A frame that repeats the last one, of a camera that is frozen, tells nothing new.
        """
        if self._newest is not None and np.array_equal(image, self._newest):
            self.view = None
            return self.meter.noisy
        self._newest, self._result = image.copy(), None
        luma = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        self._frame = luma.astype(np.float32)
        self.meter.measure(self._frame)
        if not self.meter.noisy:
            self._memory = self._colour = self.view = None
            return False
        self._levels = block_means(self._frame)
        if image.ndim == 3:
            self._channel_meter.measure(image[..., 1].astype(np.float32))
        if self._memory:
            self._follow_exposure(place)
            variance = self._sigma**2 / SIDE**2
            self.view = View(self._memory.level, self._memory.count, self._levels, variance)
        return True

    @property
    def _sigma(self) -> float:
        return self.meter.noise.sigma if self.meter.noise else 0.0

    def _follow_exposure(self, place: Placement) -> None:
        assert self._memory
        level, count, now = (
            values[::EXPOSURE_STEP, ::EXPOSURE_STEP]
            for values in (self._memory.level.read(place), self._memory.count.read(place), self._levels)
        )
        known = count >= 1
        variance = self._sigma**2 / SIDE**2 * (1 + 1 / count[known]) + ROUNDING
        found = fit_exposure(level[known], now[known], variance)
        for memory in (self._memory, self._colour):
            if found and memory:
                memory.rescale(*found)

    def move(self, matrix: Matrix) -> None:
        """Move the canvas by (2, 3) of its pixels."""
        for memory in (self._memory, self._colour):
            if memory:
                memory.move(matrix)

    def clean(self, place: Placement, max_frames: float) -> ByteImage:
        """The last frame with less noise; the frame itself if it has little."""
        assert self._newest is not None
        if self._result is None:
            self._result = self._clean(place, max_frames) if self.meter.noisy else self._newest
        return self._result

    def _clean(self, place: Placement, max_frames: float) -> ByteImage:
        mean, gain, variance = self._average(place, max_frames)
        bias, colour = self._unbiased(gain, place)
        if abs(bias).max() > MIN_BIAS:
            mean = cast("FloatImage", cv2.subtract(mean, to_pixels(bias, mean.shape)))
        left = to_pixels(variance * gain, mean.shape)
        luma = cast("GrayImage", cv2.add(smooth(mean, left), 0.0, dtype=cv2.CV_8U))
        return luma if colour is None else coloured(luma, colour)

    def _average(self, place: Placement, max_frames: float):
        shape, noise = self._frame.shape, self.meter.noise
        assert noise
        if self._memory is None:
            self._memory = CameraMemory(shape)
        variance = self._memory.variance(noise, place)
        found = self._memory.add(self._frame, self._levels, variance, place, max_frames)
        if self._memory.kept < CUT:
            self._memory, self._colour = CameraMemory(shape), None
            found = self._memory.add(self._frame, self._levels, variance, place, max_frames)
        return *found, variance

    def _unbiased(self, gain, place):
        """By how much each block is too bright, and the colour, if any, without that."""
        assert self._memory
        assert self._newest is not None
        if self._newest.ndim == 2:
            levels = to_bytes(self._memory.level.read(place))
            return self.meter.noise.bias[levels], None
        if self._colour is None:
            self._colour = ColourMemory(self._frame.shape)
        colour, bias = self._colour.add(self._newest, gain, self._channel_meter.noise, place)
        return bias, colour
