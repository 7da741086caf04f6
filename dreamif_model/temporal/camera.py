"""All that is remembered of one camera."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, FloatImage, Matrix, RgbImage
from dreamif_model.temporal.blocks import SIDE, block_means, rounded, to_pixels
from dreamif_model.temporal.canvas import Placement
from dreamif_model.temporal.colour import MIN_BIAS, ColourMemory, coloured
from dreamif_model.temporal.exposure import fit_exposure
from dreamif_model.temporal.memory import Averaged, CameraMemory
from dreamif_model.temporal.motion import ROUNDING, View
from dreamif_model.temporal.noise import NoiseMeter
from dreamif_model.temporal.spatial import smooth

EXPOSURE_STEP = 3  # of the blocks' rows and columns, every third tells of a changed exposure
# Frames in the mean, from which on it is smoothed: the network knows better what to do with an
# image that is noisy everywhere, but not with one that is noisy here and there.
SMOOTHED = 1.5
CUT = 0.25  # of the blocks; where fewer agree with the state, it is another scene


class Cleaned(NamedTuple):
    """A frame with less noise.

    image: as the frame. noise: σ of what is left by block, in gray levels.
    """

    image: ByteImage
    noise: FloatImage


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
        self._luma: ByteImage | None = None  # its luma, in an array of its own
        self._result: Cleaned | None = None  # what was made of it
        self._frame = self._levels = np.zeros((0, 0), np.float32)

    def look(self, image: ByteImage, place: Placement) -> bool:
        """Measure a frame, (H, W) or (H, W, 3) RGB; whether its noise is to be removed.

        A frame that repeats the last one, of a camera that is frozen, tells nothing new.
        """
        luma = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._luma is not None and np.array_equal(luma, self._luma):
            self.view = None
            return self.meter.noisy
        self._newest, self._result = image, None
        self._luma = np.array(luma, np.uint8)
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
            for values in (
                self._memory.level.read(place),
                self._memory.count.read(place),
                self._levels,
            )
        )
        known = count >= 1
        noise = np.float32(self._sigma**2 / SIDE**2)
        variance = noise * (np.reciprocal(count[known]) + 1) + np.float32(ROUNDING)
        found = fit_exposure(level[known], now[known], variance)
        for memory in (self._memory, self._colour):
            if found and memory:
                memory.rescale(*found)

    def move(self, matrix: Matrix) -> None:
        """Move the canvas by (2, 3) of its pixels."""
        for memory in (self._memory, self._colour):
            if memory:
                memory.move(matrix)

    def clean(self, place: Placement, max_frames: float, smooths: bool) -> Cleaned:
        """The last frame with less noise; the frame itself if it has little.

        smooths: whether to remove what the mean leaves as well, as far as that can be done.
        """
        assert self._newest is not None
        if self._result is None and self.meter.noisy:
            self._result = self._clean(place, max_frames, smooths)
        if self._result is None:
            blocks = tuple(side // SIDE for side in self._newest.shape[:2])
            self._result = Cleaned(self._newest, np.zeros(blocks, np.float32))
        return self._result

    def _clean(self, place: Placement, max_frames: float, smooths: bool) -> Cleaned:
        averaged = self._average(place, max_frames)
        bias, colour = self._unbiased(averaged.gain, place)
        mean = averaged.mean
        if abs(bias).max() > MIN_BIAS:
            mean = np.asarray(cv2.subtract(mean, to_pixels(bias, mean.shape)), np.float32)
        if smooths and (1 / averaged.gain).mean() > SMOOTHED:
            mean = smooth(mean, to_pixels(averaged.variance, mean.shape))
        luma = rounded(mean)
        image = luma if colour is None else coloured(luma, colour)
        return Cleaned(image, np.sqrt(averaged.variance))

    def _average(self, place: Placement, max_frames: float) -> Averaged:
        """Take the frame into the memory, which begins anew where the scene is another."""
        frame, levels, noise = self._frame, self._levels, self.meter.noise
        assert noise
        if self._memory is None:
            self._memory = CameraMemory(frame.shape)
        averaged = self._memory.add(frame, levels, noise, place, max_frames)
        if self._memory.kept < CUT:
            self._memory, self._colour = CameraMemory(frame.shape), None
            averaged = self._memory.add(frame, levels, noise, place, max_frames)
        return averaged

    def _unbiased(self, gain: FloatImage, place: Placement) -> tuple[FloatImage, RgbImage | None]:
        """By how much each block is too bright, and the colour, if any, without that."""
        assert self._memory
        assert self._newest is not None
        assert self.meter.noise
        if self._newest.ndim == 2:
            return self.meter.noise.bias[rounded(self._memory.level.read(place))], None
        assert self._channel_meter.noise
        if self._colour is None:
            self._colour = ColourMemory(self._frame.shape)
        noise = self._channel_meter.noise
        colour, bias = self._colour.add(self._newest, gain, noise, place)
        return bias, colour
