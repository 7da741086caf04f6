"""How a thermal camera's images become gray levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dreamif_model.errors import ConfigError

ThermalMode = Literal["auto", "passthrough", "fixed", "percentile"]
THERMAL_MODES: tuple[str, ...] = get_args(ThermalMode)
ByteOrder = Literal["auto", "as_sent", "swapped"]
BYTE_ORDERS: tuple[str, ...] = get_args(ByteOrder)
NO_CROP = (0, 0, 0, 0)


@dataclass(frozen=True)
class ThermalConfig:
    """How counts or temperatures become gray levels.

    Attributes:
        mode: ``passthrough`` divides by the full range of the type. ``fixed`` maps ``low`` to
            black and ``high`` to white. ``percentile`` maps the 1st percentile to black and the
            99.5th to white, smoothed over frames so that a hot object that enters does not change
            the whole picture; where most of that range is empty (a fire far above the rest), the
            empty part gets half of the gray levels at most. ``auto`` is ``passthrough`` for 8 bit
            and ``percentile`` for everything else.
        low: Counts, or °C for float32 images, shown black in mode ``fixed``.
        high: Counts, or °C for float32 images, shown white in mode ``fixed``.
        smoothing: Share of the way to its own range that each new frame moves the range, in
            (0, 1]; 1 follows at once.
        min_span: Narrowest range that ``percentile`` stretches to full contrast, in counts, or
            in hundredths of °C for float32 images; 0 chooses it from the noise of the images.
        hot_black: Show hot things dark and cold things bright.
        repair_pixels: Replace dead and stuck pixels first.
        byte_order: ``auto`` swaps the bytes of 16-bit pixels where that alone makes sense of the
            image; ``as_sent`` never swaps, ``swapped`` always does.
        crop: Rows and columns to cut off: top, bottom, left, right.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    mode: ThermalMode = "auto"
    low: float = 0.0
    high: float = 65535.0
    smoothing: float = 0.03
    min_span: float = 0.0
    hot_black: bool = False
    repair_pixels: bool = False
    byte_order: ByteOrder = "auto"
    crop: tuple[int, int, int, int] = NO_CROP

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
        if not 0 <= self.min_span < math.inf:
            raise ConfigError(
                f"thermal min_span must be 0 (automatic) or more counts, got {self.min_span}"
            )
        if self.byte_order not in BYTE_ORDERS:
            raise ConfigError(
                f"thermal byte_order {self.byte_order!r} is unknown: choose one of "
                f"{', '.join(BYTE_ORDERS)}"
            )
        object.__setattr__(self, "crop", _checked_crop(self.crop))


def _checked_crop(crop: object) -> tuple[int, int, int, int]:
    """The crop as a tuple; a parameter server gives it as a list, an empty one for none."""
    sides = tuple(crop) if isinstance(crop, (list, tuple)) else ()
    if not sides and crop in ((), []):
        return NO_CROP
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 4 or not whole or min(sides) < 0:
        raise ConfigError(
            "thermal crop must be 4 whole numbers of pixels, 0 or more (top, bottom, left, right), "
            f"got {crop!r}"
        )
    return sides
