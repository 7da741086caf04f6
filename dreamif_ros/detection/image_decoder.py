"""Turns every kind of image message into the 8-bit pixels that a detector takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros import codec


class ImageDecoder:
    """Decodes messages to uint8, normalizes thermal counts and °C, refuses too large images."""

    def __init__(self, max_megapixels: float) -> None:
        self.max_megapixels = max_megapixels
        self._normalizer = ThermalNormalizer()

    def decode(self, message: codec.ImageMessage) -> NDArray[np.uint8]:
        """(H, W, 3) RGB or (H, W) gray, uint8; ImageError for a message that cannot be that."""
        image = codec.decode(message, self.max_megapixels)
        if image.dtype == np.uint8:
            return image
        if image.ndim == 3:
            raise ImageError("the image has more than 8 bits per colour, expected rgb8 or bgr8")
        return self._normalizer.normalize(image)
