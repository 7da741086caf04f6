"""The filters of the metrics, by OpenCV in float64, with the border that each metric defines."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import DoubleImage, RealImage

ZERO_BORDER, MIRROR_BORDER = cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101


def sobel(image: RealImage, border: int, scale: float = 1.0) -> tuple[RealImage, RealImage]:
    """Correlation with the 3×3 Sobel kernels, (H, W) each: x to the right, y upwards."""
    x = cv2.Sobel(image, -1, 1, 0, ksize=3, scale=scale, borderType=border)
    y = cv2.Sobel(image, -1, 0, 1, ksize=3, scale=-scale, borderType=border)
    return cast("RealImage", x), cast("RealImage", y)


def box_mean(image: DoubleImage, side: int) -> DoubleImage:
    """Mean of each side×side window that lies inside: (H - side + 1, W - side + 1); side odd."""
    return _inside(cast("DoubleImage", cv2.boxFilter(image, cv2.CV_64F, (side, side))), side)


def gaussian_mean(image: DoubleImage, side: int, sigma: float) -> DoubleImage:
    """Gaussian mean of each side×side window that lies inside, as :func:`box_mean`."""
    window = cv2.getGaussianKernel(side, sigma, cv2.CV_64F)
    return _inside(cast("DoubleImage", cv2.sepFilter2D(image, cv2.CV_64F, window, window)), side)


def smooth(image: DoubleImage, sigma: float) -> DoubleImage:
    """Gaussian blur of the same size, borders mirrored."""
    return cast("DoubleImage", cv2.GaussianBlur(image, (0, 0), sigma, borderType=MIRROR_BORDER))


def joint_histogram(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> DoubleImage:
    """How often each pair of gray levels meets at one pixel: (256, 256)."""
    counts = cv2.calcHist([a, b], [0, 1], None, [256, 256], [0, 256, 0, 256])
    return counts.astype(np.float64)


def use_one_thread() -> None:
    """Let OpenCV use one thread in this process, because other processes compute beside it."""
    cv2.setNumThreads(1)


def _inside(filtered: DoubleImage, side: int) -> DoubleImage:
    border = side // 2
    return filtered[border : filtered.shape[0] - border, border : filtered.shape[1] - border]
