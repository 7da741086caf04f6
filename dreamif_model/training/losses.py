"""Training losses, each a pure function.

The pixel, gradient, SSIM and colour terms follow the paper's equation 8, dominance is its
equation 9; detail, edge, information, restoration and cells are ours.

All images are (B, C, H, W) in [0, 1], luma if C is 1. ``infrared`` and ``visible`` are the clean
sources, even if the network saw degraded ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamif_model.network import NetworkOutput
from dreamif_model.tensor_images import luma, rgb_to_ycbcr

EDGE_FLOOR = 1e-3  # Sobel strength that counts as flat; a unit step has 1
AGREEMENT = 0.5  # share of the weaker gradient that joins the stronger one of the same sign
CELL = 4  # pixels, side of the largest cell that a network takes as one position
SSIM_WINDOW = 7  # side of the uniform window, as in the SSIM metric
VIF_NOISE = 2.0 / 255**2  # variance of the visual noise, as in the VIFF metric
VIF_FLAT = 0.1 / 255**2  # variance added to a source's, so that flat regions have a gradient


def pixel_loss(fused: Tensor, infrared: Tensor, visible: Tensor, salience: Tensor) -> Tensor:
    """Mean |F - V - a · max(I - V, 0)| with a = (1 + s) / 2 and the salience s in [0, 1].

    The usual target is max(I, V), which paints a dark road gray wherever the thermal image is gray.
    Here infrared brightens the visible image in full only where something is warmer than what
    surrounds it, and by half elsewhere.
    """
    share = (1 + salience) / 2
    return F.l1_loss(fused, visible + share * (infrared - visible).clamp(min=0))


def gradient_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Mean |∇F - ∇M|, where ∇M joins the source gradients for each pixel and direction.

    ∇ is the 3×3 Sobel operator divided by 4 (a unit step edge gives 1), with its sign, so that an
    edge keeps its direction.
    """
    return F.l1_loss(sobel(fused), _joined(sobel(infrared), sobel(visible)))


def detail_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """The gradient loss with differences of neighbouring pixels, which Sobel's operator blurs."""
    parts = []
    for dim in (2, 3):
        target = _joined(infrared.diff(dim=dim), visible.diff(dim=dim))
        parts.append(F.l1_loss(fused.diff(dim=dim), target))
    return torch.stack(parts).mean()


def _joined(infrared: Tensor, visible: Tensor) -> Tensor:
    """The stronger gradient, plus a share of the weaker one where both have the same sign."""
    infrared_is_stronger = infrared.abs() > visible.abs()
    stronger = torch.where(infrared_is_stronger, infrared, visible)
    weaker = torch.where(infrared_is_stronger, visible, infrared)
    return stronger + AGREEMENT * weaker * (stronger * weaker > 0)


def edge_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Lost edge strength: mean over pixels of Σ_S s_S · (1 - Q^SF) over both sources S.

    s is the source's Sobel strength (a unit step gives 1) and Q in [0, 1] the share of strength
    and angle kept (Xydeas & Petrović 2000), as in :func:`dreamif_model.metrics.qabf`, which is
    1 - Σ s · (1 - Q) / Σ s. A minimum strength gives flat regions a gradient.
    """
    fused_edges = _strength_and_angle(fused)
    lost = torch.zeros_like(fused)
    for source in (infrared, visible):
        strength, angle = _strength_and_angle(source)
        lost = lost + strength * (1 - _preservation(strength, angle, *fused_edges))
    return lost.mean()


def ssim_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - (SSIM(F, I) + SSIM(F, V)) / 2 (Wang et al. 2004)."""
    return 1 - (ssim(fused, infrared) + ssim(fused, visible)) / 2


