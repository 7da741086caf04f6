"""Blocks of 4×4 pixels, on which motion is judged: their means, and back to pixels."""

from __future__ import annotations

from typing import cast

import cv2

from dreamif_model.arrays import FloatImage

SIDE = 4  # pixels; images are padded to multiples of it


def block_means(image: FloatImage) -> FloatImage:
    """(H, W) to (H / 4, W / 4)."""
    size = image.shape[1] // SIDE, image.shape[0] // SIDE
    return cast("FloatImage", cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def to_pixels(blocks: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    """(H / 4, W / 4[, C]) to (H, W[, C]) or another size of the same view, bilinearly."""
    return cast("FloatImage", cv2.resize(blocks, shape[1::-1]))
