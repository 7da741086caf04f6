"""How well the edges of an infrared and a visible image lie on each other.

The cameras share edges, not brightness: what is bright to one may be dark to the other. So
alignment is judged by normalized gradient fields (Haber & Modersitzki, "Intensity gradient based
registration and fusion of multi-modal images", 2006): the squared cosine between both gradients,
which knows no polarity. In excess of chance, cos² φ - ½ = ½ cos 2φ, it is the product of two
fields of doubled angles, which is what this module computes with.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SMOOTHING = 1.5  # pixels, σ, at every resolution: edges attract from that far
EDGE = 1.5  # times the mean gradient: one of that strength counts half
FAINTEST = 1e-3  # per pixel, of [0, 1]: weaker mean gradients are noise of a blank image
SCORE_WIDTH = 240  # pixels, about, at which a frame is scored


@torch.inference_mode()
def alignment_score(
    infrared: NDArray[np.float32] | Tensor,
    visible: NDArray[np.float32] | Tensor,
    coverage: Tensor | None = None,
) -> float:
    """Agreement of the edges of two (H, W) images in [0, 1] on the same pixels.

    coverage: (H, W) in [0, 1], how much each pixel counts. Tensors are on one device.
    The correlation of both fields of doubled gradient angles, in [-1, 1]: 1 for the same edges,
    0 for unrelated ones. Aligned cameras give 0.2 to 0.6, depending on the scene, so watch its
    changes; blank images give 0.
    """
    fields = [_field(image, SCORE_WIDTH) for image in (infrared, visible)]
    weight = None if coverage is None else _shrunk(coverage, SCORE_WIDTH)
    return float(agreement(fields[0], fields[1], weight))


@torch.inference_mode()
def edge_strength(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in [0, 1] for an image (H, W) in [0, 1]: 1 on edges, 0 where flat."""
    strength: NDArray[np.float32] = _field(image, image.shape[1]).norm(dim=1)[0].numpy()
    return strength


def agreement(first: Tensor, second: Tensor, weight: Tensor | None = None) -> Tensor:
    """Correlation in [-1, 1] of two fields (K, 2, H, W), pixels weighted by (H, W)."""
    weight = first.new_ones(()) if weight is None else weight
    energy = (first.square() * weight).sum() * (second.square() * weight).sum()
    return (first * second * weight).sum() / (energy + 1e-12).sqrt()


def gradient_field(image: Tensor, threshold: Tensor) -> Tensor:
    """(K, 1, H, W) to (K, 2, H, W): cosine and sine of twice the gradient's angle.

    Of length |g|² / (|g|² + threshold): 1 on edges, 0 where flat.
    """
    x, y = _gradient(image)
    strength = x.square() + y.square() + threshold
    return torch.cat(((x.square() - y.square()) / strength, 2 * x * y / strength), dim=1)


def edge_threshold(image: Tensor) -> Tensor:
    """(K, 1, 1, 1): the squared gradient that counts half, by each image's own mean."""
    x, y = _gradient(image)
    mean = torch.hypot(x, y).mean(dim=(1, 2, 3), keepdim=True)
    return (EDGE * mean.clamp(min=FAINTEST)).square()


def _field(image: NDArray[np.float32] | Tensor, width: int) -> Tensor:
    """(1, 2, h, w) of an image (H, W), shrunk by a whole number to about ``width``."""
    tensor = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
    small = smooth(_shrunk(tensor, width))
    return gradient_field(small, edge_threshold(small))


def _shrunk(image: Tensor, width: int) -> Tensor:
    """(H, W) to (1, 1, h, w), means of whole squares."""
    step = max(1, round(image.shape[1] / width))
    return F.avg_pool2d(image.float()[None, None], step, ceil_mode=True)


def smooth(image: Tensor, sigma: float = SMOOTHING) -> Tensor:
    """Gaussian blur of (K, 1, H, W), the edges repeated."""
    radius = round(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    rows = F.conv2d(
        F.pad(image, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1)
    )
    return F.conv2d(F.pad(rows, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y of (K, 1, H, W)."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return x, y
