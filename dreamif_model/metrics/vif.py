"""Visual information fidelity of a fused image with respect to its sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dreamif_model.arrays import DoubleImage
from dreamif_model.metrics.filters import gaussian_mean
from dreamif_model.metrics.gray import GrayInput, Measured, images

SCALES = 4
MIN_SIDE = 41  # pixels; a smaller image has nothing left at the fourth scale
NOISE = 2.0  # σn², variance of the eye's own noise in gray levels²
EPSILON = 1e-10


def viff(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """VIFF: visual information of both sources that is kept, VIF(I → F) + VIF(V → F).

    In the pixel domain,
    VIF(S → F) = Σ log10(1 + g² σ_S² / (σ_r² + σn²)) / Σ log10(1 + σ_S² / σn²) over all windows of
    four scales, with g = σ_SF / σ_S², σ_r² = σ_F² - g σ_SF and σn² = 2. Scale k = 1 … 4 has
    Gaussian windows of side n = 2^(5-k) + 1 and σ = n / 5 that lie inside; from the second on the
    images are first blurred by that window and every second pixel is taken.
    A copy of one source scores at least 1; a flat source scores 1.

    Sheikh & Bovik, Image information and visual quality, IEEE TIP 2006; for fusion as in Han et
    al., Information Fusion 2013, here without its weights between windows.

    Args:
        fused: (H, W) gray levels in [0, 255], 41×41 pixels or more.
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        ≥ 0, higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    image, *sources = images(fused, infrared, visible, min_side=MIN_SIDE)
    return sum(_vif(source, image) for source in sources)


def _vif(source: Measured, fused: Measured) -> float:
    kept = whole = 0.0
    for seen, shown in zip(source.once(_pyramid), fused.once(_pyramid), strict=True):
        covariance = _mean(seen.plane * shown.plane, seen.side) - seen.mean * shown.mean
        kept += _information(seen.variance, shown.variance, covariance)
        whole += seen.information
    return kept / whole if whole else 1.0


@dataclass(frozen=True)
class _Scale:
    """An image at one scale, with mean, variance and information of its windows."""

    side: int
    plane: DoubleImage
    mean: DoubleImage
    variance: DoubleImage

    @cached_property
    def information(self) -> float:
        """Σ log10(1 + variance / σn²)."""
        return float(np.log10(1 + self.variance / NOISE).sum())


def _pyramid(image: Measured) -> list[_Scale]:
    plane, found = image.plane, []
    for scale in range(SCALES):
        side = 2 ** (SCALES - scale) + 1
        if scale:
            plane = np.ascontiguousarray(_mean(plane, side)[::2, ::2])
        mean = _mean(plane, side)
        variance = _mean(plane * plane, side) - mean * mean
        variance[variance < EPSILON] = 0.0  # less than rounding leaves
        found.append(_Scale(side, plane, mean, variance))
    return found


def _mean(image: DoubleImage, side: int) -> DoubleImage:
    return gaussian_mean(image, side, side / 5)


def _information(
    variance: DoubleImage, fused_variance: DoubleImage, covariance: DoubleImage
) -> float:
    """Σ log10(1 + g² σ_S² / (σ_r² + σn²)): the source's information in the fused image.

    g is 0 where either image is flat or the contrast is inverted.
    """
    told = (covariance > 0) & (variance > 0) & (fused_variance > 0)
    gain = np.where(told, covariance / (variance + EPSILON), 0.0)
    residual = np.maximum(fused_variance - gain * covariance, EPSILON)
    return float(np.log10(1 + gain * gain * variance / (residual + NOISE)).sum())
