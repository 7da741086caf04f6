"""The gray images that metrics take."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError

Gray: TypeAlias = NDArray[np.generic]  # (H, W), any number type, values in [0, 255]
Plane: TypeAlias = NDArray[np.float64]  # (H, W)


def planes(*images: Gray, smallest: int = 1) -> list[Plane]:
    """Images as float64 (H, W); one that already is float64 is not copied.

    ImageError when one is not gray, has a side shorter than ``smallest``, or another size.
    """
    arrays = [np.asarray(image, dtype=np.float64, order="C") for image in images]
    shapes = [array.shape for array in arrays]
    if any(len(shape) != 2 for shape in shapes):
        raise ImageError(f"metrics take gray images (H, W), got shapes {shapes}")
    if len(set(shapes)) != 1:
        raise ImageError(f"metrics compare images of one size, got shapes {shapes}")
    if min(shapes[0]) < smallest:
        raise ImageError(f"this metric needs {smallest}×{smallest} pixels, got shape {shapes[0]}")
    return arrays


def levels(image: Gray) -> NDArray[np.uint8]:
    """Rounded to the 256 gray levels, for histograms; what lies outside is put at the end."""
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    return np.rint(np.clip(image.astype(np.float64, copy=False), 0, 255)).astype(np.uint8)
