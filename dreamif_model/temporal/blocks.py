"""Blocks of 4×4 pixels, on which motion is judged: their means, and back to pixels."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, FloatImage

SIDE = 4  # pixels; images are padded to multiples of it


def block_means(image: FloatImage) -> FloatImage:
    """(H, W) to (H / 4, W / 4)."""
    size = image.shape[1] // SIDE, image.shape[0] // SIDE
    return cast("FloatImage", cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def to_pixels(blocks: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    """(H / 4, W / 4[, C]) to (H, W[, C]) or another size of the same view, bilinearly."""
    return cast("FloatImage", cv2.resize(blocks, shape[1::-1]))


def rounded(levels: FloatImage) -> ByteImage:
    """Gray levels rounded to uint8; what lies outside of 0 to 255 is clipped."""
    return np.asarray(cv2.convertScaleAbs(cv2.max(levels, 0.0)), np.uint8)  # type: ignore[call-overload]
