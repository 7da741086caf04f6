"""Fusion metrics on gray images in [0, 255].

``fused``, ``infrared`` and ``visible`` are 2-D arrays of one size, luma (BT.601) of colour
images. Papers differ in the details; these are the definitions used everywhere here. Higher is
better for all, but AG and SF also reward noise: never read them alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.errors import ImageError

SSIM_WINDOW = 7  # pixels, side
VIF_SMALLEST = 41  # pixels; a smaller image has nothing left at the fourth scale

Gray = NDArray[np.generic]


def average_gradient(fused: Gray) -> float:
    """AG: mean of sqrt((Gx² + Gy²) / 2), central differences, one-sided at the borders; ≥ 0."""
    gy, gx = torch.gradient(*_tensors(fused, smallest=2))
    return float(((gx**2 + gy**2) / 2).sqrt().mean())


def spatial_frequency(fused: Gray) -> float:
    """SF: sqrt(mean(Δx²) + mean(Δy²)), first differences (Eskicioglu & Fisher 1995); ≥ 0."""
    (image,) = _tensors(fused, smallest=2)
    return float((image.diff(dim=1).square().mean() + image.diff(dim=0).square().mean()).sqrt())


def qabf(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """Edge information kept from both sources (Xydeas & Petrović 2000); 0 to 1.

    Per source, edge strength g and angle α by 3×3 Sobel with zero padding; strength and angle
    preservation through sigmoids (Γ .9994, κ -15, σ .5 and Γ .9879, κ -22, σ .8), multiplied,
    averaged with the source's g as weight.
    """
    image, *sources = _tensors(fused, infrared, visible)
    fused_edges = _edges(image)
    kept, weight = 0.0, 0.0
    for source in sources:
        strength, angle = _edges(source)
        preserved = _edge_preservation(strength, angle, *fused_edges)
        kept += float((preserved * strength).sum())
        weight += float(strength.sum())
    return kept / weight if weight else 0.0


def ssim(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """SSIM(F, IR) + SSIM(F, VI) (Wang et al. 2004); at most 2.

    7×7 uniform window, sample covariance, data range 255, borders left out.
    """
    image, *sources = _tensors(fused, infrared, visible, smallest=SSIM_WINDOW)
    return sum(_ssim(image, source) for source in sources)


def viff(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """VIF(IR → F) + VIF(VI → F), pixel domain (Sheikh & Bovik 2006); ≥ 0.

    Four scales, σn² = 2. A copy of one source already scores at least 1.
    """
    image, *sources = _tensors(fused, infrared, visible, smallest=VIF_SMALLEST)
    return sum(_vif(source, image) for source in sources)


def psnr(image: Gray, reference: Gray) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite where equal."""
    a, b = _tensors(image, reference)
    error = float((a - b).square().mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


METRICS: dict[str, Callable[[Gray, Gray, Gray], float]] = {
    "AG": lambda fused, infrared, visible: average_gradient(fused),  # noqa: ARG005
    "SF": lambda fused, infrared, visible: spatial_frequency(fused),  # noqa: ARG005
    "Qabf": qabf,
    "SSIM": ssim,
    "VIFF": viff,
}


def evaluate(fused: Gray, infrared: Gray, visible: Gray) -> dict[str, float]:
    """All of :data:`METRICS` for one fused image and its (clean) sources."""
    return {name: metric(fused, infrared, visible) for name, metric in METRICS.items()}


def _tensors(*images: Gray, smallest: int = 1) -> list[Tensor]:
    """Images as (H, W) tensors; ImageError when one is not gray, too small or of another size."""
    arrays = [np.asarray(image, dtype=np.float64, order="C") for image in images]
    shapes = [array.shape for array in arrays]
    if any(len(shape) != 2 for shape in shapes):
        raise ImageError(f"metrics take gray images (H, W), got shapes {shapes}")
    if len(set(shapes)) != 1:
        raise ImageError(f"metrics compare images of one size, got shapes {shapes}")
    if min(shapes[0]) < smallest:
        raise ImageError(f"this metric needs {smallest}×{smallest} pixels, got shape {shapes[0]}")
    return [torch.tensor(array) for array in arrays]


def _edges(image: Tensor) -> tuple[Tensor, Tensor]:
    """Strength and angle in [-π/2, π/2] of each pixel's edge."""
    horizontal = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernel = torch.stack((horizontal, horizontal.T.flip(0))).unsqueeze(1)
    gx, gy = F.conv2d(image[None, None], kernel, padding=1)[0]
    angle = torch.where(gx == 0, torch.pi / 2, torch.arctan(gy / gx))
    return (gx**2 + gy**2).sqrt(), angle


def _edge_preservation(
    strength: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor
) -> Tensor:
    stronger = torch.maximum(strength, fused)
    ratio = torch.where(stronger > 0, torch.minimum(strength, fused) / stronger, 0.0)
    alignment = 1 - (angle - fused_angle).abs() / (torch.pi / 2)
    strength_kept = 0.9994 / (1 + torch.exp(-15 * (ratio - 0.5)))
    angle_kept = 0.9879 / (1 + torch.exp(-22 * (alignment - 0.8)))
    return strength_kept * angle_kept


def _ssim(a: Tensor, b: Tensor) -> float:
    side, c1, c2 = SSIM_WINDOW, (0.01 * 255) ** 2, (0.03 * 255) ** 2
    stacked = torch.stack((a, b, a * a, b * b, a * b)).unsqueeze(1)
    mean_a, mean_b, square_a, square_b, product = F.avg_pool2d(stacked, side, stride=1)[:, 0]
    sample = side**2 / (side**2 - 1)  # sample, not population, covariance
    variances = sample * (square_a + square_b - mean_a**2 - mean_b**2)
    covariance = sample * (product - mean_a * mean_b)
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variances + c2)
    )
    return float(similarity.mean())


