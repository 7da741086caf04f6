"""What a topic carries, as a JPEG that a browser shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.images import codec
from dreamif_ros.images.compressed import Format, compress_jpeg
from dreamif_ros.pictures import Picture, gray_to_rgb

QUALITY = 80  # of the JPEG; the page is for looking, not for measuring
DEEP_ENCODINGS = ("mono16", "16UC1", "32FC1")
TALLEST = 2  # times as high as wide may a picture be: a JPEG has an end, and so has a page
SHARES = ThermalConfig(mode="fixed", low=0.0, high=1.0)  # of a dominance map


class Painter:
    """Paints the images of one topic; keeps the thermal range between them.

    shares: the images are ``32FC1`` shares in [0, 1] rather than °C. width: pixels, at most.
    """

    def __init__(self, width: int, shares: bool = False) -> None:
        self._width = width
        self._normalizer = ThermalNormalizer(SHARES if shares else None)

    def paint(self, message: codec.ImageMessage) -> bytes:
        """A JPEG file of the image; ImageError where it is none that can be shown."""
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
        """Scaled down where it is too large, never up."""
        height, width = picture.shape[:2]
        share = min(1.0, self._width / width, TALLEST * self._width / height)
        if share == 1.0:
            return picture
        size = (max(1, round(share * width)), max(1, round(share * height)))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_deep(message: codec.ImageMessage) -> bool:
    """Whether it has more than 8 bits per pixel: something to normalize first."""
    if hasattr(message, "format"):
        return Format(message.format).is_deep
    return message.encoding in DEEP_ENCODINGS
