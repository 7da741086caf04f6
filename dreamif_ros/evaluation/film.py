"""The pictures of an evaluation: small JPEGs for the report."""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_ros.codec.compressed import compress_jpeg
from dreamif_ros.pictures import Picture

WIDTH = 480  # pixels of a picture of the film
QUALITY = 85  # of its JPEG
MAX_TALL = 4


def small_jpeg(picture: Picture, width: int = WIDTH) -> bytes:
    """A JPEG of the picture, shrunk to at most ``width`` pixels, and MAX_TALL times that high."""
    scale = min(width / picture.shape[1], MAX_TALL * width / picture.shape[0])
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return compress_jpeg(picture, QUALITY)