def information_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Lost visual information of both sources, in nats (Sheikh & Bovik 2006).

    Σ over scales and sources S of the mean over windows of
    log(1 + σ²_S / σ²_n) - log(1 + g² σ²_S / (σ²_V + σ²_n)).
    :func:`dreamif_model.metrics.viff` is the ratio of the two terms' sums. Of its four scales only
    those that fit the image count here; large windows are a quarter of their width apart.
    """
    images = torch.cat((fused, infrared, visible), dim=1)  # (B, 3, H, W)
    lost = fused.new_zeros(())
    for scale in range(4):
        window = _gaussian(2 ** (4 - scale) + 1).to(images)
        if scale:
            images = _blur(images, window, stride=2)
        if min(images.shape[2:]) < len(window):
            break
        kept, whole = _information(images, window)
        lost = lost + (whole - kept).sum(1).mean() / 4**scale  # a scale has a quarter of the pixels
    return lost


def color_loss(fused: Tensor, visible: Tensor) -> Tensor:
    """Mean |CbCr(F) - CbCr(V)|; 0 for luma images."""
    if fused.shape[1] == 1:
        return fused.new_zeros(())
    return F.l1_loss(rgb_to_ycbcr(fused)[:, 1:], rgb_to_ycbcr(visible)[:, 1:])


def dominance_loss(dominance: list[Tensor]) -> Tensor:
    """Mean |RD^ir + RD^vi - 1| over pixels, averaged over levels (equation 9)."""
    if not dominance:
        return torch.zeros(())
    return torch.stack([(maps.sum(1) - 1).abs().mean() for maps in dominance]).mean()


def restoration_loss(restored: Tensor | None, infrared: Tensor, visible: Tensor) -> Tensor:
    """Mean |restored - clean| over both images; 0 if the variant does not restore."""
    if restored is None:
        return infrared.new_zeros(())
    return F.l1_loss(restored, torch.cat((infrared, visible)))


def cell_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """How unequally gradients are kept at the four positions within a cell.

    A network that takes cells of pixels may print their pattern into noisy images: gradients
    between two cells then differ from those within. For each image, position and direction
    r = Σ |∂F| / Σ max(|∂I|, |∂V|), and the loss is the mean of (r / mean r - 1)². Cells are 4×4
    pixels, which covers cells of 2×2 too.
    """
    parts = []
    for dim in (2, 3):
        stronger = torch.maximum(infrared.diff(dim=dim).abs(), visible.diff(dim=dim).abs())
        kept = _by_position(fused.diff(dim=dim).abs(), dim) / _by_position(stronger, dim)
        parts.append((kept / kept.mean(1, keepdim=True) - 1).square().mean())
    return torch.stack(parts).mean()


def _by_position(steps: Tensor, dim: int) -> Tensor:
    """Means of (B, 1, h, w) over all cells, along ``dim``: (B, 4), above 0."""
    lines = steps.mean((1, 5 - dim))
    whole = lines.shape[1] // CELL * CELL
    means: Tensor = lines[:, :whole].unflatten(1, (-1, CELL)).mean(1)
    return means + EDGE_FLOOR


def total_loss(
    output: NetworkOutput,
    infrared: Tensor,
    visible: Tensor,
    salience: Tensor,
    weights: dict[str, float],
) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum of all losses, and the value of each before weighting.

    salience: (B, 1, H, W) from :func:`dreamif_model.training.data.salience`.
    """
    fused, target_infrared, target_visible = luma(output.fused), luma(infrared), luma(visible)
    sources = (target_infrared, target_visible)
    parts = {
        "pixel": pixel_loss(fused, *sources, salience),
        "gradient": gradient_loss(fused, *sources),
        "detail": detail_loss(fused, *sources),
        "edge": edge_loss(fused, *sources),
        "ssim": ssim_loss(fused, *sources),
        "information": information_loss(fused, *sources),
        "color": color_loss(output.fused, visible),
        "dominance": dominance_loss(output.dominance).to(fused.device),
        "restoration": restoration_loss(output.restored, infrared, visible),
        "cells": cell_loss(fused, *sources),
    }
    total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
    return total, {name: float(value.detach()) for name, value in parts.items()}


def sobel(image: Tensor) -> Tensor:
    """(B, 1, H, W) to (B, 2, H, W): horizontal and vertical derivative, borders repeated."""
    horizontal = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    kernel = torch.stack((horizontal, horizontal.T)).unsqueeze(1)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel)


def _strength_and_angle(image: Tensor) -> tuple[Tensor, Tensor]:
    """Edge strength, at least EDGE_FLOOR, and angle in [-π/2, π/2], (B, 1, H, W) each."""
    gx, gy = sobel(image).split(1, dim=1)
    steep = torch.where(gx.abs() < EDGE_FLOOR, torch.full_like(gx, EDGE_FLOOR).copysign(gx), gx)
    return (gx**2 + gy**2 + EDGE_FLOOR**2).sqrt(), torch.arctan(gy / steep)


def _preservation(strength: Tensor, angle: Tensor, fused: Tensor, fused_angle: Tensor) -> Tensor:
    ratio = torch.minimum(strength, fused) / torch.maximum(strength, fused)
    alignment = 1 - (angle - fused_angle).abs() / (torch.pi / 2)
    strength_kept = 0.9994 * torch.sigmoid(15 * (ratio - 0.5))
    return strength_kept * 0.9879 * torch.sigmoid(22 * (alignment - 0.8))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of two (B, 1, H, W) in [0, 1]; 1 if equal."""
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = _window(a), _window(b)
    variance_a = _window(a * a) - mean_a**2
    variance_b = _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return similarity.mean()


def _window(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, SSIM_WINDOW, stride=1)


def _information(images: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """For [F, I, V] (B, 3, H, W): kept and whole information of I and V, (B, 2, h, w) each."""
    products = torch.cat((images * images, images[:, :1] * images[:, 1:]), dim=1)
    moments = _blur(torch.cat((images, products), dim=1), window, max(1, len(window) // 4))
    mean, square, product = moments.split((3, 3, 2), dim=1)
    variance = (square - mean**2).clamp(min=0)
    covariance = (product - mean[:, :1] * mean[:, 1:]).clamp(min=0)
    gain = covariance / (variance[:, 1:] + VIF_FLAT)
    residual = (variance[:, :1] - gain * covariance).clamp(min=0)
    kept = torch.log1p(gain**2 * variance[:, 1:] / (residual + VIF_NOISE))
    return kept, torch.log1p(variance[:, 1:] / VIF_NOISE)


def _gaussian(side: int) -> Tensor:
    """(side,) weights with σ = side / 5, as in the published code of VIF."""
    x = torch.arange(side, dtype=torch.float64) - side // 2
    window = torch.exp(-(x**2) / (2 * (side / 5) ** 2))
    return window / window.sum()


def _blur(images: Tensor, window: Tensor, stride: int = 1) -> Tensor:
    """Separable convolution of each channel of (B, C, H, W), without padding."""
    maps = images.flatten(0, 1).unsqueeze(1)
    maps = F.conv2d(maps, window.view(1, 1, -1, 1), stride=(stride, 1))
    maps = F.conv2d(maps, window.view(1, 1, 1, -1), stride=(1, stride))
    blurred: Tensor = maps.unflatten(0, images.shape[:2]).squeeze(2)
    return blurred
