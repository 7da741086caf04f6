"""The mean of both images, without a network: the baseline of every comparison."""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage
from dreamif_model.backends.interface import Backend, Layers
from dreamif_model.cameras import Both

_EQUAL = np.full((2, 1, 1), 0.5, np.float32)


class AverageBackend(Backend):
    """Half of infrared and half of the visible luma; dominance is ½ everywhere."""

    name, device, precision, luma, size_multiple = "average", "cpu", "fp32", True, 1

    def fuse(
        self,
        infrared: GrayImage,
        visible: ByteImage,
        restored: bool = False,  # noqa: ARG002
        noise: Both[FloatImage] | None = None,  # noqa: ARG002
    ) -> Layers:
        fused = cv2.addWeighted(infrared, 0.5, visible, 0.5, 0)
        return Layers(fused.astype(np.uint8, copy=False), _EQUAL, None)
