"""Images as tensors in [0, 1]: to and from uint8, and RGB to and from YCbCr.

YCbCr is that of ITU-R BT.601, full range; chroma is centred on 0.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.arrays import ByteImage


def to_tensor(image: NDArray[np.generic]) -> Tensor:
    """(H, W) or (H, W, C), gray levels of 255, to float32 (1 or C, H, W)."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes)).float() / 255


def to_image(planes: Tensor) -> ByteImage:
    """The inverse of :func:`to_tensor`, rounded and clipped; (H, W) where there is one channel."""
    pixels: ByteImage = to_bytes(planes * 255).cpu().numpy()
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def to_bytes(levels: Tensor) -> Tensor:
    """Gray levels to uint8, rounded and clipped."""
    return levels.clamp(0, 255).round().to(torch.uint8)


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
