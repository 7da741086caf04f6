"""Visual information fidelity of a fused image with respect to its sources."""

from __future__ import annotations

import numpy as np

from dreamif_model.metrics.filters import gaussian_mean
from dreamif_model.metrics.gray import Gray, Plane, planes

SCALES = 4
SMALLEST = 41  # pixels; a smaller image has nothing left at the fourth scale
NOISE = 2.0  # σn², variance of the eye's own noise in gray levels²
EPSILON = 1e-10


def viff(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """VIF(I → F) + VIF(V → F) in the pixel domain; ≥ 0, higher is better.

    VIF(S → F) = Σ log10(1 + g² σ_S² / (σ_r² + σn²)) / Σ log10(1 + σ_S² / σn²) over all windows of
    four scales, with g = σ_SF / σ_S², σ_r² = σ_F² - g σ_SF and σn² = 2. Scale k = 1 … 4 has
    Gaussian windows of side n = 2^(5-k) + 1 and σ = n / 5 that lie inside; from the second on the
    images are first blurred by that window and every second pixel is taken.
    A copy of one source already scores at least 1; a flat source scores 1.

    Sheikh & Bovik, Image information and visual quality, IEEE TIP 2006; for fusion as in Han et
    al., Information Fusion 2013, here without its weights between windows. Images of 41×41 pixels
    or more.
    """
    images = planes(fused, infrared, visible, smallest=SMALLEST)
    kept, whole = [0.0, 0.0], [0.0, 0.0]
    for scale in range(SCALES):
        side = 2 ** (SCALES - scale) + 1
        if scale:
            images = [np.ascontiguousarray(_mean(image, side)[::2, ::2]) for image in images]
        fused_plane, *sources = images
        fused_mean = _mean(fused_plane, side)
        fused_variance = _variance(fused_plane, fused_mean, side)
        for i, source in enumerate(sources):
            mean = _mean(source, side)
            variance = _variance(source, mean, side)
            covariance = _mean(source * fused_plane, side) - mean * fused_mean
            kept[i] += _information(variance, fused_variance, covariance)
            whole[i] += float(np.log10(1 + variance / NOISE).sum())
    return sum(k / w if w else 1.0 for k, w in zip(kept, whole, strict=True))


def _mean(image: Plane, side: int) -> Plane:
    return gaussian_mean(image, side, side / 5)


def _variance(image: Plane, mean: Plane, side: int) -> Plane:
    """Of each window; 0 where it is less than rounding leaves."""
    variance = _mean(image * image, side) - mean * mean
    return np.where(variance < EPSILON, 0.0, variance)


def _information(variance: Plane, fused_variance: Plane, covariance: Plane) -> float:
    """Σ log10(1 + g² σ_S² / (σ_r² + σn²)): what the fused image tells of the source.

    Nothing (g = 0) where either is flat or the contrast is inverted.
    """
    told = (covariance > 0) & (variance > 0) & (fused_variance > 0)
    gain = np.where(told, covariance / (variance + EPSILON), 0.0)
    residual = np.maximum(fused_variance - gain * covariance, EPSILON)
    return float(np.log10(1 + gain * gain * variance / (residual + NOISE)).sum())
