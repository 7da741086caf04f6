"""The engine: one aligned, normalized pair in, the fused image and dominance maps out.

The only boundary between numpy (H, W, C, uint8) and tensors (B, C, H, W, [0, 1]).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.checkpoints import load_network
from dreamif_model.color import rgb_to_ycbcr, ycbcr_to_rgb
from dreamif_model.device import keep_freed_memory, resolve_device
from dreamif_model.errors import ConfigError
from dreamif_model.network import DreamIF
from dreamif_model.variants import AVERAGE, VARIANTS

CHROMA_WINDOW = 16  # pixels; noise and chroma are averaged over such squares
CHROMA_NOISE = 0.04  # luma noise (mean deviation in [0, 1]) at which chroma is fully smoothed


@dataclass(frozen=True)
class EngineOutput:
    """Arrays of one fused pair, all of the visible image's size."""

    fused: NDArray[np.uint8]  # (H, W, 3) RGB
    dominance: NDArray[np.float32]  # (2, H, W) in [0, 1], infrared first


class FusionEngine:
    """Runs one variant on one device; not thread-safe."""

    def __init__(
        self, variant: str = "nano", device: str = "auto", weights: Path | str | None = None
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
        self.variant, self.device = variant, resolve_device(device)
        self._network: DreamIF | None = None
        if variant != AVERAGE:
            network = load_network(variant, weights)
            self._network = network.to(  # type: ignore[call-overload]
                self.device, memory_format=torch.channels_last
            )
        if self.device.type == "cpu":
            keep_freed_memory()

    @torch.inference_mode()
    def fuse(self, visible: NDArray[np.uint8], infrared: NDArray[np.float32]) -> EngineOutput:
        """Fuse one pair.

        visible: (H, W, 3) RGB or (H, W) gray, uint8. infrared: (H, W) float32 in [0, 1].
        """
        rgb = self._visible_tensor(visible)
        thermal = torch.from_numpy(infrared).to(self.device)[None, None]
        fused, dominance = self._run(thermal, rgb)
        pixels = fused.clamp(0, 1).mul(255).round().to(torch.uint8)
        return EngineOutput(
            fused=pixels[0].permute(1, 2, 0).contiguous().cpu().numpy(),
            dominance=dominance[0].cpu().numpy(),
        )

    def _visible_tensor(self, visible: NDArray[np.uint8]) -> Tensor:
        """(1, 3, H, W) in [0, 1]."""
        if visible.ndim == 2:
            visible = np.repeat(visible[..., None], 3, axis=2)
        writable = np.require(visible, requirements=("C", "W"))  # else torch warns
        pixels = torch.from_numpy(writable).to(self.device)
        return pixels.permute(2, 0, 1)[None].float() / 255

    def _run(self, infrared: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, H, W) and (1, 3, H, W) to fused RGB (1, 3, H, W) and dominance (1, 2, H, W)."""
        ycbcr = rgb_to_ycbcr(rgb)
        if self._network is None:
            mean = (ycbcr[:, :1] + infrared) / 2
            return _with_chroma(mean, ycbcr[:, 1:]), torch.full_like(rgb[:, :2], 0.5)
        if not self._network.config.luma:
            fused, dominance, _ = self._forward(self._network, infrared.expand_as(rgb), rgb)
            return fused, dominance
        fused, dominance, restored = self._forward(self._network, infrared, ycbcr[:, :1])
        chroma = ycbcr[:, 1:]
        if restored is not None:
            chroma = _denoise_chroma(chroma, (ycbcr[:, :1] - restored[:, 1:]).abs())
        return _with_chroma(fused, chroma), dominance

    def _forward(
        self, network: DreamIF, infrared: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pad to the network's multiple, run, crop back exactly."""
        height, width = visible.shape[2:]
        multiple = network.config.size_multiple
        padding = (0, -width % multiple, 0, -height % multiple)
        infrared, visible = (
            F.pad(image, padding, mode="replicate") for image in (infrared, visible)
        )
        output = network(infrared, visible)
        dominance = (
            F.interpolate(
                output.dominance[-1], visible.shape[2:], mode="bilinear", align_corners=False
            )
            if output.dominance
            else torch.full_like(visible[:, :1].expand(-1, 2, -1, -1), 0.5)
        )
        restored = None if output.restored is None else output.restored[..., :height, :width]
        return output.fused[..., :height, :width], dominance[..., :height, :width], restored


def _with_chroma(y: Tensor, chroma: Tensor) -> Tensor:
    return ycbcr_to_rgb(torch.cat((y, chroma), dim=1))


def _denoise_chroma(chroma: Tensor, removed: Tensor) -> Tensor:
    """Smooth chroma as far as the network found noise in the luma.

    chroma: (B, 2, H, W). removed: (B, 1, H, W), what the network took from the visible luma.
    """
    height, width = chroma.shape[2:]
    coarse = (max(1, height // CHROMA_WINDOW), max(1, width // CHROMA_WINDOW))
    means = F.interpolate(torch.cat((chroma, removed), dim=1), coarse, mode="area")
    means = F.interpolate(means, (height, width), mode="bilinear", align_corners=False)
    strength = (means[:, 2:] / CHROMA_NOISE).clamp(max=1) ** 2
    return chroma + strength * (means[:, :2] - chroma)
