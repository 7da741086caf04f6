"""Makes JPEG pictures for a browser out of image messages."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros import codec
from dreamif_ros.codec.compressed import Format, compress_jpeg
from dreamif_ros.pictures import Picture, gray_to_rgb

QUALITY = 80  # of the JPEG: the page is to look at, not to measure
DEEP_ENCODINGS = ("mono16", "16UC1", "32FC1")
MAX_HEIGHT = 2  # times the maximum width: JPEGs and pages cannot be of any height
SHARES = ThermalConfig(mode="fixed", low=0.0, high=1.0)  # for dominance maps


class Painter:
    """Paints the images of one topic; keeps the thermal range between them.

    width: Maximum width of the picture, in pixels.
    shares: Whether ``32FC1`` images are shares in [0, 1], not °C.
    """

    def __init__(self, width: int, shares: bool = False) -> None:
        self._width = width
        self._normalizer = ThermalNormalizer(SHARES if shares else None)

    def paint(self, message: codec.ImageMessage) -> bytes:
        """The image as a JPEG file; ImageError if it cannot be shown."""
        if _is_deep(message):
            gray = self._normalizer.normalize(codec.decode_infrared(message))
            return self._compress(gray_to_rgb(gray))
        image = codec.decode_visible(message)
        return self._compress(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))

    def _compress(self, picture: NDArray[Any]) -> bytes:
        try:
            return compress_jpeg(self._fitted(picture), QUALITY)
        except cv2.error as error:
            raise ImageError(f"the image cannot be shown: {error.err}") from None

    def _fitted(self, picture: NDArray[Any]) -> Picture:
        """Scale a picture down if it is too large."""
        height, width = picture.shape[:2]
        share = min(1.0, self._width / width, MAX_HEIGHT * self._width / height)
        if share == 1.0:
            return picture
        size = (max(1, round(share * width)), max(1, round(share * height)))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_deep(message: codec.ImageMessage) -> bool:
    """Whether the image has more than 8 bits per pixel and must be normalized first."""
    if hasattr(message, "format"):
        return Format(message.format).is_deep
    return message.encoding in DEEP_ENCODINGS
