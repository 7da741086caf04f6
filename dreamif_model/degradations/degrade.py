"""The degradations on tensors, seeded: training and evaluation show the network their results.

An image is (H, W), (1, H, W) gray or (3, H, W) RGB, float in [0, 1], on the CPU; the result is
clamped to [0, 1] again, as a camera's output is. Noise is drawn for each value. What belongs to a
place of the image (streaks, stripes, dead pixels, drift) is drawn once and shared by the channels.
A result depends only on the image, the strength and the generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from dreamif_model.cameras import Camera
from dreamif_model.degradations.kinds import DEGRADATIONS, check_degradation, check_names
from dreamif_model.errors import ConfigError
from dreamif_model.tensor_images import to_image, to_tensor

Degradation = Callable[[Tensor, float, Generator], Tensor]

READ_NOISE = 2 / 255  # σ in low light


def haze(image: Tensor, depth: float, generator: Generator) -> Tensor:
    """Haze or smoke, y = t · x + (1 − t) · A with t = exp(−depth · d), Koschmieder's law.

    ``depth`` is the optical depth of the farthest point. The distance d in [0, 1] mixes one that
    grows from the bottom of the image to its top, as over ground, with a smooth random one, as in
    smoke. Their shares and the airlight A in [0.6, 0.95] are drawn.
    """
    clouds = _uniform((1, 1, 4, 4), generator)
    smoke = F.interpolate(clouds, image.shape[-2:], mode="bicubic", align_corners=True)[0, 0]
    ground = torch.linspace(1, 0, image.shape[-2]).unsqueeze(1)
    share, airlight = _uniform(2, generator).tolist()
    distance = (share * ground + (1 - share) * smoke).clamp(0, 1)
    transmission = (-depth * distance).exp()
    hazy: Tensor = transmission * image + (1 - transmission) * (0.6 + 0.35 * airlight)
    return hazy


def rain(image: Tensor, density: float, generator: Generator) -> Tensor:
    """Streaks of falling drops, y = x + α · (1 − x); ``density`` 1 is a cloudburst.

    A drop brightens a pixel for the share α of the exposure (Garg and Nayar, Vision and Rain, IJCV
    2007). All streaks have one slant; near ones are longer and brighter.
    """
    height, width = image.shape[-2:]
    count = max(1, round(density * height * width / 150))
    slant = 0.4 * _uniform(1, generator) - 0.2  # columns per row: up to 11° off the vertical
    row, column, depth = _uniform((3, count, 1), generator).unbind()
    near = 1 - depth.sqrt()  # more drops are far away
    length = 6 + 24 * near
    along = torch.linspace(0, 1, 30)
    rows = row * (height + 30) - 30 + along * length
    columns = column * (width + 8) - 4 + (slant * along) * length
    alpha = (0.12 + 0.5 * near) * (math.pi * along).sin()
    return image + _splat(rows, columns, alpha, height, width) * (1 - image)


def blur(image: Tensor, sigma: float, generator: Generator) -> Tensor:  # noqa: ARG001
    """Defocus, y = x ∗ Gaussian(σ); ``sigma`` in pixels, borders repeated."""
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    planes = image.reshape(-1, 1, *image.shape[-2:])
    padded = F.pad(planes, [radius] * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return blurred.reshape(image.shape).clamp(0, 1)


def low_light(image: Tensor, stops: float, generator: Generator) -> Tensor:
    """Underexposure, y = x · 2^(−stops / 2.2) + N(0, 2 gray levels).

    ``stops`` is the light missing in powers of two; 2.2 is the gamma that pixel values carry.
    """
    noise = torch.randn(image.shape, generator=generator)
    return (image * 2 ** (-stops / 2.2) + noise * READ_NOISE).clamp(0, 1)


def resize(image: Tensor, factor: float, generator: Generator) -> Tensor:  # noqa: ARG001
    """A smaller sensor: mean of ``factor`` × ``factor`` pixels, then bilinear up again."""
    height, width = image.shape[-2:]
    planes = image.reshape(-1, 1, height, width)
    size = max(1, round(height / factor)), max(1, round(width / factor))
    small = F.interpolate(planes, size, mode="area")
    return F.interpolate(small, (height, width), mode="bilinear").reshape(image.shape).clamp(0, 1)


def poisson(image: Tensor, peak: float, generator: Generator) -> Tensor:
    """Shot noise, y = Poisson(x · peak) / peak; ``peak`` is the photon count of white."""
    return (torch.poisson(image * peak, generator=generator) / peak).clamp(0, 1)


def gaussian(image: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Additive white noise, y = x + N(0, σ); ``sigma`` in gray levels of 255."""
    noise = torch.randn(image.shape, generator=generator)
    return (image + noise * (sigma / 255)).clamp(0, 1)


def speckle(image: Tensor, epsilon: float, generator: Generator) -> Tensor:
    """Multiplicative noise, y = x · (1 + ε · N(0, 1))."""
    noise = torch.randn(image.shape, generator=generator)
    return (image * (1 + epsilon * noise)).clamp(0, 1)


def drift(image: Tensor, loss: float, generator: Generator) -> Tensor:
    """Low contrast of a warming camera, y = (1 − loss) · x + loss · f with a smooth field f.

    ``loss`` is the share of contrast lost. f is a level from 0.3 to 0.7 plus a smooth shading of
    ±0.2, which stands for the heat of lens and housing.
    """
    grid = 0.2 * (2 * _uniform((1, 1, 4, 4), generator) - 1)
    level = 0.3 + 0.4 * _uniform(1, generator)
    shading = F.interpolate(grid, image.shape[-2:], mode="bicubic", align_corners=True)[0, 0]
    return ((1 - loss) * image + loss * (level + shading)).clamp(0, 1)


