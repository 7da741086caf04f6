"""The noise level of a camera, measured on its frames.

A camera clips what noise makes darker than black (or brighter than white), which leaves noise there
weaker and one-sided: y = max(0, s + n), n ~ N(0, σ). With z = s / σ, Φ and φ the normal
distribution::

    mean(y) = σ · M(z),  M(z) = z Φ(z) + φ(z)
    var(y)  = σ² · V(z), V(z) = (z² + 1) Φ(z) + z φ(z) − M(z)²

(a rectified Gaussian). √V / M falls with z, so that mean and variance of a block tell z and σ.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage
from dreamif_model.temporal.blocks import SIDE, block_means

LAPLACIAN = np.array(((1, -2, 1), (-2, 4, -2), (1, -2, 1)), np.float32) / 6  # noise σ stays σ
AROUND = (3, 3)  # blocks
PERIOD, FOLLOWING = 8, 0.3  # every eighth frame is measured, and moves the level so far
NOISY, QUIET = 2.0, 1.5  # gray levels at which noise begins to be removed, and ends to be
MIDDLE_ROWS = 240  # that are measured

_Z = np.linspace(-1.5, 4, 111)
_CUMULATIVE = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in _Z])
_DENSITY = np.exp(-0.5 * _Z**2) / math.sqrt(2 * math.pi)
_MEAN = _Z * _CUMULATIVE + _DENSITY
_VARIANCE = (_Z**2 + 1) * _CUMULATIVE + _Z * _DENSITY - _MEAN**2
_RATIO = np.sqrt(_VARIANCE) / _MEAN


def noise_level(frame: FloatImage, before: FloatImage | None = None) -> float:
    """σ of a frame's noise in gray levels: the smaller of two estimates.

    The spatial one takes texture for noise, the temporal one takes motion for it.

    Args:
        frame: (H, W), multiples of 4.
        before: the frame before, of the same size; None if there is none.
    """
    means = np.asarray(cv2.blur(block_means(frame), AROUND), np.float32)
    response = cv2.filter2D(frame, cv2.CV_32F, LAPLACIAN, borderType=cv2.BORDER_REFLECT_101)
    found = _level(means, np.asarray(response, np.float32))
    if before is not None:
        found = min(found, _level(means, (frame - before) * np.float32(math.sqrt(0.5))))
    return found


def _level(means: FloatImage, noise: FloatImage) -> float:
    """Median over blocks of the σ that leaves what is seen, near black and white as well."""
    room = np.minimum(means, 255 - means)
    seen = room > 0
    if not seen.any():
        return 0.0
    power = cv2.blur(block_means(noise * noise), AROUND)[seen]
    deviation = np.sqrt(np.maximum(power, 0))  # a running sum may end below 0
    ratio = np.minimum(deviation / room[seen], _RATIO[0])
    share = np.interp(ratio, _RATIO[::-1], np.sqrt(_VARIANCE)[::-1])
    return float(np.median(deviation / share))


class ClippedNoise:
    """What noise of one level does to gray levels, which are clipped at black and at white.

    Attributes:
        sigma: of the noise before it is clipped.
        variance: (256,) of the noise, where its mean is that gray level.
        bias: (256,) how much brighter the mean is than the scene.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma
        room = np.minimum(np.arange(256), np.arange(255, -1, -1))
        z = np.interp(room / max(sigma, 1e-3), _MEAN, _Z)
        clipped = z < _Z[-1]
        bias = np.where(clipped, room - sigma * np.maximum(z, 0), 0)
        bias[128:] *= -1
        self.bias = _floats(bias)
        self.variance = _floats(np.interp(z, _Z, _VARIANCE) * sigma**2)


class NoiseMeter:
    """Follows the noise level of one camera.

    Attributes:
        noise: of one frame; None before the first.
        noisy: whether it is worth removing.
    """

    def __init__(self) -> None:
        self.noise: ClippedNoise | None = None
        self.noisy = False
        self._count = 0
        self._before: FloatImage | None = None

    def measure(self, frame: FloatImage) -> None:
        """Look at a frame (H, W)."""
        middle = _middle(frame)
        if self._count < 2 or self._count % PERIOD == 0:
            sigma = noise_level(middle, self._before)
            if self.noise and self._count > 1:
                sigma = self.noise.sigma + FOLLOWING * (sigma - self.noise.sigma)
            self.noise = ClippedNoise(sigma)
            self.noisy = sigma > (QUIET if self.noisy else NOISY)
        next_is_due = self._count == 0 or (self._count + 1) % PERIOD == 0
        self._before = middle if next_is_due else None
        self._count += 1


def _middle(frame: FloatImage) -> FloatImage:
    first = max(0, (frame.shape[0] - MIDDLE_ROWS) // (2 * SIDE) * SIDE)
    return frame[first : first + MIDDLE_ROWS]


def _floats(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", values.astype(np.float32))
