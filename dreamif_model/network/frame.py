"""The network as backends run it: from uint8 phases to gray levels and dominance maps."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.model_files.graph_info import NOISE_STEPS
from dreamif_model.network import DreamIF, LeanDreamIF, Network
from dreamif_model.network.lean import fold
from dreamif_model.tensor_images import luma


class FrameNetwork(nn.Module):
    """A network for one frame, folded for inference.

    Input: uint8 (1, (1 + C)·s², h, w), the phases of infrared and of the C channels of visible. A
    network with a map of noise takes two channels more: σ of infrared and of visible per cell, in
    quarters of a gray level, 0 where it is not known.
    Outputs: fused, float (1, C·s², h, w), gray levels of 0 or more; dominance (1, 2, h', w') of the
    finest level, infrared first; and, if the network restores its sources, the mean absolute change
    of the visible luma (1, 1, h, w) in [0, 1], and the luma of both restored sources, float
    (1, 2·s², h, w), gray levels of 0 or more, infrared first.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        fold(self.network)

    def forward(self, phases: Tensor) -> tuple[Tensor, ...]:
        if isinstance(self.network, LeanDreamIF):
            return self._lean(self.network, phases)
        return self._paper(self.network, phases)

    def _lean(self, network: LeanDreamIF, phases: Tensor) -> tuple[Tensor, ...]:
        pixels = network.config.stem**2
        x = (phases[:, : 2 * pixels].float() - 127.5) / 255
        noise = None
        if network.config.noise_map:
            noise = phases[:, 2 * pixels :].float() / (255 * NOISE_STEPS)
        fused, restored, logits = network.forward_phases(x, noise)
        removed = (restored[:, pixels:] - x[:, pixels:]).abs().mean(1, keepdim=True)
        dominance = logits[-1].sigmoid() if logits else _half(x)
        return _levels(fused), dominance.float(), removed.float(), _levels(restored)

    def _paper(self, network: DreamIF, phases: Tensor) -> tuple[Tensor, ...]:
        stem = network.config.stem
        images = F.pixel_shuffle(phases.float() / 255, stem)  # (1, 1 + C, H, W)
        infrared, visible = images[:, :1].expand_as(images[:, 1:]), images[:, 1:]
        output = network(infrared, visible)
        fused = F.relu(F.pixel_unshuffle(output.fused.float(), stem) * 255)
        dominance = output.dominance[-1].float() if output.dominance else _half(images)
        if output.restored is None:
            return fused, dominance
        restored = output.restored.float()
        change = (restored.chunk(2)[1] - visible).abs()
        removed = F.pixel_unshuffle(change, stem).mean(1, keepdim=True)
        gray = restored if network.config.luma else luma(restored)
        sources = torch.cat(gray.chunk(2), dim=1)  # (1, 2, H, W)
        return fused, dominance, removed, F.relu(F.pixel_unshuffle(sources, stem) * 255)


def _levels(phases: Tensor) -> Tensor:
    """Phases in [−½, ½] to gray levels of 0 or more."""
    return F.relu(phases.float() * 255 + 127.5)


def _half(like: Tensor) -> Tensor:
    """Equal dominance, for networks without relative dominance."""
    return torch.full_like(like[:, :2, :1, :1], 0.5)
