"""The gray images that metrics take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError

Gray: TypeAlias = NDArray[np.generic]  # (H, W), any number type, values in [0, 255]
Plane: TypeAlias = NDArray[np.float64]  # (H, W)
AnyPlane: TypeAlias = NDArray[np.float32] | NDArray[np.float64]  # (H, W)
Result = TypeVar("Result")


class Image:
    """A gray image, with what metrics computed of it: once, however many ask for it.

    plane: (H, W) float64; an array that already is float64 is not copied. compact: the
    same as float32 where that has sums of a few gray levels exactly, that is, of 8 bit.
    """

    def __init__(self, pixels: Gray) -> None:
        self.plane: Plane = np.asarray(pixels, dtype=np.float64, order="C")
        exact = pixels.dtype == np.uint8
        self.compact: AnyPlane = self.plane.astype(np.float32) if exact else self.plane
        self._known: dict[Callable[..., Any], Any] = {}

    def once(self, compute: Callable[[Image], Result]) -> Result:
        """What ``compute`` makes of this image, kept."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        result: Result = self._known[compute]
        return result

    def forget(self) -> None:
        """Free what was computed."""
        self._known.clear()


def images(*inputs: Gray | Image, smallest: int = 1) -> list[Image]:
    """Inputs of one size, as they are where they are images already.

    ImageError when one is not gray, has a side shorter than ``smallest``, or another size.
    """
    found = [item if isinstance(item, Image) else Image(item) for item in inputs]
    shapes = [image.plane.shape for image in found]
    if any(len(shape) != 2 for shape in shapes):
        raise ImageError(f"metrics take gray images (H, W), got shapes {shapes}")
    if len(set(shapes)) != 1:
        raise ImageError(f"metrics compare images of one size, got shapes {shapes}")
    if min(shapes[0]) < smallest:
        raise ImageError(f"this metric needs {smallest}×{smallest} pixels, got shape {shapes[0]}")
    return found


def planes(*inputs: Gray | Image, smallest: int = 1) -> list[Plane]:
    """The planes of :func:`images`."""
    return [image.plane for image in images(*inputs, smallest=smallest)]


def levels(image: Image) -> NDArray[np.uint8]:
    """Rounded to the 256 gray levels, for histograms; what lies outside is put at the end."""
    return np.rint(np.clip(image.plane, 0, 255)).astype(np.uint8)
