"""Thermal normalization: counts or temperatures to gray levels, steadily between frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal.byte_order import ByteOrderWatch
from dreamif_model.thermal.gray_range import Range, SteadyRange
from dreamif_model.thermal.pixel_repair import PixelRepair
from dreamif_model.thermal.settings import ThermalConfig
from dreamif_model.thermal.tone_curve import BINS, ToneCurve
from dreamif_model.thermal.unmeasured import (
    EDGE_ROWS,
    MIN_ROWS,
    Unmeasured,
    find_unmeasured,
    only_measured,
    without_rows,
)

SAMPLE_STEP = 4  # percentiles look at every fourth row and column of a large image
SAMPLE_SIDE = 16  # rows and columns that are looked at, of however small an image
PERCENTILES = (1.0, 99.5)  # of the scene, mapped to black and white
COUNT_C = 0.01  # °C; what a count of most radiometric cameras stands for
MIN_SPANS = (10.0, 100.0)  # counts, between which the automatic min_span lies
NOISE_SPANS = 20.0  # times the noise: what the automatic min_span is
NOISE_PERIOD, NOISE_SMOOTHING = 8, 0.2  # it is measured in every eighth frame
NOISE_SIDE = 192  # pixels of the middle part that noise is measured in
BROKEN_SHARE = 0.1  # of min_span; pixels that stand out by less are not repaired
CURVE_LEVELS = 4096  # steps of the range in which a curve is applied
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_GAIN = 6 * 0.6745  # median of the kernel's absolute answer to noise of σ = 1


class ThermalNormalizer:
    """Maps the frames of one thermal camera to gray levels; keeps the range between them.

    Assign another ``config`` at any time: the range is kept, and follows from there.

    Attributes:
        bounds: Counts or °C that the last frame's black and white stand for.
        remarks: What is wrong with the last frame or with how it is shown, in sentences that name
            what to do; empty where nothing is.
        measured: Makes what was measured in the last frame: (h, w) in its unit and type, cropped,
            with its bytes in order; NaN, or 0 in whole numbers, in telemetry rows and the like.
    """

    measured: Callable[[], NDArray[Any]]

    def __init__(self, config: ThermalConfig | None = None) -> None:
        self.config = config or ThermalConfig()
        self.bounds: Range = (0.0, 1.0)
        self.remarks: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forget all frames so far: the next one is the first of another sequence."""
        self._kind: tuple[Any, ...] = ()
        self._range = SteadyRange()
        self._curve = ToneCurve()
        self._pixels = PixelRepair()
        self._bytes = ByteOrderWatch()
        self._noise: float | None = None
        self._frames = 0  # that noise was asked for

    def normalize(self, image: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Map one frame.

        NaN is taken as the median of the frame, ±Inf as its hottest and coldest pixel. An image of
        another size or type than the last starts anew. Telemetry rows are replaced by the nearest
        row of the scene.

        Args:
            image: (h, w) counts, uint8 or uint16, or °C, float32.

        Returns:
            (h, w) gray levels, uint8, less what ``config.crop`` cuts off. Hot is bright unless
            ``config.hot_black``.

        Raises:
            ImageError: The shape or type is another, the crop leaves nothing, no temperature is
                finite, or temperatures came in mode ``passthrough``.
        """
        self._check(image)
        if self._kind != (image.dtype, image.shape):
            self.reset()
            self._kind = (image.dtype, image.shape)
        values = self._cropped(image)
        remarks: list[str] = []
        if values.dtype == np.uint16:
            values = self._in_order(values, remarks)
        sent = values
        if values.dtype == np.float32:
            values = finite_degrees(values)
        found = Unmeasured()
        if values.dtype != np.uint8:
            found = find_unmeasured(values, np.sort(_sample(_middle_rows(values))))
            values = without_rows(values, found.top, found.bottom)
            remarks += _remarks(found, self.config)
        self.measured = partial(only_measured, sent, found)
        min_span = self._min_span(values)
        if self.config.repair_pixels:
            values = self._pixels.repair(values, BROKEN_SHARE * min_span)
        sample = _sample(values)
        ordered = np.sort(sample[sample != 0] if found.zeros else sample)
        gray = self._gray(values, ordered, min_span)
        remarks += self._remarks_on_range(ordered, min_span)
        self.remarks = tuple(remarks)
        return gray

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

    def _cropped(self, image: NDArray[Any]) -> NDArray[Any]:
        top, bottom, left, right = self.config.crop
        height, width = image.shape
        if top + bottom >= height or left + right >= width:
            raise ImageError(
                f"thermal crop {self.config.crop} leaves nothing of an infrared image of "
                f"{width}x{height}: make it smaller"
            )
        return np.ascontiguousarray(image[top : height - bottom, left : width - right])

    def _in_order(self, values: NDArray[Any], remarks: list[str]) -> NDArray[Any]:
        """Counts with their bytes in order."""
        order = self.config.byte_order
        swap = self._bytes.look(values) if order == "auto" else order == "swapped"
        if swap and order == "auto":
            remarks.append(
                "the bytes of its 16-bit pixels are exchanged: they are swapped back; correct "
                "is_bigendian in the driver, or set thermal.byte_order to swapped"
            )
        return values.byteswap() if swap else values

    def _min_span(self, values: NDArray[Any]) -> float:
        """The narrowest range, in the unit of the image."""
        unit = COUNT_C if values.dtype == np.float32 else 1.0
        if self.config.min_span:
            return self.config.min_span * unit
        if self._noise is None or self._frames % NOISE_PERIOD == 0:
            noise = _noise_level(values)
            before = noise if self._noise is None else self._noise
            self._noise = before + NOISE_SMOOTHING * (noise - before)
        self._frames += 1
        return unit * float(np.clip(NOISE_SPANS * self._noise / unit, *MIN_SPANS))

    def _gray(
        self, values: NDArray[Any], ordered: NDArray[Any], min_span: float
    ) -> NDArray[np.uint8]:
        config, mode = self.config, self._mode(values)
        if mode == "passthrough":
            self.bounds = 0.0, float(np.iinfo(values.dtype).max)
        elif mode == "fixed":
            self.bounds = config.low, config.high
        else:
            self.bounds = self._range.follow(_percentiles(ordered), config.smoothing, min_span)
            curve = self._curve.follow(ordered, self.bounds, config.smoothing, min_span)
            if curve is not None:
                return _curved(values, self.bounds, curve, config.hot_black)
        return _scaled(values, self.bounds, config.hot_black)

    def _mode(self, values: NDArray[Any]) -> str:
        if self.config.mode == "auto":
            return "passthrough" if values.dtype == np.uint8 else "percentile"
        return self.config.mode

    def _remarks_on_range(self, ordered: NDArray[Any], min_span: float) -> list[str]:
        """A range that was asked for and shows nothing of a scene that is there."""
        if self.config.mode not in ("fixed", "passthrough"):
            return []
        (low, high), (first, last) = self.bounds, _percentiles(ordered)
        levels = np.clip((np.array((first, last)) - low) / (high - low), 0, 1) * 255
        if last - first <= min_span or np.ptp(np.rint(levels)) > 0:
            return []
        shown = "white" if levels[0] > 127 else "black"
        shown = shown if levels[0] in (0, 255) else "one gray level"
        return [
            f"thermal.mode {self.config.mode} shows everything {shown}: its range is {low:g} to "
            f"{high:g}, and the image lies between {first:g} and {last:g}; set thermal.low and "
            "thermal.high around that, or thermal.mode to percentile"
        ]


def finite_degrees(degrees: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) °C without NaN and Inf: the image itself where all of it is finite, or a copy.

    NaN becomes the median, ±Inf the hottest and coldest pixel; ImageError where none is finite.
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


def _middle_rows(values: NDArray[Any]) -> NDArray[Any]:
    """The rows that hold no telemetry."""
    return values[EDGE_ROWS:-EDGE_ROWS] if values.shape[0] >= MIN_ROWS else values


def _sample(values: NDArray[Any]) -> NDArray[Any]:
    """(N,) pixels spread over the image."""
    step = max(1, min(SAMPLE_STEP, min(values.shape) // SAMPLE_SIDE))
    return values[::step, ::step].ravel()


def _percentiles(ordered: NDArray[Any]) -> Range:
    """PERCENTILES of (N,) sorted values, interpolated as np.percentile does."""
    places = np.array(PERCENTILES) / 100 * (ordered.size - 1)
    low, high = np.interp(places, np.arange(ordered.size), ordered)
    return float(low), float(high)


def _noise_level(values: NDArray[Any]) -> float:
    """Standard deviation of the noise, by a filter that answers to neither slopes nor edges.

    The median of its absolute answers: Immerkær 1996, made robust against texture.
    """
    top, left = (max(0, (side - NOISE_SIDE) // 2) for side in values.shape)
    middle = values[top : top + NOISE_SIDE, left : left + NOISE_SIDE].astype(np.float32)
    answers = np.abs(cv2.filter2D(middle, -1, _NOISE_KERNEL))[middle != 0]  # 0: not measured
    return float(np.median(answers)) / _NOISE_GAIN if answers.size else 0.0


def _remarks(found: Unmeasured, config: ThermalConfig) -> list[str]:
    remarks = []
    if found.top or found.bottom:
        rows = found.top or found.bottom
        where = "first" if found.top else "last"
        both = f" and the last {found.bottom}" if found.top and found.bottom else ""
        crop = [found.top, found.bottom, 0, 0]
        crop = [a + b for a, b in zip(crop, config.crop, strict=True)]
        remarks.append(
            f"the {where} {rows}{both} {'row is' if rows == 1 and not both else 'rows are'} no "
            f"picture (telemetry): left out; to cut them off set thermal.crop to {crop}"
        )
    if found.zeros:
        remarks.append(
            f"{100 * found.zeros:.1f} % of the pixels are 0, far below all others: taken as not "
            "measured (the border of a rectified image; dead pixels: set thermal.repair_pixels)"
        )
    return remarks


def _curved(
    values: NDArray[Any], bounds: Range, curve: NDArray[np.float64], hot_black: bool
) -> NDArray[np.uint8]:
    """Map the range along a curve given at BINS + 1 even places."""
    low, high = bounds
    scale = (CURVE_LEVELS - 1) / (high - low)
    clipped = np.clip(values, low, high).astype(np.float32)
    places = np.rint((clipped - np.float32(low)) * np.float32(scale)).astype(np.uint16)
    even = np.linspace(0, CURVE_LEVELS - 1, BINS + 1)
    levels = np.rint(255 * np.interp(np.arange(CURVE_LEVELS), even, curve))
    table = (255 - levels if hot_black else levels).astype(np.uint8)
    return np.asarray(table[places], np.uint8)


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
