"""Thermal normalization: camera counts or degrees to gray levels, steadily between frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.pixel_repair import PixelRepair

ThermalMode = Literal["auto", "passthrough", "fixed", "percentile"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)
SAMPLE_STEP = 4  # percentiles look at every fourth row and column
PERCENTILES = (1.0, 99.5)  # of the scene, mapped to 0 and 1
COUNT_C = 0.01  # °C; what a count of most radiometric cameras stands for
PATIENCE = 5  # frames with nothing in common with the range, after which the scene is another
BROKEN_SHARE = 0.1  # of min_span; pixels that stand out by less are not repaired

Range = tuple[float, float]


@dataclass(frozen=True)
class ThermalConfig:
    """How infrared counts, or degrees, become gray levels.

    Attributes:
        mode: ``passthrough`` divides by the full range of the type. ``fixed`` maps ``low`` to
            black and ``high`` to white. ``percentile`` maps the 1st and the 99.5th percentile,
            smoothed over frames. ``auto`` is passthrough for uint8 and percentile for the rest.
        low: counts, or °C for float32 images; for mode ``fixed``.
        high: likewise.
        smoothing: how far each frame moves the range toward its own range, in (0, 1]; 1 follows
            at once.
        min_span: minimum width of the range, in counts, or hundredths of °C for float32 images.
        hot_black: hot is dark and cold is bright.
        repair_pixels: replace dead and stuck pixels first.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    mode: ThermalMode = "auto"
    low: float = 0.0
    high: float = 65535.0
    smoothing: float = 0.03
    min_span: float = 100.0
    hot_black: bool = False
    repair_pixels: bool = False

    def __post_init__(self) -> None:
        if self.mode not in THERMAL_MODES:
            raise ConfigError(
                f"thermal mode {self.mode!r} is unknown: choose one of {', '.join(THERMAL_MODES)}"
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ConfigError(f"thermal low ({self.low}) and high ({self.high}) must be finite")
        if not self.low < self.high:
            raise ConfigError(f"thermal low ({self.low}) must be below high ({self.high})")
        if not 0 < self.smoothing <= 1:
            raise ConfigError(f"thermal smoothing must be in (0, 1], got {self.smoothing}")
        if not 0 < self.min_span < math.inf:
            raise ConfigError(
                f"thermal min_span must be above 0 counts and finite, got {self.min_span}"
            )


class ThermalNormalizer:
    """Maps frames of one thermal camera; keeps the smoothed range between them.

    Assign another ``config`` at any time: the range is kept, and follows from there.
    """

    def __init__(self, config: ThermalConfig | None = None) -> None:
        self.config = config or ThermalConfig()
        self.reset()

    def reset(self) -> None:
        """Forget all frames so far: the next one is the first of another sequence."""
        self._kind: tuple[Any, ...] = ()
        self._range = SteadyRange()
        self._pixels = PixelRepair()

    def normalize(self, image: NDArray[np.generic]) -> NDArray[np.uint8]:
        """(h, w) counts, uint8 or uint16, or °C, float32, to (h, w) gray levels, uint8.

        Hot is bright unless ``hot_black``. NaN is taken as the median of the frame, ±Inf as its
        hottest and coldest pixel. An image of another size or type than the last starts anew.
        Raises ImageError for other shapes and types, for degrees without a finite one, and for
        degrees in mode ``passthrough``.
        """
        self._check(image)
        if self._kind != (image.dtype, image.shape):
            self.reset()
            self._kind = (image.dtype, image.shape)
        values: NDArray[Any] = np.ascontiguousarray(image)
        degrees = image.dtype == np.float32
        if degrees:
            values = finite_degrees(values)
        min_span = self.config.min_span * (COUNT_C if degrees else 1.0)
        if self.config.repair_pixels:
            values = self._pixels.repair(values, BROKEN_SHARE * min_span)
        return _scaled(values, self._bounds(values, min_span), self.config.hot_black)

    def _check(self, image: NDArray[np.generic]) -> None:
        if image.ndim != 2 or image.size == 0:
            raise ImageError(f"the infrared image must be (h, w) and not empty, got {image.shape}")
        if image.dtype not in (np.uint8, np.uint16, np.float32):
            raise ImageError(
                "the infrared image must be uint8 or uint16 counts, or float32 °C, "
                f"got {image.dtype}"
            )
        if image.dtype == np.float32 and self.config.mode == "passthrough":
            raise ImageError(
                "the infrared image must be uint8 or uint16 for thermal mode passthrough, got "
                "float32, which has no full range: choose percentile or fixed"
            )

    def _bounds(self, values: NDArray[Any], min_span: float) -> Range:
        mode = self.config.mode
        if mode == "auto":
            mode = "passthrough" if values.dtype == np.uint8 else "percentile"
        if mode == "passthrough":
            return 0.0, float(np.iinfo(values.dtype).max)
        if mode == "fixed":
            return self.config.low, self.config.high
        found = _percentiles(values[::SAMPLE_STEP, ::SAMPLE_STEP].ravel())
        return self._range.follow(found, self.config.smoothing, min_span)


class SteadyRange:
    """A range that follows those of the frames slowly, and is not led astray by a single one."""

    def __init__(self) -> None:
        self._range: Range | None = None
        self._apart = 0  # frames in a row with nothing in common with the range

    def follow(self, target: Range, smoothing: float, min_span: float) -> Range:
        """Return the range, at least ``min_span`` wide, after a frame with the range ``target``.

        Each end goes ``smoothing`` of its way, a way no longer than the range is wide: a flash
        that fills a part of the picture costs no more than that share of the contrast. A target
        wholly outside the range (a saturated or black frame) is not followed, until the
        :data:`PATIENCE`-th in a row starts anew: another scene, or another gain of the camera.
        """
        if self._range is None or smoothing == 1:
            self._range = target
            return _widened(target, min_span)
        low, high = _widened(self._range, min_span)
        if self._is_another_scene(target, (low, high)):
            self._range = target
        elif not self._apart:
            self._range = _moved(self._range, target, smoothing, high - low)
        return _widened(self._range, min_span)

    def _is_another_scene(self, target: Range, kept: Range) -> bool:
        """Count the frames in a row that lie apart from the kept range; whether it is enough."""
        apart = target[1] < kept[0] or kept[1] < target[0]
        self._apart = (self._apart + 1) % PATIENCE if apart else 0
        return apart and not self._apart


def _moved(kept: Range, target: Range, smoothing: float, longest: float) -> Range:
    """``smoothing`` of the way of each end, which counts as no longer than ``longest``."""
    ways = (max(-longest, min(to - at, longest)) for at, to in zip(kept, target, strict=True))
    low, high = (at + smoothing * way for at, way in zip(kept, ways, strict=True))
    return low, high


def _widened(bounds: Range, min_span: float) -> Range:
    low, high = bounds
    missing = max(0.0, min_span - (high - low))
    return low - missing / 2, high + missing / 2


def _percentiles(sample: NDArray[Any]) -> Range:
    """PERCENTILES of (N,), interpolated as np.percentile does, in a quarter of its time."""
    places = [share / 100 * (sample.size - 1) for share in PERCENTILES]
    below = [int(place) for place in places]
    above = [min(index + 1, sample.size - 1) for index in below]
    ordered = np.partition(sample, (*below, *above))
    low, high = (
        float(ordered[i]) + (place - i) * (float(ordered[j]) - float(ordered[i]))
        for place, i, j in zip(places, below, above, strict=True)
    )
    return low, high


def finite_degrees(degrees: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) °C: the image itself where all of it is finite, or a copy that is.

    As :meth:`ThermalNormalizer.normalize` takes it; ImageError where none of it is finite.
    """
    usable = np.isfinite(degrees)
    if usable.all():
        return degrees
    if not usable.any():
        raise ImageError(
            f"the infrared image must be finite somewhere, got {degrees.shape} of NaN and Inf only"
        )
    known = degrees[usable]
    middle, hottest, coldest = float(np.median(known)), float(known.max()), float(known.min())
    return np.nan_to_num(degrees, nan=middle, posinf=hottest, neginf=coldest)


def _scaled(values: NDArray[Any], bounds: Range, hot_black: bool) -> NDArray[np.uint8]:
    """Map the bounds to 0 and 255, linearly and rounded; what lies outside is clipped."""
    low, high = bounds
    if values.dtype == np.uint8:
        levels = np.rint(np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255))
        table = (255 - levels if hot_black else levels).astype(np.uint8)
        return np.asarray(cv2.LUT(values, table), np.uint8)
    if values.dtype == np.float32:
        values = np.clip(values, low, high)  # OpenCV takes what is beyond 2³¹ for black
    scale = 255 / (high - low)
    gray = cv2.addWeighted(values, scale, values, 0, -low * scale, dtype=cv2.CV_8U)
    return np.asarray(cv2.bitwise_not(gray) if hot_black else gray, np.uint8)
