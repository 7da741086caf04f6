"""Degradations of sensors, seeded, on tensors: what training and evaluation show the network.

Images are (..., H, W) in [0, 1] and are clamped to it again, as a camera's output is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from dreamif_model.errors import ConfigError

Degradation = Callable[[Tensor, float, Generator], Tensor]


def gaussian(image: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Additive white noise, y = x + N(0, σ); ``sigma`` in gray levels of 255."""
    noise = torch.randn(image.shape, generator=generator, device=generator.device)
    return (image + noise * (sigma / 255)).clamp(0, 1)


def poisson(image: Tensor, peak: float, generator: Generator) -> Tensor:
    """Shot noise, y = Poisson(x · peak) / peak; ``peak`` is the photon count of white."""
    return (torch.poisson(image * peak, generator=generator) / peak).clamp(0, 1)


def speckle(image: Tensor, epsilon: float, generator: Generator) -> Tensor:
    """Multiplicative noise, y = x · (1 + ε · N(0, 1))."""
    noise = torch.randn(image.shape, generator=generator, device=generator.device)
    return (image * (1 + epsilon * noise)).clamp(0, 1)


# name: (function, range of its strength in training)
DEGRADATIONS: dict[str, tuple[Degradation, tuple[float, float]]] = {
    "gaussian": (gaussian, (5.0, 50.0)),
    "poisson": (poisson, (20.0, 200.0)),
    "speckle": (speckle, (0.05, 0.4)),
}


def degrade(image: Tensor, name: str, strength: float, generator: Generator) -> Tensor:
    """Apply one degradation by name; ConfigError names those there are."""
    if name not in DEGRADATIONS:
        raise ConfigError(f"unknown degradation {name!r}: choose one of {', '.join(DEGRADATIONS)}")
    if not (math.isfinite(strength) and strength > 0):
        raise ConfigError(f"the strength of {name} must be above 0, got {strength:g}")
    return DEGRADATIONS[name][0](image, strength, generator)


def degrade_randomly(image: Tensor, probability: float, generator: Generator) -> Tensor:
    """With ``probability``, one degradation of random kind and strength; else the image itself."""
    chance, kind, strength = torch.rand(3, generator=generator).tolist()
    if chance >= probability:
        return image
    function, (low, high) = list(DEGRADATIONS.values())[int(kind * len(DEGRADATIONS))]
    return function(image, low + strength * (high - low), generator)
