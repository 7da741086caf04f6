"""Relative dominance and the enhancement that it guides, as in the paper (equations 4 to 7).

The lean network has classes of the same names in :mod:`dreamif_model.network.lean`, which follow
the same equations with cheaper operations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.network.blocks import JoiningConvolution, conv3x3, make_block
from dreamif_model.variants import NetworkConfig


class RelativeDominance(nn.Module):
    """RD^m = sigmoid(mean over channels of conv([F^ir; F^vi])^m): one map for each camera m.

    It is computed as a convolution with the mean of each camera's kernels, which is the same,
    because only the mean of each C output channels is needed.
    """

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.conv = conv3x3(channels * 2, channels * 2, separable)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Two (B, C, h, w) to (B, 2, h, w) in (0, 1), infrared first."""
        joined = torch.cat((infrared, visible), dim=1)
        *before, last = list(self.conv.children()) or [self.conv]
        for layer in before:
            joined = layer(joined)
        kernels = last.get_parameter("weight").unflatten(0, (2, -1)).mean(1)  # (2, 2C, k, k)
        return F.conv2d(joined, kernels, padding=kernels.shape[-1] // 2).sigmoid()


class CrossEnhancement(nn.Module):
    """CE: conv(F^m) + conv(F^other) · RD^other (equation 5)."""

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.own = conv3x3(channels, channels, separable)
        self.other = conv3x3(channels, channels, separable)

    def forward(self, features: Tensor, other: Tensor, other_dominance: Tensor) -> Tensor:
        """Features of m and the other camera (B, C, h, w) and RD (B, 1, h, w) to (B, C, h, w)."""
        enhanced: Tensor = self.own(features) + self.other(other) * other_dominance
        return enhanced


class PromptBlock(nn.Module):
    """The Relative Dominance Prompt (equation 6): prompts chosen by F^m and RD^m, applied to F^m.

    A softmax over a linear layer on the pooled [F^m; RD^m] mixes ``prompt_count`` learnable
    prompts. The mixture is resized to F^m, joined with it, passed through a block and reduced to C
    channels; a separable variant reduces first, because the block costs most.
    """

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels, prompt = config.channels << level, config.prompt_channels[level]
        size = config.prompt_size[level]
        self.prompts = nn.Parameter(torch.rand(config.prompt_count, prompt, size, size))
        self.select = nn.Linear(channels + 1, config.prompt_count)
        self.smooth = nn.Conv2d(prompt, prompt, 3, padding=1, bias=False)
        self.reduce_first = config.separable
        self.apply_prompt = nn.ModuleList(
            (
                JoiningConvolution(channels, prompt, channels),
                make_block(config, level, channels),
            )
            if self.reduce_first
            else (
                make_block(config, level, channels + prompt),
                nn.Conv2d(channels + prompt, channels, 1, bias=False),
            )
        )

    def forward(self, features: Tensor, dominance: Tensor) -> Tensor:
        """(B, C, h, w) and its dominance (B, 1, h, w) to (B, C, h, w)."""
        pooled = torch.cat((features.mean((2, 3)), dominance.mean((2, 3))), dim=1)  # (B, C+1)
        weights = self.select(pooled).softmax(dim=1)  # (B, count)
        prompt = torch.einsum("bn,nchw->bchw", weights, self.prompts)
        prompt = F.interpolate(prompt, features.shape[2:], mode="bilinear", align_corners=False)
        prompt = self.smooth(prompt)
        first, last = self.apply_prompt
        prompted: Tensor = (
            last(first(features, prompt))
            if self.reduce_first
            else last(first(torch.cat((features, prompt), dim=1)))
        )
        return prompted


class SelfEnhancement(nn.Module):
    """SE: conv(F^m) + PromptBlock(F^m, RD^m) (equation 6)."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels = config.channels << level
        self.own = conv3x3(channels, channels, config.separable)
        self.prompt_block = PromptBlock(config, level)

    def forward(self, features: Tensor, dominance: Tensor) -> Tensor:
        """(B, C, h, w) and its dominance (B, 1, h, w) to (B, C, h, w)."""
        enhanced: Tensor = self.own(features) + self.prompt_block(features, dominance)
        return enhanced


class RelativeEnhancement(nn.Module):
    """Relative dominance, and the cross and self enhancement of both cameras that it guides.

    Without relative dominance, ½ everywhere guides the enhancement, and there are no maps.
    """

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels, separable = config.channels << level, config.separable
        self.dominance = (
            RelativeDominance(channels, separable) if config.relative_dominance else None
        )
        self.cross = CrossEnhancement(channels, separable) if config.cross_enhancement else None
        self.self_ = SelfEnhancement(config, level) if config.self_enhancement else None
        parts = (self.cross is not None) + (self.self_ is not None)
        self.reduce = conv3x3(channels * parts, channels, separable) if parts else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Enhance (2B, C, h, w); also returns the dominance (B, 2, h, w), if any."""
        infrared, visible = features.chunk(2)
        if self.dominance is None:
            dominance = torch.full_like(infrared[:, :1].expand(-1, 2, -1, -1), 0.5)
        else:
            dominance = self.dominance(infrared, visible)
        own_dominance = torch.cat((dominance[:, :1], dominance[:, 1:]))  # (2B, 1, h, w)
        enhanced = []
        if self.cross is not None:
            other = torch.cat((visible, infrared))
            other_dominance = torch.cat((dominance[:, 1:], dominance[:, :1]))
            enhanced.append(features + self.cross(features, other, other_dominance))
        if self.self_ is not None:
            enhanced.append(features + self.self_(features, own_dominance))
        if self.reduce is not None:
            features = self.reduce(torch.cat(enhanced, dim=1))
        return features, None if self.dominance is None else dominance


class DominanceGate(nn.Module):
    """The relative enhancement of the authors' release: one convolution and a gate.

    Y = conv([F^ir; F^vi]); RD^m = sigmoid(mean over channels of Y^m); the enhanced F^m is
    Y^m · RD^m.
    """

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        inputs, outputs = config.channels << level, config.decoded_channels(level)
        self.conv = nn.Conv2d(inputs * 2, outputs * 2, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(2B, C, h, w) to (2B, decoded C, h, w) and the dominance (B, 2, h, w)."""
        infrared, visible = self.conv(torch.cat(features.chunk(2), dim=1)).chunk(2, dim=1)
        means = (infrared.mean(1, keepdim=True), visible.mean(1, keepdim=True))
        dominance = torch.cat(means, dim=1).sigmoid()
        return torch.cat((infrared * dominance[:, :1], visible * dominance[:, 1:])), dominance


def make_enhancement(config: NetworkConfig, level: int) -> nn.Module | None:
    """The enhancement of a decoder level; None if the variant has no part of it."""
    if config.released:
        return DominanceGate(config, level)
    guided = config.relative_dominance, config.cross_enhancement, config.self_enhancement
    return RelativeEnhancement(config, level) if any(guided) else None
