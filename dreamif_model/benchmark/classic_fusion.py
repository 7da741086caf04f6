"""Fusion without learning, in OpenCV: the time and quality that a network is compared with."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, GrayImage, RgbImage, to_bytes

LEVELS = 4  # of the Laplacian pyramid
RADIUS, EPSILON = 7, 0.01  # of the guided filter: pixels, variance in [0, 1]


def laplacian_pyramid(infrared: GrayImage, visible: RgbImage) -> RgbImage:
    """Take the stronger detail at every level and the mean of the coarsest (Burt & Adelson 1983).

    The chroma is the visible image's.
    """
    ycrcb = cv2.cvtColor(visible, cv2.COLOR_RGB2YCrCb)
    first, second = (_pyramid(np.asarray(image, np.uint8)) for image in (infrared, ycrcb[..., 0]))
    fused = np.asarray((first[-1] + second[-1]) / 2, np.float32)
    for a, b in zip(first[-2::-1], second[-2::-1], strict=True):
        stronger = np.where(abs(a) > abs(b), a, b)
        fused = np.asarray(
            cv2.pyrUp(fused, dstsize=(a.shape[1], a.shape[0])) + stronger, np.float32
        )
    ycrcb[..., 0] = to_bytes(fused)
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB), np.uint8)


def _pyramid(image: GrayImage) -> list[FloatImage]:
    """Details from fine to coarse, then the coarse image that is left."""
    rest = image.astype(np.float32)
    levels = []
    for _ in range(LEVELS):
        smaller = cv2.pyrDown(rest)
        levels.append(rest - cv2.pyrUp(smaller, dstsize=(rest.shape[1], rest.shape[0])))
        rest = np.asarray(smaller, np.float32)
    return [*levels, rest]


def guided_filter(infrared: GrayImage, visible: RgbImage) -> RgbImage:
    """Weight each pixel by the stronger Laplacian, smoothed along edges (Li, Kang & Hu 2013).

    This version has one scale. The chroma is the visible image's.
    """
    ycrcb = cv2.cvtColor(visible, cv2.COLOR_RGB2YCrCb)
    images = [
        np.asarray(image, np.float32) / np.float32(255) for image in (infrared, ycrcb[..., 0])
    ]
    saliency = [cv2.GaussianBlur(abs(cv2.Laplacian(image, -1)), (11, 11), 5) for image in images]
    chosen = (saliency[0] > saliency[1]).astype(np.float32)
    weights = [_guided(images[0], chosen), _guided(images[1], 1 - chosen)]
    fused = (weights[0] * images[0] + weights[1] * images[1]) / (weights[0] + weights[1] + 1e-6)
    ycrcb[..., 0] = to_bytes(fused * 255)
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB), np.uint8)


def _guided(guide: FloatImage, image: FloatImage) -> FloatImage:
    """The guided filter of He, Sun & Tang (2013), by box filters."""
    size = (2 * RADIUS + 1, 2 * RADIUS + 1)
    mean_guide, mean_image = cv2.blur(guide, size), cv2.blur(image, size)
    covariance = cv2.blur(guide * image, size) - mean_guide * mean_image
    slope = covariance / (cv2.blur(guide * guide, size) - mean_guide**2 + EPSILON)
    offset = mean_image - slope * mean_guide
    weights = cv2.blur(slope, size) * guide + cv2.blur(offset, size)
    return np.asarray(np.clip(weights, 0, 1), np.float32)


CLASSIC: dict[str, Callable[[GrayImage, RgbImage], RgbImage]] = {
    "laplacian": laplacian_pyramid,
    "guided": guided_filter,
}
