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
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, Matrix, to_bytes
from dreamif_model.temporal.blocks import SIDE, block_means, to_pixels
from dreamif_model.temporal.canvas import Placement, Plane, lay_gain
from dreamif_model.temporal.noise import ClippedNoise

NEAR = 3  # blocks along each side
MEAN_MARGIN = 6.0  # times the variance of a mean
ENERGY_MARGIN, NEAR_ENERGY_MARGIN = 4.0, 3.0  # times the deviation of a mean square
ENERGY_DEVIATION = math.sqrt(2 / SIDE**2)  # of a block's mean square, relative
SHARPNESS = 4.0  # how much change counts beside noise: 1 has the smallest error, but trails
HALF = 0.5  # of a frame, that a block of the state is worth at least if it is kept


def change(mean: FloatImage, energy: FloatImage, variance: FloatImage) -> FloatImage:
    """c² of each block.

    Args:
        mean: (H / 4, W / 4) of the difference between frame and state.
        energy: mean of its square.
        variance: of it, where nothing moves.
    """
    near_mean, near_energy = (cv2.blur(values, (NEAR, NEAR)) for values in (mean, energy))
    of_mean = variance * np.float32(MEAN_MARGIN / SIDE**2)
    beyond = mean * mean - of_mean
    for candidate in (
        near_mean * near_mean - of_mean / np.float32(NEAR**2),
        energy - variance * np.float32(1 + ENERGY_MARGIN * ENERGY_DEVIATION),
        near_energy - variance * np.float32(1 + NEAR_ENERGY_MARGIN * ENERGY_DEVIATION / NEAR),
    ):
        np.maximum(beyond, candidate, out=beyond)
    return np.maximum(beyond, 0, out=beyond)


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    """Share of the blocks of ``whole`` that are in ``part``; 1 if there are none."""
    size = np.count_nonzero(whole)
    return np.count_nonzero(part) / size if size else 1.0


class Averaged(NamedTuple):
    """What the state made of a frame.

    mean: (H, W). gain: 1/N' by block. variance: of the noise that is left, by block.
    """

    mean: FloatImage
    gain: FloatImage
    variance: FloatImage


class CameraMemory:
    """The state of one camera.

    Args:
        shape: (H, W) of its frames, multiples of 4.

    Attributes:
        level: block means of the state, by which motion is found.
        count: N of each block; 0 where nothing was seen.
        kept: share of the known blocks that the last frame agreed with.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean = Plane(shape, 1, smooth=True)
        self.level, self.count = Plane(shape, SIDE), Plane(shape, SIDE)
        self.kept = 1.0

    def move(self, matrix: Matrix) -> None:
        """Move the canvas: see :meth:`Plane.move`."""
        for plane in (self._mean, self.level, self.count):
            plane.move(matrix)

    def rescale(self, gain: float, offset: float) -> None:
        """Follow a camera whose gray levels became ``gain`` · level + ``offset``."""
        for plane in (self._mean, self.level):
            plane.rescale(gain, offset)

    def add(
        self,
        frame: FloatImage,
        levels: FloatImage,
        noise: ClippedNoise,
        place: Placement,
        max_frames: float,
    ) -> Averaged:
        """Take a frame into the state.

        Args:
            frame: (H, W).
            levels: its block means.
            noise: of it.
            place: where it lies.
            max_frames: N_max.
        """
        count, state = self.count.read(place), self._mean.read(place)
        known = count >= 1
        variance = noise.variance[to_bytes(np.where(known, self.level.read(place), levels))]
        difference = np.asarray(cv2.subtract(frame, state), np.float32)
        worth = known * self._worth(difference, np.maximum(count, 1), variance)
        self.kept = _share(worth > HALF, known)
        count = 1 + np.minimum(worth, np.float32(max_frames - 1))
        gain = np.reciprocal(count)
        step = cv2.multiply(difference, to_pixels(gain, frame.shape), dst=difference)
        mean = np.asarray(cv2.add(state, step), np.float32)
        laid = lay_gain(gain, place)
        self._store(mean, frame, laid, place)
        self.level.blend(levels, laid, place)
        self.count.blend(count, lay_gain(np.ones_like(gain), place), place)
        return Averaged(mean, gain, variance * gain)

    @staticmethod
    def _worth(difference: FloatImage, count: FloatImage, variance: FloatImage) -> FloatImage:
        """How many frames the state of each block is worth."""
        energy = block_means(np.asarray(cv2.multiply(difference, difference), np.float32))
        share = np.reciprocal(count)
        beyond = change(block_means(difference), energy, variance * (share + 1))
        worth: FloatImage = np.reciprocal(share + np.float32(SHARPNESS) * beyond / variance)
        return worth

    def _store(
        self, mean: FloatImage, frame: FloatImage, laid: FloatImage, place: Placement
    ) -> None:
        if place.is_centred:
            self._mean.read(place)[...] = mean
        else:  # laid as it is, which interpolates once; the mean was read from there already
            self._mean.blend(frame, laid, place)
