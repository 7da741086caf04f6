"""The table of degradations: names, strengths and units. It does not need torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dreamif_model.cameras import Camera
from dreamif_model.errors import ConfigError

BOTH = tuple(Camera)
INFRARED, VISIBLE = (Camera.INFRARED,), (Camera.VISIBLE,)


class Kind(NamedTuple):
    """One row of the table of degradations."""

    training: tuple[float, float]  # strengths drawn in training, uniformly
    valid: tuple[float, float]  # strengths accepted
    share: float  # of the draws in training, relative to the others
    cameras: tuple[Camera, ...]  # whose images training degrades like this
    unit: str  # of the strength


# In the order of the imaging chain: scene, optics, exposure, sensor, compression. Noise has 30 of
# the 50 shares of each camera.
DEGRADATIONS: dict[str, Kind] = {
    "haze": Kind((0.5, 4.0), (0.01, 50), 3, VISIBLE, "optical depth of the farthest point"),
    "rain": Kind((0.1, 1.0), (0.01, 1), 3, VISIBLE, "density"),
    "blur": Kind((0.5, 3.0), (0.1, 50), 4, BOTH, "σ in pixels"),
    "low_light": Kind((1.0, 4.0), (0.1, 10), 2, VISIBLE, "stops of light lost"),
    "resize": Kind((1.5, 4.0), (1, 64), 4, BOTH, "factor down and up"),
    "poisson": Kind((20.0, 200.0), (1, 1e6), 7, BOTH, "photons of white"),
    "gaussian": Kind((5.0, 50.0), (0.1, 255), 16, BOTH, "σ in gray levels"),
    "speckle": Kind((0.05, 0.4), (0.001, 10), 7, BOTH, "ε, relative"),
    "drift": Kind((0.2, 0.7), (0.01, 1), 2, INFRARED, "share of contrast lost"),
    "stripes": Kind((2.0, 15.0), (0.1, 255), 4, INFRARED, "σ in gray levels"),
    "dead_pixels": Kind((0.5, 10.0), (0.1, 100), 2, INFRARED, "per mille"),
    "jpeg": Kind((10.0, 80.0), (1, 100), 4, BOTH, "quality"),
}


def check_degradation(name: str, strength: float) -> None:
    """ConfigError for an unknown name or a strength out of range."""
    check_names([name])
    low, high = DEGRADATIONS[name].valid
    if not low <= strength <= high:  # NaN fails this too
        raise ConfigError(
            f"the strength of {name} ({DEGRADATIONS[name].unit}) must be from {low:g} to "
            f"{high:g}, got {strength:g}"
        )


def check_names(names: Sequence[str]) -> None:
    """ConfigError for names that are not in the table."""
    for name in names:
        if name not in DEGRADATIONS:
            known = ", ".join(DEGRADATIONS)
            raise ConfigError(f"unknown degradation {name!r}: choose one of {known}")
