"""How well the edges of an infrared and a visible image agree.

What is bright to one camera may be dark to the other, but edges are at the same places. So we use
normalized gradient fields (Haber & Modersitzki, "Intensity gradient based registration and fusion
of multi-modal images", 2006): the squared cosine of the angle φ between both gradients, which
ignores their sign. Less its mean by chance it is cos² φ - ½ = ½ cos 2φ, the product of two fields
of doubled angles. This module computes those fields.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, GrayOrFloat

Field = NDArray[np.float32]  # (2, H, W): cosine and sine of twice the gradient's angle

SMOOTHING = 1.5  # pixels, σ, at every resolution; edges attract each other over this distance
EDGE = 1.5  # times the mean gradient: a gradient of this strength counts half
MIN_GRADIENT = 1e-3  # per pixel, in [0, 1]: a weaker mean gradient is noise of a blank image
SCORE_WIDTH = 240  # pixels, about, at which a frame is scored


def alignment_score(
    infrared: GrayOrFloat, visible: GrayOrFloat, coverage: FloatImage | None = None
) -> float:
    """Agreement of the edges of two images on the same pixels, in [-1, 1].

    It is the correlation of both fields of doubled gradient angles: 1 for the same edges, 0 for
    unrelated or blank images. Aligned cameras reach 0.2 to 0.6, depending on the scene, so watch
    its changes. coverage: (H, W) in [0, 1], how much each pixel counts.
    """
    first, second = (edge_field(_shrunk(image, SCORE_WIDTH)) for image in (infrared, visible))
    weight = np.ones((), np.float32) if coverage is None else _shrunk(coverage, SCORE_WIDTH)
    return correlation(
        *(float((a * b * weight).sum()) for a, b in ((first, second), (first,) * 2, (second,) * 2))
    )


def edge_strength(image: GrayOrFloat) -> FloatImage:
    """1 on edges, 0 on flat areas."""
    cosine, sine = edge_field(as_float(image))
    return cast("FloatImage", cv2.magnitude(cosine, sine))


def as_float(image: GrayOrFloat) -> FloatImage:
    """Convert uint8 to float32 in [0, 1]; return float32 as it is."""
    if image.dtype == np.uint8:
        return np.multiply(image, np.float32(1 / 255), dtype=np.float32)
    return image.astype(np.float32, copy=False)


def correlation(product: float, energy: float, other_energy: float) -> float:
    """Correlation of two fields, from the sum of their products and the sums of their squares."""
    return product / math.sqrt(energy * other_energy + 1e-12)


def edge_field(image: FloatImage) -> Field:
    """The gradient field of an image, relative to the strength of its own edges."""
    small = smooth(image)
    return gradient_field(small, edge_threshold(small))


def gradient_field(image: FloatImage, threshold: float) -> Field:
    """Cosine and sine of twice the gradient's angle, of length |g|² / (|g|² + threshold)."""
    x, y = gradient(image)
    field = np.empty((2, *image.shape), np.float32)
    product = 2 * x * y
    x *= x
    y *= y
    strength = x + y
    strength += np.float32(threshold)
    x -= y
    np.divide(x, strength, out=field[0])
    np.divide(product, strength, out=field[1])
    return field


def edge_threshold(image: FloatImage) -> float:
    """The squared gradient that counts half, from the mean gradient of an image."""
    mean = float(cv2.magnitude(*gradient(image)).mean())
    return (EDGE * max(mean, MIN_GRADIENT)) ** 2


def smooth(image: FloatImage) -> FloatImage:
    """Gaussian blur with repeated borders."""
    side = 2 * round(3 * SMOOTHING) + 1
    blurred = cv2.GaussianBlur(image, (side, side), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
    return cast("FloatImage", blurred)


def gradient(image: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Central differences along x and y, per pixel."""
    x, y = (
        cv2.Sobel(image, cv2.CV_32F, *axis, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
        for axis in ((1, 0), (0, 1))
    )
    return cast("FloatImage", x), cast("FloatImage", y)


def _shrunk(image: GrayOrFloat, width: int) -> FloatImage:
    """Shrink an image to a width of about ``width`` pixels, by means of whole squares."""
    step = max(1, min(round(image.shape[1] / width), *image.shape))  # a strip is shrunk less
    size = -(-image.shape[1] // step), -(-image.shape[0] // step)
    missing = size[1] * step - image.shape[0], size[0] * step - image.shape[1]
    whole = cv2.copyMakeBorder(as_float(image), 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cast("FloatImage", cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
