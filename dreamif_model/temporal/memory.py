"""A recursive mean of one camera's frames, which starts anew where something moves.

The state S is the mean of the frames so far and N how many they were, per block of 4×4 pixels. A
frame x whose noise has the variance σ² differs from the state by d = x − S. Where nothing moves, d
has the variance v = σ² (1 + 1/N), so its mean over a block the variance v/16 and its mean square
the expectation v. What goes beyond is change, of the mean square::

    c² = max(mean(d)² − 6 v/16,  mean(d²) − v (1 + 4 √(2/16)),  0)

and the same over 3×3 blocks, which finds large objects of low contrast. The state is worth as much
as fewer frames then (a Kalman filter whose process noise is c²)::

    N' = 1 + 1 / (1/N + 4 c²/σ²), at most N_max;    S' = S + d / N'

What moves is taken as it comes, without a trail.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, Matrix
from dreamif_model.temporal.blocks import SIDE, block_means, to_pixels
from dreamif_model.temporal.canvas import Placement, Plane, lay_gain
from dreamif_model.temporal.noise import ClippedNoise
from dreamif_model.temporal.spatial import smooth

NEAR = 3  # blocks along each side
MEAN_MARGIN = 6.0  # times the variance of a mean
ENERGY_MARGIN, NEAR_ENERGY_MARGIN = 4.0, 3.0  # times the deviation of a mean square
ENERGY_DEVIATION = math.sqrt(2 / SIDE**2)  # of a block's mean square, relative
SHARPNESS = 4.0  # how much change counts beside noise: 1 has the smallest error, but trails
MIN_BIAS = 0.5  # gray levels


def change(difference: FloatImage, variance: FloatImage) -> FloatImage:
    """c² of each block, (H / 4, W / 4).

    Args:
        difference: (H, W) frame less state.
        variance: (H / 4, W / 4) of it, where nothing moves.
    """
    mean, near = block_means(difference), (NEAR, NEAR)
    energy = block_means(cv2.multiply(difference, difference))
    near_mean, near_energy = cv2.blur(mean, near), cv2.blur(energy, near)
    of_mean = variance * np.float32(MEAN_MARGIN / SIDE**2)
    candidates = (
        mean * mean - of_mean,
        near_mean * near_mean - of_mean / NEAR**2,
        energy - variance * np.float32(1 + ENERGY_MARGIN * ENERGY_DEVIATION),
        near_energy - variance * np.float32(1 + NEAR_ENERGY_MARGIN * ENERGY_DEVIATION / NEAR),
    )
    beyond = np.maximum.reduce(candidates)
    return cast("FloatImage", np.maximum(beyond, 0, out=beyond))


class CameraMemory:
    """The state of one camera.

    Args:
        shape: (H, W) of its frames, multiples of 4.
        coloured: there is colour beside luma, which is remembered at half the size.

    Attributes:
        level: block means of the state, by which motion is found.
        count: N of each block; 0 where nothing was seen.
    """

    def __init__(self, shape: tuple[int, ...], coloured: bool = False) -> None:
        self._mean = Plane(shape, 1, smooth=True)
        self._colour = Plane(shape, 2, channels=3) if coloured else None
        self.level, self.count = Plane(shape, SIDE), Plane(shape, SIDE)
        self.open = 1.0  # share of the blocks that were averaged, in the last frame

    def planes(self) -> list[Plane]:
        own = [self._mean, self.level, self.count]
        return [*own, self._colour] if self._colour else own

    def move(self, matrix: Matrix) -> None:
        """Move the canvas: see :meth:`Plane.move`."""
        for plane in self.planes():
            plane.move(matrix)

    def rescale(self, gain: float, offset: float) -> None:
        """Follow a camera whose gray levels became ``gain`` · level + ``offset``."""
        for plane in self.planes():
            if plane is not self.count:
                plane.values *= np.float32(gain)
                plane.values += np.float32(offset)

    def add(
        self,
        frame: FloatImage,
        levels: FloatImage,
        noise: ClippedNoise,
        place: Placement,
        most: float,
        colour: FloatImage | None = None,
        colour_noise: ClippedNoise | None = None,
    ) -> tuple[FloatImage, FloatImage | None]:
        """Take a frame into the state.

        Args:
            frame: (H, W) luma.
            levels: its block means.
            noise: of the luma.
            place: where the frame lies.
            most: N_max.
            colour: (H / 2, W / 2, 3) RGB, if the camera has it.
            colour_noise: of one channel of the full size.

        Returns:
            The frame and its colour with less noise.
        """
        state, before = self._mean.read(place), self.level.read(place)
        count = self.count.read(place)
        known = count >= 1
        count = np.maximum(count, 1)
        own = noise.variance[_bytes(before)]
        difference = cv2.subtract(frame, state)
        beyond = change(difference, own * (1 + 1 / count))
        kept = known / (1 / count + np.float32(SHARPNESS) * beyond / own)
        count = 1 + np.minimum(kept, np.float32(most - 1))
        gain = 1 / count
        self.open = float((kept > 0.5).mean())
        result = cv2.add(state, cv2.multiply(difference, to_pixels(gain, frame.shape)))
        laid = lay_gain(gain, place)
        self.level.blend(levels, laid, place)
        self._mean.blend(frame, laid, place)
        self.count.blend(count, lay_gain(np.ones_like(gain), place), place)
        shade, tint = self._unbiased(noise, place, laid, colour, colour_noise)
        if abs(shade).max() > MIN_BIAS:
            result = cv2.subtract(result, to_pixels(shade, frame.shape))
        left = to_pixels(own * gain, frame.shape)
        return smooth(cast("FloatImage", result), left), tint

    def _unbiased(self, noise, place, gain, colour, colour_noise):
        """How much too bright noise makes the luma of each block, and colour without that."""
        if self._colour is None or colour is None or colour_noise is None:
            return noise.bias[_bytes(self.level.read(place))], colour
        self._colour.blend(colour, gain, place)
        tint = self._colour.read(place)
        size = tint.shape[1] // 2, tint.shape[0] // 2
        means = cv2.resize(tint, size, interpolation=cv2.INTER_AREA)
        bias = colour_noise.bias[_bytes(means)]
        if abs(bias).max() > MIN_BIAS:
            tint = tint - to_pixels(bias, tint.shape)
        return cv2.cvtColor(bias, cv2.COLOR_RGB2GRAY), tint


def _bytes(levels):
    return np.clip(levels, 0, 255).astype(np.uint8)
