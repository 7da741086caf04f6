"""Pairs of images to calibrate from, as gray in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.image_files import find_pairs, read_gray
from dreamif_model.registration.clock_offset import ClockOffset
from dreamif_model.registration.estimate import evenly
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer

Gray = NDArray[np.float32]


@dataclass(frozen=True)
class Footage:
    """infrared: (h, w) each; visible: luma (H, W) each; in [0, 1], of equal times.

    faults: what is wrong with the bag, in words.
    """

    infrared: list[Gray]
    visible: list[Gray]
    available: int  # pairs that there were to choose from
    clock_offset: ClockOffset | None = None
    no_offset: str = "only a bag has stamps"  # why there is none
    faults: tuple[str, ...] = ()


def read_files(infrared: Path, visible: Path) -> Footage:
    """Of two images or two folders of images with equal names."""
    pairs = find_pairs(infrared, visible)
    chosen = evenly(pairs)
    return Footage(
        [thermal_gray(read_gray(pair.infrared)) for pair in chosen],
        [visible_luma(read_gray(pair.visible)) for pair in chosen],
        len(pairs),
    )


def thermal_gray(image: NDArray[np.generic]) -> Gray:
    """(h, w) counts, uint8 or uint16, or °C, float32, to [0, 1], each image by its own range."""
    gray = ThermalNormalizer(ThermalConfig(smoothing=1.0)).normalize(image)
    return gray.astype(np.float32) / np.float32(255)


def visible_luma(image: NDArray[np.generic]) -> Gray:
    """(H, W[, 3]) uint8 RGB to luma in [0, 1]."""
    if image.dtype != np.uint8:
        raise ImageError(f"the visible image is {image.dtype}, expected 8 bit")
    gray = image if image.ndim == 2 else image @ np.array((0.299, 0.587, 0.114), np.float32)
    return gray.astype(np.float32) / np.float32(255)
