"""What the two cameras make of the light: tone mapping, noise, vignetting and blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.pinhole import DoubleArray, FloatArray

Integer = TypeVar("Integer", np.int8, np.int16)

COUNTS_PER_KELVIN = 100.0
_ZERO_CELSIUS_K = 273.15
_GAMMA = 1.0 / 2.2
_MARGIN = 64  # how far, in pixels, a noise field may be shifted
_NOISE_UNIT = 24.0  # steps of a noise field per standard deviation
NIGHT = "night"  # in place of a factor of the usual noise: sensors at high gain


@dataclass(frozen=True)
class _VisibleNoise:
    """Variance `shot` · x + `read` of the linear light x in [0, 1]; `limit` in gray levels."""

    shot: float
    read: float
    limit: float


@dataclass(frozen=True)
class _InfraredNoise:
    """Standard deviations in thermal counts: of each frame, and of offsets of the sensor.

    Offsets of columns and rows drift if `drift_s`, the time of a whole cycle, is more than 0.
    """

    read: float
    columns: float
    rows: float
    pixels: float
    drift_s: float = 0.0


_VISIBLE_USUAL = _VisibleNoise(shot=2.0e-4, read=1.0e-6, limit=7.0)
_VISIBLE_NIGHT = _VisibleNoise(shot=4.0e-3, read=3.0e-4, limit=30.0)
_INFRARED_NIGHT = _InfraredNoise(read=130.0, columns=70.0, rows=40.0, pixels=15.0, drift_s=60.0)


def tone(radiance: FloatArray | DoubleArray) -> FloatArray:
    """Map linear radiance to display values in [0, 255]: a soft shoulder, then gamma."""
    exposed = 1.0 - np.exp(-1.9 * np.maximum(radiance, 0.0))
    return np.asarray(255.0 * exposed**_GAMMA, dtype=np.float32)


def counts(celsius: FloatArray | DoubleArray) -> FloatArray:
    """Turn degrees Celsius into thermal counts of 0.01 K."""
    return np.asarray((celsius + _ZERO_CELSIUS_K) * COUNTS_PER_KELVIN, dtype=np.float32)


class VisibleSensor:
    """Shot noise, read noise that gamma lifts in the dark, and vignetting."""

    def __init__(self, size: tuple[int, int], noise: float | str, seed: int) -> None:
        width, height = size
        self._noise = noise
        self._seed = seed
        self._gain = _vignette(width, height)
        rng = np.random.default_rng([seed, 4])
        shape = (height + _MARGIN, width + _MARGIN, 3)
        grain = rng.standard_normal(shape, dtype=np.float32)
        grain = np.asarray(cv2.GaussianBlur(grain, (3, 3), 0.45))  # demosaicing
        unit = np.clip(grain / grain.std() * _NOISE_UNIT, -127, 127)
        self._field = np.rint(unit).astype(np.int8)
        if isinstance(noise, str):
            sigma = _visible_sigma(_VISIBLE_NIGHT)
        else:
            sigma = noise * _visible_sigma(_VISIBLE_USUAL)
        self._sigma = np.clip(sigma * 8.0, 0, 255).astype(np.uint8)

    def capture(self, image: NDArray[np.uint8], time_s: float) -> NDArray[np.uint8]:
        """Return what the sensor reads of a tone mapped image (H, W, 3)."""
        shaded = cv2.multiply(image, self._gain, scale=1.0 / 255.0)
        if self._noise == 0:
            return np.asarray(shaded, dtype=np.uint8)
        sigma = cv2.LUT(shaded, self._sigma)
        noise = cv2.multiply(
            sigma,
            _shifted(self._field, self._seed, time_s),
            scale=1.0 / (8.0 * _NOISE_UNIT),
            dtype=cv2.CV_16S,
        )
        return np.asarray(cv2.add(shaded, noise, dtype=cv2.CV_8U), dtype=np.uint8)


class InfraredSensor:
    """Optical blur, read noise, and the fixed pattern of a microbolometer."""

    def __init__(self, size: tuple[int, int], noise: float | str, seed: int) -> None:
        width, height = size
        self._noise = _INFRARED_NIGHT if isinstance(noise, str) else _usual_infrared(noise)
        self._seed = seed
        rng = np.random.default_rng([seed, 5])
        shape = (height + _MARGIN, width + _MARGIN)
        read = self._noise.read * rng.standard_normal(shape, dtype=np.float32)
        self._field = np.clip(np.rint(read), -32768, 32767).astype(np.int16)
        columns = self._noise.columns * rng.standard_normal((1, width), dtype=np.float32)
        pixels = self._noise.pixels * rng.standard_normal((height, width), dtype=np.float32)
        if self._noise.drift_s:
            # Two waves of one frequency, of independent strengths: at any time as strong.
            later = self._noise.columns * rng.standard_normal((1, width), dtype=np.float32)
            rows = self._noise.rows * rng.standard_normal((2, height, 1), dtype=np.float32)
            self._waves = ((columns, later), (rows[0], rows[1]))
        else:
            pixels += columns
        self._pattern = np.clip(np.rint(pixels), -32768, 32767).astype(np.int16)

    def capture(self, image: NDArray[np.uint16], time_s: float) -> NDArray[np.uint16]:
        """Return what the sensor reads of an image (h, w) of thermal counts."""
        blurred = cv2.GaussianBlur(image, (3, 3), 0.7)
        if self._noise.read == 0:
            return np.asarray(blurred, dtype=np.uint16)
        noise = cv2.add(_shifted(self._field, self._seed, time_s), self._pattern)
        if self._noise.drift_s:
            noise = noise + self._stripes(time_s)
        return np.asarray(cv2.add(blurred, noise, dtype=cv2.CV_16U), dtype=np.uint16)

    def _stripes(self, time_s: float) -> NDArray[np.int16]:
        """Return the offsets (h, w) of columns and rows at a time."""
        angle = 2.0 * math.pi * time_s / self._noise.drift_s
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        columns, rows = (first * cosine + second * sine for first, second in self._waves)
        return np.rint(columns).astype(np.int16) + np.rint(rows).astype(np.int16)


def _usual_infrared(factor: float) -> _InfraredNoise:
    return _InfraredNoise(9.0 * factor, 5.0 * factor, 0.0, 2.5 * factor)


def _vignette(width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    falloff = 255.0 * (1.0 - 0.16 * (0.5 * (x**2 + y**2)) ** 1.5)
    return np.repeat(np.rint(falloff).astype(np.uint8)[..., None], 3, axis=2)


def _visible_sigma(noise: _VisibleNoise) -> FloatArray:
    """Return the deviation (256,) of the noise at each display value."""
    linear = np.maximum(np.arange(256) / 255.0, 0.02) ** (1.0 / _GAMMA)
    slope = _GAMMA * 255.0 * linear ** (_GAMMA - 1.0)
    variance = noise.shot * linear + noise.read
    return np.clip(slope * np.sqrt(variance), 0.0, noise.limit).astype(np.float32)


def _shifted(field: NDArray[Integer], seed: int, time_s: float) -> NDArray[Integer]:
    """Return a window of a noise field; drawing new noise for each frame would be too slow."""
    rng = np.random.default_rng([seed, 6, round(time_s * 1e6)])
    top, left = rng.integers(_MARGIN, size=2)
    rows, columns = field.shape[0] - _MARGIN, field.shape[1] - _MARGIN
    return field[top : top + rows, left : left + columns]
