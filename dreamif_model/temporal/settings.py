"""What the memory of earlier frames is used for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dreamif_model.errors import ConfigError

TemporalMode = Literal["off", "auto"]
TEMPORAL_MODES: tuple[str, ...] = get_args(TemporalMode)
MAX_FRAMES = 15  # that are averaged at strength 1


@dataclass(frozen=True)
class TemporalConfig:
    """How a stream removes noise before it fuses.

    Attributes:
        mode: ``auto`` removes noise and stripes where they are measured and passes a clean image
            on as it is; ``off`` passes every image on.
        strength: How many frames are averaged where nothing moves, in [0, 1]: 1 for 15 frames,
            0.5 for 8, 0 for the newest alone.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    mode: TemporalMode = "off"
    strength: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in TEMPORAL_MODES:
            raise ConfigError(
                f"temporal mode {self.mode!r} is unknown: choose one of {', '.join(TEMPORAL_MODES)}"
            )
        if not (math.isfinite(self.strength) and 0 <= self.strength <= 1):
            raise ConfigError(f"temporal strength is {self.strength}, expected 0 to 1")

    @property
    def max_frames(self) -> float:
        """N_max of :mod:`dreamif_model.temporal.memory`."""
        return 1 + (MAX_FRAMES - 1) * self.strength
