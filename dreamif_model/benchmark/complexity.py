"""How large a variant is: parameters, and multiply-accumulates per frame, counted not measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model.network import make_network
from dreamif_model.variants import AVERAGE, network_config


@dataclass(frozen=True)
class Complexity:
    """What one frame costs."""

    parameters: int
    macs: int  # multiply-accumulates of convolutions and matrix products


def complexity(variant: str, width: int, height: int) -> Complexity:
    """Of one pair of this size, padded as the engine does it; ``average`` has none of either.

    torch counts two operations for a multiply-accumulate: halved here. What is done element by
    element (activations, normalizations, resizing) is not in it. Nothing is computed: tensors
    on the meta device have shapes only, so ``base`` takes no longer than ``nano``.
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
    return Complexity(parameters, counter.get_total_flops() // 2)
