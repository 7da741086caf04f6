"""The pixels that a detector looks at, of whatever a camera or the fusion publishes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.images import codec


class FrameDecoder:
    """Turns messages into (H, W, 3) RGB or (H, W) gray, uint8; thermal counts and °C normalized.

    max_megapixels: a larger image is an ImageError.
    """

    def __init__(self, max_megapixels: float) -> None:
        self.max_megapixels = max_megapixels
        self._normalizer = ThermalNormalizer()

    def decode(self, message: codec.ImageMessage) -> NDArray[np.uint8]:
        """The picture of a message; ImageError for what is none."""
        image = codec.decode(message, self.max_megapixels)
        if image.dtype == np.uint8:
            return image
        if image.ndim == 3:
            raise ImageError("the image has more than 8 bits per colour, expected rgb8 or bgr8")
        return self._normalizer.normalize(image)
