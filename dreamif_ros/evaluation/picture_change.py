"""Whether a scene changed between two pictures of one camera, beyond the camera's noise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.bag.recorded_pairs import RecordedImage

SIDE = 64  # pixels of the longer side that are compared: averaging takes noise away
MIN_CHANGE = 10.0  # gray levels by which a pixel changes, and so many times its noise
NOISE_TIMES = 7.0
CHANGED_SHARE = 0.003  # of the pixels
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_GAIN = 6 * 0.6745  # median of the kernel's absolute answer to noise of σ = 1


def changed_clearly(before: RecordedImage, after: RecordedImage) -> bool:
    """Compare two images; False where one cannot be decoded."""
    try:
        first, second = _levels(before.decode()), _levels(after.decode())
    except ImageError:
        return False
    if first.shape != second.shape:
        return True
    factor = max(1.0, max(first.shape[:2]) / SIDE)
    noise = _noise(first) / (3 * factor)  # 3: the blur averages 3×3 pixels
    change = _small(second, factor) - _small(first, factor)
    change = np.abs(change - np.median(change))  # the light may change for all pixels
    change = change if change.ndim == 2 else change.max(axis=-1)
    return bool((change > MIN_CHANGE + NOISE_TIMES * noise).mean() > CHANGED_SHARE)


def _levels(image: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W) or (H, W, 3) in [0, 255]."""
    if image.dtype != np.uint8:
        image = ThermalNormalizer(ThermalConfig(smoothing=1.0)).normalize(image)
    return image.astype(np.float32)


def _small(image: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    height, width = (max(1, round(side / factor)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(small, (3, 3)), np.float32)


def _noise(image: NDArray[np.float32]) -> float:
    """Standard deviation in gray levels."""
    answer = cv2.filter2D(image, cv2.CV_32F, _NOISE_KERNEL)
    return float(np.median(np.abs(answer))) / _NOISE_GAIN
