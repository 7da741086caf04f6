"""Dream-IF: Dynamic Relative EnhAncement for Image Fusion (Xu et al.), as in the paper.

Both cameras share one encoder and one decoder. They run as one batch whose first half is infrared
and whose second half is visible, so every layer is called once.

    image ─ embed ─ level 1 ─ 2 ─ 3 ─ 4            encoder: Restormer blocks (Zamir et al. 2022)
                                      └ up ─ RE ─ level 3 ─ up ─ RE ─ level 2 ─ up ─ RE ─ level 1
                                                          infrared + visible ─ refinement ─ fused

RE is Relative Enhancement (equations 4 to 7). Shapes: B batch, C channels, h×w the level's size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.network.blocks import Downsample, JoiningConvolution, Upsample, make_blocks
from dreamif_model.network.enhancement import make_enhancement
from dreamif_model.network.output import NetworkOutput
from dreamif_model.variants import NetworkConfig


class DecoderLevel(nn.Module):
    """Upsample, join the encoder's features if the variant does, enhance, decode."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels = config.channels << level
        self.upsample = Upsample(channels * 2, config.separable)
        self.join = (
            JoiningConvolution(channels, channels, channels) if config.skip_connections else None
        )
        self.enhance = make_enhancement(config, level)
        self.blocks = make_blocks(
            config, level, config.blocks[level], config.decoded_channels(level)
        )

    def forward(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Tensor | None]:
        """(2B, 2C, h, w) and the encoder's (2B, C, 2h, 2w) to (2B, C, 2h, 2w) and the dominance."""
        x = self.upsample(x)
        if self.join is not None:
            x = self.join(x, skip)
        dominance = None
        if self.enhance is not None:
            x, dominance = self.enhance(x)
        return self.blocks(x), dominance


class DreamIF(nn.Module):
    """The network of the paper and of the variants that depart from it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels, decoded = config.channels, config.decoded_channels(0)
        pixels = config.image_channels * config.stem**2
        self.embed = nn.Conv2d(pixels, channels, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(
            make_blocks(config, level, config.blocks[level], channels << level)
            for level in range(4)
        )
        self.downsample = nn.ModuleList(Downsample(channels << level) for level in range(3))
        self.decoder = nn.ModuleList(DecoderLevel(config, level) for level in (2, 1, 0))
        self.refinement = make_blocks(config, 0, config.refinement_blocks, decoded)
        self.output = nn.Conv2d(decoded, pixels, 3, padding=1, bias=False)
        self.restore = (
            nn.Conv2d(decoded, pixels, 3, padding=1, bias=False) if config.source_residual else None
        )

    def forward(
        self,
        infrared: Tensor,
        visible: Tensor,
        noise: Tensor | None = None,  # noqa: ARG002
    ) -> NetworkOutput:
        """Fuse a batch of aligned pairs.

        infrared, visible: (B, 1, H, W) luma or (B, 3, H, W) RGB, as the variant has it, in
        [0, 1]; H and W multiples of ``config.size_multiple``. noise: for lean networks only.
        """
        sources = torch.cat((infrared, visible))  # (2B, 1 or 3, H, W)
        features, dominance = self._decode(self._encode(sources))
        infrared_features, visible_features = features.chunk(2)
        refined = self.refinement(infrared_features + visible_features)
        fused = F.pixel_shuffle(self.output(refined), self.config.stem)
        if self.restore is None:
            return NetworkOutput(fused, dominance, None)
        removed = F.pixel_shuffle(self.restore(features), self.config.stem)
        restored = sources + removed
        return NetworkOutput(fused + self._weighted(restored, dominance), dominance, restored)

    def _encode(self, sources: Tensor) -> list[Tensor]:
        """Features of the four levels, fine to coarse."""
        x = self.embed(F.pixel_unshuffle(sources, self.config.stem))
        levels = []
        for level, blocks in enumerate(self.encoder):
            if level:
                x = self.downsample[level - 1](x)
            x = blocks(x)
            levels.append(x)
        return levels

    def _decode(self, levels: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Finest features of both cameras (2B, C, h, w) and the dominance of each level."""
        x, dominances = levels[3], []
        for decoder, skip in zip(self.decoder, (levels[2], levels[1], levels[0]), strict=True):
            x, dominance = decoder(x, skip)
            if dominance is not None:
                dominances.append(dominance)
        return x, dominances

    def _weighted(self, restored: Tensor, dominance: list[Tensor]) -> Tensor:
        """Mean of both restored images, weighted by the finest dominance, if any."""
        infrared, visible = restored.chunk(2)
        if not dominance:
            return (infrared + visible) / 2
        weights = F.interpolate(
            dominance[-1], infrared.shape[2:], mode="bilinear", align_corners=False
        )
        share = weights[:, :1] / weights.sum(1, keepdim=True)
        return visible + share * (infrared - visible)
