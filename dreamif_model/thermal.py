"""Thermal normalization: camera counts to [0, 1], steadily from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ConfigError, ImageError

ThermalMode = Literal["auto", "passthrough", "fixed", "percentile"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)
SAMPLE_STEP = 4  # percentiles look at every fourth row and column


@dataclass(frozen=True)
class ThermalConfig:
    """How counts become gray.

    mode: ``passthrough`` divides by the type's full range; ``fixed`` maps ``low``..``high``
    counts; ``percentile`` maps the 1st to the 99.5th percentile, smoothed over frames so that
    a hot object entering does not make the picture pump; ``auto`` is passthrough for 8 bit and
    percentile for 16 bit.
    smoothing: share of the range that each new frame moves, in (0, 1]; 1 follows at once.
    min_span: counts; a scene with less contrast is not stretched further than this.
    """

    mode: ThermalMode = "auto"
    low: float = 0.0
    high: float = 65535.0
    smoothing: float = 0.05
    min_span: float = 100.0

    def __post_init__(self) -> None:
        if self.mode not in THERMAL_MODES:
            raise ConfigError(
                f"thermal mode {self.mode!r} is unknown: choose one of {', '.join(THERMAL_MODES)}"
            )
        if not self.low < self.high:
            raise ConfigError(f"thermal low ({self.low}) must be below high ({self.high})")
        if not 0 < self.smoothing <= 1:
            raise ConfigError(f"thermal smoothing must be in (0, 1], got {self.smoothing}")
        if not self.min_span > 0:
            raise ConfigError(f"thermal min_span must be above 0 counts, got {self.min_span}")


class ThermalNormalizer:
    """Maps frames of one thermal camera; keeps the smoothed range between them."""

    def __init__(self, config: ThermalConfig | None = None) -> None:
        self.config = config or ThermalConfig()
        self._range: tuple[float, float] | None = None

    def normalize(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """(h, w) uint8 or uint16 counts to (h, w) float32 in [0, 1]; hot is bright."""
        if image.ndim != 2 or image.size == 0:
            raise ImageError(f"the infrared image must be (h, w) and not empty, got {image.shape}")
        if image.dtype not in (np.uint8, np.uint16):
            raise ImageError(f"the infrared image must be uint8 or uint16, got {image.dtype}")
        low, high = self._bounds(image)
        scaled = (image.astype(np.float32) - np.float32(low)) / np.float32(high - low)
        return np.clip(scaled, 0, 1, out=scaled)

    def _bounds(self, image: NDArray[Any]) -> tuple[float, float]:
        mode = self.config.mode
        if mode == "auto":
            mode = "passthrough" if image.dtype == np.uint8 else "percentile"
        if mode == "passthrough":
            return 0.0, float(np.iinfo(image.dtype).max)
        if mode == "fixed":
            return self.config.low, self.config.high
        return self._smoothed_percentiles(image)

    def _smoothed_percentiles(self, image: NDArray[Any]) -> tuple[float, float]:
        low, high = np.percentile(image[::SAMPLE_STEP, ::SAMPLE_STEP], (1, 99.5))
        if self._range is None:
            self._range = (float(low), float(high))
        else:
            step, (old_low, old_high) = self.config.smoothing, self._range
            self._range = (old_low + step * (low - old_low), old_high + step * (high - old_high))
        low, high = self._range
        missing = max(0.0, self.config.min_span - (high - low))
        return low - missing / 2, high + missing / 2
