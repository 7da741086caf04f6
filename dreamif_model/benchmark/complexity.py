"""The size of a variant: parameters, and multiply-accumulates of one frame. Nothing is timed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model.network import make_network
from dreamif_model.variants import AVERAGE, network_config


@dataclass(frozen=True)
class Complexity:
    """The size of a network."""

    parameters: int
    macs: int  # multiply-accumulates of convolutions and matrix products, for one frame


def complexity(variant: str, width: int, height: int) -> Complexity:
    """Count for images of one size, padded as the engine does it; both are 0 for ``average``.

    Activations, normalizations and resizing are not counted. Nothing is computed, because tensors
    on the meta device have shapes only; so ``base`` takes no longer than ``nano``.
    """
    if variant == AVERAGE:
        return Complexity(0, 0)
    config = network_config(variant)
    height += -height % config.size_multiple
    width += -width % config.size_multiple
    with torch.device("meta"):
        network = make_network(config).eval()
        image = torch.empty(1, config.image_channels, height, width)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image, image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Complexity(parameters, counter.get_total_flops() // 2)  # torch counts two