def _vif(reference: Tensor, distorted: Tensor) -> float:
    """Visual information fidelity of ``distorted`` with respect to ``reference``."""
    noise, epsilon = 2.0, 1e-10
    numerator = denominator = 0.0
    pair = torch.stack((reference, distorted)).unsqueeze(1)  # (2, 1, H, W)
    for scale in range(4):
        window = _gaussian_window(2 ** (4 - scale) + 1)
        if scale:
            pair = _blur(pair, window)[:, :, ::2, ::2]
        moments = torch.cat((pair, pair**2, pair[:1] * pair[1:]))
        mean_r, mean_d, square_r, square_d, product = _blur(moments, window)[:, 0]
        variance_r = (square_r - mean_r**2).clamp(min=0)
        variance_d = (square_d - mean_d**2).clamp(min=0)
        covariance = product - mean_r * mean_d
        gain = covariance / (variance_r + epsilon)
        residual = variance_d - gain * covariance
        flat = variance_r < epsilon
        gain, residual = gain.masked_fill(flat, 0), torch.where(flat, variance_d, residual)
        variance_r = variance_r.masked_fill(flat, 0)
        empty = variance_d < epsilon
        gain, residual = gain.masked_fill(empty, 0), residual.masked_fill(empty, 0)
        negative = gain < 0
        residual = torch.where(negative, variance_d, residual)
        gain, residual = gain.clamp(min=0), residual.clamp(min=epsilon)
        numerator += float(torch.log10(1 + gain**2 * variance_r / (residual + noise)).sum())
        denominator += float(torch.log10(1 + variance_r / noise).sum())
    return numerator / denominator if denominator else 1.0


def _gaussian_window(side: int) -> Tensor:
    x = torch.arange(side, dtype=torch.float64) - side // 2
    window = torch.exp(-(x**2) / (2 * (side / 5) ** 2))
    return window / window.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Separable convolution of (N, 1, H, W), without padding."""
    return F.conv2d(F.conv2d(images, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
