"""The gray images that metrics take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from dreamif_model.arrays import AnyGray, DoubleImage, GrayImage, RealImage, to_bytes
from dreamif_model.errors import ImageError

Computed = TypeVar("Computed")


class Measured:
    """A gray image, with what metrics computed of it: once, however many ask for it.

    plane: (H, W) float64; an array that already is float64 is not copied. compact: the
    same as float32 where that has sums of a few gray levels exactly, that is, of 8 bit.
    """

    def __init__(self, pixels: AnyGray) -> None:
        self.plane: DoubleImage = np.asarray(pixels, dtype=np.float64, order="C")
        exact = pixels.dtype == np.uint8
        self.compact: RealImage = self.plane.astype(np.float32) if exact else self.plane
        self._known: dict[Callable[..., Any], Any] = {}

    def once(self, compute: Callable[[Measured], Computed]) -> Computed:
        """What ``compute`` makes of this image, kept."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        result: Computed = self._known[compute]
        return result

    def forget(self) -> None:
        """Free what was computed."""
        self._known.clear()


GrayInput: TypeAlias = AnyGray | Measured


def images(*inputs: GrayInput, min_side: int = 1) -> list[Measured]:
    """Inputs of one size, as they are where they are images already.

    ImageError when one is not gray, has a side shorter than ``min_side``, or another size.
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
    """Rounded to the 256 gray levels, for histograms; what lies outside is put at the end."""
    return to_bytes(image.plane)
