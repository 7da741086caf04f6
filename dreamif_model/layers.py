"""What a frame takes of the network's output, the same whatever runs the network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dreamif_model.network import NetworkOutput


def frame_layers(output: NetworkOutput) -> tuple[Tensor, ...]:
    """Fused, dominance (B, 2, H, W) of the finest level and, if any, visible restored, in fp32.

    Dominance is resized to the images, and ½ everywhere where the network has none.
    """
    fused = output.fused.float()
    dominance = fused.new_full((fused.shape[0], 2, *fused.shape[2:]), 0.5)
    if output.dominance:
        dominance = F.interpolate(
            output.dominance[-1].float(), fused.shape[2:], mode="bilinear", align_corners=False
        )
    restored = () if output.restored is None else output.restored.float().chunk(2)
    return (fused, dominance, *restored[1:])
