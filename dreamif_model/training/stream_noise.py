"""Images as a stream's memory leaves them: with noise that is weak where nothing moves.

:mod:`dreamif_model.temporal.memory` averages N frames in each block of 4×4 pixels, and N is 1 where
something moves. What is left has the deviation σ / √N, which a stream tells the network.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from dreamif_model.temporal.blocks import SIDE
from dreamif_model.temporal.noise import ClippedNoise
from dreamif_model.temporal.settings import MAX_FRAMES

SIGMAS = 4.0, 55.0  # gray levels, of one frame
STILL_SHARE = 0.3  # of the images, in which nothing moves
MAX_MOVING_SHARE = 0.6  # of an image in which something moves
SHAPES = 6  # side of the random field whose highest values move
UNTOLD_SHARE = 0.2  # of the images, whose noise the network is not told
MISJUDGED = 0.1  # relative deviation of the noise level that is told


def stream_noise(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Add what is left of a random camera's noise.

    Args:
        image: (C, H, W) in [0, 1]; sides are multiples of 4.
        generator: draws noise, its level, and what moves.

    Returns:
        The noisy image, and σ of its noise by block (1, H / 4, W / 4) in [0, 1] as the network is
        told; 0 if it is not told.
    """
    chance, position, frames, told = torch.rand(4, generator=generator).tolist()
    sigma = math.exp(math.log(SIGMAS[0]) + position * math.log(SIGMAS[1] / SIGMAS[0]))
    height, width = image.shape[-2] // SIDE, image.shape[-1] // SIDE
    count = torch.full((1, height, width), 1 + frames * (MAX_FRAMES - 1))
    if chance > STILL_SHARE:
        count[_moving(height, width, generator)] = 1.0
    left = count.rsqrt()
    by_pixel = F.interpolate(left.unsqueeze(0), scale_factor=SIDE, mode="bilinear")[0]
    noise = torch.randn(image.shape, generator=generator) * by_pixel * (sigma / 255)
    noisy = (image + noise).clamp(0, 1)
    if told < UNTOLD_SHARE:
        return noisy, torch.zeros_like(left)
    levels = F.avg_pool2d(noisy.mean(0, keepdim=True), SIDE)
    variance = torch.from_numpy(ClippedNoise(sigma).variance)[(levels * 255).round().long()]
    misjudged = math.exp(MISJUDGED * float(torch.randn((), generator=generator)))
    return noisy, variance.sqrt() * left * (misjudged / 255)


def _moving(height: int, width: int, generator: Generator) -> Tensor:
    """Random blobs, (1, height, width)."""
    coarse = torch.rand((1, 1, SHAPES, SHAPES), generator=generator)
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0]
    share = MAX_MOVING_SHARE * float(torch.rand((), generator=generator))
    return field > torch.quantile(field, 1 - share)
