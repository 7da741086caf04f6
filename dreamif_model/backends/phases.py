"""Convert images to the phases that networks take (pixel unshuffle), and back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage
from dreamif_model.cameras import Both
from dreamif_model.model_files.graph_info import NOISE_STEPS
from dreamif_model.temporal.blocks import SIDE


class PhasePacker:
    """Packs uint8 images into phases, and reuses its buffers for every frame.

    Phase ``s·y + x`` of an image holds the pixels in row y and column x of every s×s cell, as in
    ``torch.nn.functional.pixel_unshuffle``. Infrared comes first, then the channels of visible.
    """

    def __init__(self, stem: int, noise_map: bool = False) -> None:
        self._stem, self._noise_maps = stem, 2 * noise_map
        self._phases: NDArray[np.uint8] = np.empty((1, 0, 0, 0), np.uint8)
        self._levels: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._fused: NDArray[np.uint8] = np.empty((0, 0), np.uint8)

    def pack(
        self, infrared: GrayImage, visible: ByteImage, noise: Both[FloatImage] | None = None
    ) -> NDArray[np.uint8]:
        """Infrared (H, W) and visible (H, W[, C]) to (1, (1 + C)·s², H/s, W/s).

        With ``noise_map`` there are two channels more. The next call overwrites the result.

        noise: σ of both images in gray levels, by block of 4×4 pixels (h, w); it is repeated where
            the images go on, and None stands for 0.
        """
        channels = [visible] if visible.ndim == 2 else list(cv2.split(visible))
        images, cells = [infrared, *channels], self._stem**2
        height, width = infrared.shape[0] // self._stem, infrared.shape[1] // self._stem
        shape = (1, len(images) * cells + self._noise_maps, height, width)
        if self._phases.shape != shape:
            self._phases = np.empty(shape, np.uint8)
        for number, image in enumerate(images):
            self._split(np.ascontiguousarray(image), self._phases[0, number * cells :])
        if self._noise_maps:
            self._lay_noise(noise, self._phases[0, -self._noise_maps :])
        return self._phases

    def _lay_noise(self, noise: Both[FloatImage] | None, planes: NDArray[np.uint8]) -> None:
        if noise is None:
            planes[:] = 0
            return
        for levels, plane in zip(noise, planes, strict=True):
            steps = cv2.convertScaleAbs(levels, alpha=NOISE_STEPS)
            if self._stem != SIDE:
                scale, nearest = SIDE / self._stem, cv2.INTER_NEAREST
                steps = cv2.resize(steps, None, fx=scale, fy=scale, interpolation=nearest)
            below, right = plane.shape[0] - steps.shape[0], plane.shape[1] - steps.shape[1]
            plane[:] = cv2.copyMakeBorder(steps, 0, below, 0, right, cv2.BORDER_REPLICATE)

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
