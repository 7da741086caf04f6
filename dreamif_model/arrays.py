"""The arrays that functions exchange, by what they hold, and what several modules do with them.

NumPy's types tell the kind of number only: the shape is in the comment. H×W are the pixels of the
visible image, h×w those of another. Colour is RGB, in this order.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

GrayImage: TypeAlias = NDArray[np.uint8]  # (H, W) gray levels
RgbImage: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
ByteImage: TypeAlias = NDArray[np.uint8]  # (H, W) or (H, W, 3)
# As read from a file: (H, W) or (H, W, 3); float32 holds °C and is (H, W).
StoredImage: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
FloatImage: TypeAlias = NDArray[np.float32]  # (H, W), in [0, 1] where nothing else is said
DoubleImage: TypeAlias = NDArray[np.float64]  # (H, W) gray levels
RealImage: TypeAlias = NDArray[np.float32] | NDArray[np.float64]  # (H, W) gray levels
GrayOrFloat: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]  # (H, W): float in [0, 1]
AnyGray: TypeAlias = NDArray[np.generic]  # (H, W) gray levels in [0, 255], any type of number
FloatPair: TypeAlias = NDArray[np.float32]  # (2, H, W) in [0, 1], infrared first

Points: TypeAlias = NDArray[np.float64]  # (N, 2): x to the right, y down, in pixels
Matrix: TypeAlias = NDArray[np.float64]  # (rows, columns)
Size: TypeAlias = tuple[int, int]  # width, height in pixels


def to_bytes(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round gray levels to uint8; what lies outside 0 to 255 is clipped."""
    rounded: NDArray[np.uint8] = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    return rounded


def as_bytes(image: object) -> ByteImage:
    """Tell mypy that OpenCV returned uint8; its stubs only say that it is an array."""
    assert isinstance(image, np.ndarray)
    return image


def padded(image: ByteImage, multiple: int) -> ByteImage:
    """Repeat the last row and column until both sides are multiples."""
    below, right = -image.shape[0] % multiple, -image.shape[1] % multiple
    if not below and not right:
        return image
    return as_bytes(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE))


def with_luma(rgb: RgbImage, old: GrayImage, new: GrayImage) -> RgbImage:
    """RGB + (new − old luma), saturated; one of the two differences is 0 at every pixel."""
    brighter = cv2.cvtColor(cv2.subtract(new, old), cv2.COLOR_GRAY2RGB)
    darker = cv2.cvtColor(cv2.subtract(old, new), cv2.COLOR_GRAY2RGB)
    raised = cv2.add(rgb, brighter, brighter)
    return as_bytes(cv2.subtract(raised, darker, raised))
