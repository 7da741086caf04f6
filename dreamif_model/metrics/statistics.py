"""Metrics that are sums over the image: gradients, similarity, entropy, correlation, error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import AnyGray, DoubleImage
from dreamif_model.metrics.filters import box_mean, joint_histogram
from dreamif_model.metrics.gray import GrayInput, Measured, images, levels, planes

SSIM_WINDOW = 7  # pixels, side
SAMPLE = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)  # of population to sample covariance


def average_gradient(fused: GrayInput) -> float:
    """AG: mean of sqrt((Gx² + Gy²) / 2).

    Gx, Gy are central differences, one-sided at the borders. Cui et al., Optics Communications
    2015.

    Args:
        fused: (H, W) gray levels in [0, 255], 2×2 pixels or more.

    Returns:
        Gray levels per pixel, ≥ 0; higher is better.

    Raises:
        ImageError: the image has another shape.
    """
    (image,) = planes(fused, min_side=2)
    gy, gx = np.gradient(image)
    return float(np.sqrt((gx * gx + gy * gy) / 2).mean())


def spatial_frequency(fused: GrayInput) -> float:
    """SF: sqrt(mean(Δx²) + mean(Δy²)).

    Δx, Δy are first differences. Eskicioglu & Fisher, IEEE Transactions on Communications 1995.

    Args:
        fused: (H, W) gray levels in [0, 255], 2×2 pixels or more.

    Returns:
        Gray levels, ≥ 0; higher is better.

    Raises:
        ImageError: the image has another shape.
    """
    (image,) = planes(fused, min_side=2)
    dx, dy = np.diff(image, axis=1), np.diff(image, axis=0)
    return math.sqrt(float((dx * dx).mean()) + float((dy * dy).mean()))


def ssim(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """SSIM(F, I) + SSIM(F, V), the structural similarity.

    SSIM = mean of (2 μ_a μ_b + c1) (2 σ_ab + c2) / ((μ_a² + μ_b² + c1) (σ_a² + σ_b² + c2)) over
    the 7×7 windows that lie inside, uniform, sample covariance, c1 = (.01·255)²,
    c2 = (.03·255)². Wang et al., IEEE TIP 2004.

    Args:
        fused: (H, W) gray levels in [0, 255], 7×7 pixels or more.
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        -2 to 2, higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, *sources = images(fused, infrared, visible, min_side=SSIM_WINDOW)
    return sum(_ssim(image, source) for source in sources)


def entropy(fused: GrayInput) -> float:
    """EN: -Σ p log2 p over the 256 gray levels.

    Shannon 1948; for fusion, Roberts et al., Journal of Applied Remote Sensing 2008.

    Args:
        fused: (H, W) gray levels in [0, 255], not empty.

    Returns:
        Bits, 0 to 8; higher is better.

    Raises:
        ImageError: the image has another shape.
    """
    (image,) = images(fused)
    return _bits(np.bincount(image.once(levels).ravel()).astype(np.float64))


def standard_deviation(fused: GrayInput) -> float:
    """SD: sqrt(mean((F - mean F)²)).

    The population's, not a sample's. As in Ma et al., Information Fusion 2019 (a survey).

    Args:
        fused: (H, W) gray levels in [0, 255], not empty.

    Returns:
        Gray levels, 0 to 127.5; higher is better.

    Raises:
        ImageError: the image has another shape.
    """
    (image,) = planes(fused)
    return float(image.std())


def mutual_information(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """MI(F, I) + MI(F, V), the mutual information.

    MI(F, S) = H(F) + H(S) - H(F, S), entropies of the (joint) histogram of 256 gray levels.
    Qu et al., Electronics Letters 2002.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        Bits, 0 to 16; higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, *sources = (image.once(levels) for image in images(fused, infrared, visible))
    total = 0.0
    for source in sources:
        joint = joint_histogram(image, source)
        total += _bits(joint.sum(axis=1)) + _bits(joint.sum(axis=0)) - _bits(joint)
    return max(total, 0.0)  # rounding of a constant image


def sum_of_correlations_of_differences(
    fused: GrayInput, infrared: GrayInput, visible: GrayInput
) -> float:
    """SCD: r(F - V, I) + r(F - I, V) with Pearson's correlation r.

    r is 0 where one of the two is constant, as F - V is when F copies V.
    Aslantas & Bendes, AEU 2015.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        -2 to 2, higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, ir, vi = planes(fused, infrared, visible)
    return _correlation(image - vi, ir) + _correlation(image - ir, vi)


def correlation_coefficient(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """CC: (r(F, I) + r(F, V)) / 2 with Pearson's correlation r.

    r is 0 where one of the two is constant. As in Ma et al., Information Fusion 2019.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        -1 to 1, higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, *sources = planes(fused, infrared, visible)
    return sum(_correlation(image, source) for source in sources) / 2


def psnr(image: AnyGray, reference: AnyGray) -> float:
    """PSNR of one image against another: 10 log10(255² / mean((a - b)²)).

    Args:
        image: (H, W) gray levels in [0, 255].
        reference: likewise, of the same size.

    Returns:
        dB, ≥ 0; infinite if both are equal.

    Raises:
        ImageError: an image has another shape.
    """
    a, b = planes(image, reference)
    return _decibels(_mean_square(a - b))


def fusion_psnr(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """PSNR of fusion tables: 10 log10(255² / ((mse(F, I) + mse(F, V)) / 2)).

    The mean of both sources has the maximum, however it looks. As in Ma et al., Information
    Fusion 2019.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        dB, ≥ 0, infinite if all three are equal; higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, *sources = planes(fused, infrared, visible)
    return _decibels(sum(_mean_square(image - source) for source in sources) / 2)


def _ssim(a: Measured, b: Measured) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    (mean_a, square_a, variance_a), (mean_b, square_b, variance_b) = (
        image.once(_window_moments) for image in (a, b)
    )
    product = mean_a * mean_b
    covariance = SAMPLE * (box_mean(a.plane * b.plane, SSIM_WINDOW) - product)
    similarity = (2 * product + c1) * (2 * covariance + c2)
    similarity /= square_a + square_b + c1
    similarity /= variance_a + variance_b + c2
    return float(similarity.mean())


def _window_moments(image: Measured) -> tuple[DoubleImage, DoubleImage, DoubleImage]:
    """Mean, its square and variance of each window of SSIM."""
    mean = box_mean(image.plane, SSIM_WINDOW)
    square = mean * mean
    return mean, square, SAMPLE * (box_mean(image.plane * image.plane, SSIM_WINDOW) - square)


def _bits(counts: NDArray[np.float64]) -> float:
    """Entropy of a histogram of any shape, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0


def _correlation(a: DoubleImage, b: DoubleImage) -> float:
    """Pearson's correlation; 0 if one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(_mean_square(a) * _mean_square(b))
    return float((a * b).mean()) / scale if scale else 0.0


def _mean_square(image: DoubleImage) -> float:
    return float((image * image).mean())


def _decibels(mean_square: float) -> float:
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
