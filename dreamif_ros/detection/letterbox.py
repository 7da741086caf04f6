"""Places an image in a network's input: scaled to fit, centred, gray bars around it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_BARS = 114  # the gray that YOLO networks are trained with

HeightWidth = tuple[int, int]


@dataclass(frozen=True)
class Letterbox:
    """Where the image's pixels lie in the input; all sizes are (height, width)."""

    image: HeightWidth
    scaled: HeightWidth  # the image in the input
    canvas: HeightWidth  # the input
    offset: HeightWidth  # top, left of the scaled image

    @classmethod
    def fit(cls, image: HeightWidth, limit: HeightWidth, stride: int | None = None) -> Letterbox:
        """Scale an image of this size to fit ``limit`` and centre it, as networks are trained.

        stride: For a network that takes any size: cut the bars so that both sides are multiples of
        it. None: the input has the size ``limit``.
        """
        ratio = min(limit[0] / image[0], limit[1] / image[1])
        height, width = (max(1, round(side * ratio)) for side in image)
        bars = limit[0] - height, limit[1] - width
        if stride:
            bars = bars[0] % stride, bars[1] % stride
        canvas = height + bars[0], width + bars[1]
        return cls(image, (height, width), canvas, (bars[0] // 2, bars[1] // 2))

    def fill(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The input (1, 3, h, w) of an image (H, W, 3) or (H, W), all uint8."""
        height, width = self.scaled
        scaled = image if self.scaled == self.image else cv2.resize(image, (width, height))
        canvas = np.full((*self.canvas, 3), _BARS, np.uint8)
        canvas[self._inside()] = scaled if scaled.ndim == 3 else scaled[..., None]
        return np.ascontiguousarray(canvas.transpose(2, 0, 1))[None]

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4), x1, y1, x2, y2, from the input to the image, clipped to the image."""
        (top, left), (height, width) = self.offset, self.image
        scale = width / self.scaled[1], height / self.scaled[0]
        shifted = boxes - np.array([left, top, left, top], np.float32)
        found = shifted * np.array([*scale, *scale], np.float32)
        return found.clip(0, np.array([width, height, width, height], np.float32))

    def _inside(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.offset, self.scaled
        return slice(top, top + height), slice(left, left + width)
