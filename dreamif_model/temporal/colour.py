"""The colour of the visible image, remembered at half the size with the gains of its luma."""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, GrayImage, Matrix, RgbImage, as_bytes, with_luma
from dreamif_model.temporal.blocks import rounded, to_pixels
from dreamif_model.temporal.canvas import Placement, Plane, lay_gain
from dreamif_model.temporal.noise import ClippedNoise

SCALE = 2  # cameras' own codecs keep colour at half the size, too
MIN_BIAS = 0.5  # gray levels; a smaller one is not corrected


class ColourMemory:
    """The mean colour of the frames so far; shape: (H, W) of them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean = Plane(shape, SCALE, channels=3)

    def move(self, matrix: Matrix) -> None:
        """Move the canvas: see :meth:`Plane.move`."""
        self._mean.move(matrix)

    def rescale(self, gain: float, offset: float) -> None:
        """Follow a camera whose gray levels became ``gain`` · level + ``offset``."""
        self._mean.rescale(gain, offset)

    def add(
        self, frame: RgbImage, gain: FloatImage, noise: ClippedNoise, place: Placement
    ) -> tuple[RgbImage, FloatImage]:
        """Take a frame into the mean.

        Args:
            frame: (H, W, 3).
            gain: by block.
            noise: of one channel.
            place: where the frame lies.

        Returns:
            The mean colour (H / 2, W / 2, 3), and by how much clipped noise makes the luma of each
            block too bright.
        """
        size = frame.shape[1] // SCALE, frame.shape[0] // SCALE
        half = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32)
        self._mean.blend(half, lay_gain(gain, place), place)
        colour = self._mean.read(place)
        means = cv2.resize(colour, gain.shape[::-1], interpolation=cv2.INTER_AREA)
        bias = noise.bias[rounded(np.asarray(means, np.float32))]
        if abs(bias).max() > MIN_BIAS:
            colour = np.asarray(cv2.subtract(colour, to_pixels(bias, colour.shape)), np.float32)
        luma_bias = cv2.cvtColor(bias, cv2.COLOR_RGB2GRAY)
        return rounded(colour), np.asarray(luma_bias, np.float32)


def coloured(luma: GrayImage, colour: RgbImage) -> RgbImage:
    """RGB (H, W, 3) of a luma (H, W), with the colour of a smaller image."""
    wide = as_bytes(cv2.resize(colour, luma.shape[::-1]))
    return with_luma(wide, as_bytes(cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)), luma)
