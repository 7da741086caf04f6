"""The gray images that metrics work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from dreamif_model.arrays import AnyGray, DoubleImage, GrayImage, RealImage, to_bytes
from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer

Computed = TypeVar("Computed")


class Measured:
    """A gray image that keeps what metrics computed from it, so that others can use it too.

    Attributes:
        plane: (H, W) float64; not a copy if the array was float64 already.
        compact: the same as float32 if it was uint8, whose sums float32 holds exactly.
    """

    def __init__(self, pixels: AnyGray) -> None:
        self.plane: DoubleImage = np.asarray(pixels, dtype=np.float64, order="C")
        exact = pixels.dtype == np.uint8
        self.compact: RealImage = self.plane.astype(np.float32) if exact else self.plane
        self._known: dict[Callable[..., Any], Any] = {}

    def once(self, compute: Callable[[Measured], Computed]) -> Computed:
        """``compute(self)``, computed at the first call only."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        result: Computed = self._known[compute]
        return result

    def forget(self) -> None:
        """Drop what was computed."""
        self._known.clear()


GrayInput: TypeAlias = AnyGray | Measured


def images(*inputs: GrayInput, min_side: int = 1) -> list[Measured]:
    """Check that the inputs are gray images of one size, and prepare them for metrics.

    ImageError if one is not gray, has a side shorter than ``min_side``, or another size.
    """
    found = [item if isinstance(item, Measured) else Measured(item) for item in inputs]
    shapes = [image.plane.shape for image in found]
    if any(len(shape) != 2 for shape in shapes):
        raise ImageError(f"metrics take gray images (H, W), got shapes {shapes}")
    if len(set(shapes)) != 1:
        raise ImageError(f"metrics compare images of one size, got shapes {shapes}")
    if min(shapes[0]) < min_side:
        raise ImageError(f"this metric needs {min_side}×{min_side} pixels, got shape {shapes[0]}")
    return found


def planes(*inputs: GrayInput, min_side: int = 1) -> list[DoubleImage]:
    """The planes of :func:`images`."""
    return [image.plane for image in images(*inputs, min_side=min_side)]


def levels(image: Measured) -> GrayImage:
    """The image in uint8, for histograms."""
    return to_bytes(image.plane)


def degrees_to_gray(infrared: AnyGray) -> AnyGray:
    """°C, float32, as the gray levels that fusing this image alone shows; others as they are."""
    if infrared.dtype != np.float32:
        return infrared
    return ThermalNormalizer(ThermalConfig(smoothing=1.0)).normalize(infrared)
