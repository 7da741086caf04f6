"""RGB and YCbCr by ITU-R BT.601, full range, on tensors in [0, 1]; chroma is centred on 0."""

from __future__ import annotations

import torch
from torch import Tensor


def luma(image: Tensor) -> Tensor:
    """(..., 3, H, W) RGB or (..., 1, H, W) luma to (..., 1, H, W): .299 R + .587 G + .114 B."""
    if image.shape[-3] == 1:
        return image
    red, green, blue = image.unbind(-3)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] to Y in [0, 1] and Cb, Cr in [-0.5, 0.5]."""
    red, green, blue = rgb.split(1, dim=-3)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = (blue - y) / 1.772
    cr = (red - y) / 1.402
    return torch.cat((y, cb, cr), dim=-3)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """The inverse of :func:`rgb_to_ycbcr`; not clamped."""
    y, cb, cr = ycbcr.split(1, dim=-3)
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return torch.cat((red, green, blue), dim=-3)
