"""How well the edges of an infrared and a visible image lie on each other.

The cameras share edges, not brightness: what is bright to one may be dark to the other. So
alignment is judged by normalized gradient fields (Haber & Modersitzki, "Intensity gradient based
registration and fusion of multi-modal images", 2006): the squared cosine between both gradients,
which knows no polarity. In excess of chance, cos² φ - ½ = ½ cos 2φ, it is the product of two
fields of doubled angles, which is what this module computes with.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, GrayOrFloat

Field = NDArray[np.float32]  # (2, H, W): cosine and sine of twice the gradient's angle, weighted

SMOOTHING = 1.5  # pixels, σ, at every resolution: edges attract from that far
EDGE = 1.5  # times the mean gradient: one of that strength counts half
MIN_GRADIENT = 1e-3  # per pixel, of [0, 1]: weaker mean gradients are noise of a blank image
SCORE_WIDTH = 240  # pixels, about, at which a frame is scored


def alignment_score(
    infrared: GrayOrFloat, visible: GrayOrFloat, coverage: FloatImage | None = None
) -> float:
    """Agreement of the edges of two (H, W) images, uint8 or float32 in [0, 1], on the same pixels.

    coverage: (H, W) in [0, 1], how much each pixel counts.
    The correlation of both fields of doubled gradient angles, in [-1, 1]: 1 for the same edges,
    0 for unrelated ones. Aligned cameras give 0.2 to 0.6, depending on the scene, so watch its
    changes; blank images give 0.
    """
    first, second = (edge_field(_shrunk(image, SCORE_WIDTH)) for image in (infrared, visible))
    weight = np.ones((), np.float32) if coverage is None else _shrunk(coverage, SCORE_WIDTH)
    return correlation(
        *(float((a * b * weight).sum()) for a, b in ((first, second), (first,) * 2, (second,) * 2))
    )


def edge_strength(image: GrayOrFloat) -> FloatImage:
    """(H, W) in [0, 1] for an image (H, W): 1 on edges, 0 where flat."""
    cosine, sine = edge_field(as_float(image))
    return cast("FloatImage", cv2.magnitude(cosine, sine))


def as_float(image: GrayOrFloat) -> FloatImage:
    """uint8 to float32 in [0, 1]; float32 as it is."""
    if image.dtype == np.uint8:
        return np.multiply(image, np.float32(1 / 255), dtype=np.float32)
    return image.astype(np.float32, copy=False)


def correlation(product: float, energy: float, other_energy: float) -> float:
    """Correlation of two fields, in [-1, 1].

    product: sum of their products. energy, other_energy: sums of their squares.
    """
    return product / math.sqrt(energy * other_energy + 1e-12)


def edge_field(image: FloatImage) -> Field:
    """The gradient field of an image (H, W), relative to the strength of its own edges."""
    small = smooth(image)
    return gradient_field(small, edge_threshold(small))


def gradient_field(image: FloatImage, threshold: float) -> Field:
    """(H, W) to (2, H, W): cosine and sine of twice the gradient's angle.

    Of length |g|² / (|g|² + threshold): 1 on edges, 0 where flat.
    """
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
    """The squared gradient that counts half, by the mean of an image (H, W)."""
    mean = float(cv2.magnitude(*gradient(image)).mean())
    return (EDGE * max(mean, MIN_GRADIENT)) ** 2


def smooth(image: FloatImage) -> FloatImage:
    """Gaussian blur of (H, W), the edges repeated."""
    side = 2 * round(3 * SMOOTHING) + 1
    blurred = cv2.GaussianBlur(image, (side, side), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
    return cast("FloatImage", blurred)


def gradient(image: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Central differences of (H, W) along x and y, per pixel."""
    x, y = (
        cv2.Sobel(image, cv2.CV_32F, *axis, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
        for axis in ((1, 0), (0, 1))
    )
    return cast("FloatImage", x), cast("FloatImage", y)


def _shrunk(image: GrayOrFloat, width: int) -> FloatImage:
    """(H, W) to about ``width`` pixels, means of whole squares."""
    step = max(1, round(image.shape[1] / width))
    size = -(-image.shape[1] // step), -(-image.shape[0] // step)
    missing = size[1] * step - image.shape[0], size[0] * step - image.shape[1]
    whole = cv2.copyMakeBorder(as_float(image), 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cast("FloatImage", cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
