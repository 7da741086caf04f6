"""How an image lies in a network's input: scaled to fit, centred, gray bars around it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_BARS = 114  # the gray that YOLO networks are trained with

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Letterbox:
    """Where the image's pixels lie; sizes are (height, width)."""

    image: Size
    scaled: Size  # the image in the input
    canvas: Size  # the input
    offset: Size  # top, left of the scaled image

    @classmethod
    def fit(cls, image: Size, limit: Size, stride: int | None = None) -> Letterbox:
        """Fill ``limit`` as far as the image's shape allows, as networks are trained.

        stride: bars are cut to what makes both sides multiples of it, for a network that takes any
        size; without, the input is ``limit``.
        """
        ratio = min(limit[0] / image[0], limit[1] / image[1])
        height, width = (max(1, round(side * ratio)) for side in image)
        bars = limit[0] - height, limit[1] - width
        if stride:
            bars = bars[0] % stride, bars[1] % stride
        canvas = height + bars[0], width + bars[1]
        return cls(image, (height, width), canvas, (bars[0] // 2, bars[1] // 2))

    def fill(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) or (H, W) uint8 to (1, 3, h, w) uint8."""
        height, width = self.scaled
        scaled = image if self.scaled == self.image else cv2.resize(image, (width, height))
        canvas = np.full((*self.canvas, 3), _BARS, np.uint8)
        canvas[self._inside()] = scaled if scaled.ndim == 3 else scaled[..., None]
        return np.ascontiguousarray(canvas.transpose(2, 0, 1))[None]

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 4) x1, y1, x2, y2 in the input to pixels of the image, inside of it."""
        (top, left), (height, width) = self.offset, self.image
        scale = width / self.scaled[1], height / self.scaled[0]
        shifted = boxes - np.array([left, top, left, top], np.float32)
        found = shifted * np.array([*scale, *scale], np.float32)
        return found.clip(0, np.array([width, height, width, height], np.float32))

    def _inside(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.offset, self.scaled
        return slice(top, top + height), slice(left, left + width)
