"""Convert images to the phases that networks take (pixel unshuffle), and back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, GrayImage


class PhasePacker:
    """Packs uint8 images into phases, and reuses its buffers for every frame.

    Phase ``s·y + x`` of an image holds the pixels in row y and column x of every s×s cell, as in
    ``torch.nn.functional.pixel_unshuffle``. Infrared comes first, then the channels of visible.
    """

    def __init__(self, stem: int) -> None:
        self._stem = stem
        self._phases: NDArray[np.uint8] = np.empty((1, 0, 0, 0), np.uint8)
        self._levels: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._fused: NDArray[np.uint8] = np.empty((0, 0), np.uint8)

    def pack(self, infrared: GrayImage, visible: ByteImage) -> NDArray[np.uint8]:
        """Infrared (H, W) and visible (H, W[, C]) to (1, (1 + C)·s², H/s, W/s).

        The next call overwrites the result.
        """
        channels = [visible] if visible.ndim == 2 else list(cv2.split(visible))
        images, cells = [infrared, *channels], self._stem**2
        height, width = infrared.shape[0] // self._stem, infrared.shape[1] // self._stem
        shape = (1, len(images) * cells, height, width)
        if self._phases.shape != shape:
            self._phases = np.empty(shape, np.uint8)
        for number, image in enumerate(images):
            self._split(np.ascontiguousarray(image), self._phases[0, number * cells :])
        return self._phases

    def unpack(self, phases: NDArray[np.float32]) -> ByteImage:
        """Gray levels (1, C·s², h, w), 0 or more, to uint8 (H, W), or (H, W, 3) for C = 3.

        The next call overwrites the result.
        """
        _, count, height, width = phases.shape
        stem, cells = self._stem, self._stem**2
        channels = count // cells
        shape = (channels, height * stem, width * stem)
        if self._fused.shape != shape:
            self._levels = np.empty((count * height, width), np.uint8)
            self._fused = np.empty(shape, np.uint8)
        cv2.convertScaleAbs(phases.reshape(-1, width), self._levels)  # rounded, up to 255
        planes = self._levels.reshape(count, height, width)
        for channel in range(channels):
            self._merge(planes[channel * cells :], self._fused[channel])
        if channels == 1:
            fused: GrayImage = self._fused[0]
            return fused
        return np.asarray(cv2.merge(list(self._fused)), np.uint8)

    def _split(self, image: GrayImage, planes: NDArray[np.uint8]) -> None:
        rows = self._rows(image)
        for y in range(self._stem):
            first = y * self._stem
            cv2.split(rows[:, y], list(planes[first : first + self._stem]))

    def _merge(self, planes: NDArray[np.uint8], image: GrayImage) -> None:
        rows = self._rows(image)
        for y in range(self._stem):
            first = y * self._stem
            cv2.merge(list(planes[first : first + self._stem]), rows[:, y])

    def _rows(self, image: GrayImage) -> NDArray[np.uint8]:
        """(H, W) as (H/s, s, W/s, s): cell row, row in the cell, cell column, column in it."""
        stem = self._stem
        height, width = image.shape
        return image.reshape(height // stem, stem, width // stem, stem)