def stripes(image: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Fixed-pattern noise of a microbolometer, y = x + σ · (c + g · (x − ½) + r / 4).

    Every column has an offset c and a gain g, because it has its own amplifier; every row has a
    weaker offset r. All are N(0, 1). ``sigma`` in gray levels of 255.
    """
    height, width = image.shape[-2:]
    offset, gain = torch.randn((2, 1, width), generator=generator).unbind()
    rows = torch.randn((height, 1), generator=generator)
    return (image + sigma / 255 * (offset + gain * (image - 0.5) + rows / 4)).clamp(0, 1)


def dead_pixels(image: Tensor, per_mille: float, generator: Generator) -> Tensor:
    """Pixels stuck at 0 or at 1, half of them alone and half in clusters of 2 × 2.

    ``per_mille`` is the mean number of dead pixels in a thousand.
    """
    share = per_mille / 1000
    alone, seeds = _uniform((2, 1, *image.shape[-2:]), generator).unbind()
    hot = (alone > 1 - share / 4) | (_grown(seeds) > 1 - share / 16)
    cold = (alone < share / 4) | (_grown(1 - seeds) > 1 - share / 16)
    stuck = torch.where(hot[0], 1.0, torch.where(cold[0], 0.0, image))
    return stuck.to(image.dtype)


def jpeg(image: Tensor, quality: float, generator: Generator) -> Tensor:  # noqa: ARG001
    """Compression loss of JPEG at ``quality`` 1 to 100, with colour at half the size."""
    pixels = to_image(image.reshape(-1, *image.shape[-2:]))
    order = np.s_[..., ::-1] if pixels.ndim == 3 else np.s_[...]  # RGB to BGR and back
    ordered = np.ascontiguousarray(pixels[order])
    code = cv2.imencode(".jpg", ordered, (cv2.IMWRITE_JPEG_QUALITY, round(quality)))[1]
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED), np.uint8)[order]
    return to_tensor(decoded).reshape(image.shape)


FUNCTIONS: dict[str, Degradation] = {
    "haze": haze,
    "rain": rain,
    "blur": blur,
    "low_light": low_light,
    "resize": resize,
    "poisson": poisson,
    "gaussian": gaussian,
    "speckle": speckle,
    "drift": drift,
    "stripes": stripes,
    "dead_pixels": dead_pixels,
    "jpeg": jpeg,
}


def degrade(image: Tensor, name: str, strength: float, generator: Generator) -> Tensor:
    """Apply one degradation by name; ConfigError for an unknown name or strength."""
    check_degradation(name, strength)
    return FUNCTIONS[name](image, strength, generator)


def degrade_randomly(
    image: Tensor,
    probability: float,
    generator: Generator,
    *,
    camera: Camera | None = None,
    kinds: Sequence[str] | None = None,
) -> Tensor:
    """Degrade an image at random, with ``probability``; else return the image itself.

    It gets one degradation in 60 %, two in 30 % and three in 10 % of the cases. They are all
    different, in the order of the table, of random strength. They are drawn from the kinds that
    ``camera`` shows and that ``kinds`` names; where there are none, the image stays as it is.
    """
    chance, number = torch.rand(2, generator=generator).tolist()
    names = _drawable(camera, kinds)
    if chance >= probability or not names:
        return image
    count = min(1 + (number > 0.6) + (number > 0.9), len(names))
    shares = torch.tensor([DEGRADATIONS[name].share for name in names], dtype=torch.float32)
    drawn = torch.multinomial(shares, count, generator=generator).sort().values.tolist()
    for index, position in zip(drawn, torch.rand(count, generator=generator).tolist(), strict=True):
        kind = DEGRADATIONS[names[index]]
        low, high = kind.training
        strength = low + position * (high - low)
        image = FUNCTIONS[names[index]](image, strength, generator)
    return image


def _drawable(camera: Camera | None, kinds: Sequence[str] | None) -> list[str]:
    if kinds is not None:
        check_names(kinds)
        if not kinds:
            raise ConfigError(f"kinds names no degradation: choose from {', '.join(DEGRADATIONS)}")
    return [
        name
        for name, kind in DEGRADATIONS.items()
        if (camera is None or camera in kind.cameras) and (kinds is None or name in kinds)
    ]


def _uniform(shape: int | tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _grown(field: Tensor) -> Tensor:
    """Maximum of every pixel and its neighbours to the left and above, (1, H, W)."""
    padded = F.pad(field, (1, 0, 1, 0))
    pairs = torch.maximum(padded[..., 1:, :], padded[..., :-1, :])
    return torch.maximum(pairs[..., 1:], pairs[..., :-1])


def _splat(rows: Tensor, columns: Tensor, alpha: Tensor, height: int, width: int) -> Tensor:
    """Draw points into an image (H, W), each shared by the two pixels beside it; at most 1."""
    # An extra column on both sides and an extra row at both ends take points outside the image.
    rows = rows.floor().clamp(-1, height).long() + 1
    left = columns.floor()
    share = columns - left
    cells = rows * (width + 2) + left.clamp(-1, width - 1).long() + 1
    canvas = torch.zeros((height + 2) * (width + 2))
    canvas.index_add_(0, cells.flatten(), (alpha * (1 - share)).flatten())
    canvas.index_add_(0, cells.flatten() + 1, (alpha * share).flatten())
    return canvas.view(height + 2, width + 2)[1:-1, 1:-1].clamp(0, 1)
