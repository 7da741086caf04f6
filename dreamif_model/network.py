"""Dream-IF: Dynamic Relative EnhAncement for Image Fusion (Xu et al.), after the paper.

One encoder and one decoder serve both modalities: they run as one batch whose first half is
infrared and whose second half is visible, so every layer is called once.

    image ─ embed ─ level 1 ─ 2 ─ 3 ─ 4            encoder: Restormer blocks (Zamir et al. 2022)
                                      └ up ─ RE ─ level 3 ─ up ─ RE ─ level 2 ─ up ─ RE ─ level 1
                                                          infrared + visible ─ refinement ─ fused

RE is Relative Enhancement (equations 4 to 7). Shapes: B batch, C channels, h×w the level's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.variants import NetworkConfig


@dataclass(frozen=True)
class NetworkOutput:
    """What one pass gives; images in [0, 1] for clean inputs, not clamped."""

    fused: Tensor  # (B, 1 or 3, H, W)
    dominance: list[Tensor]  # per decoder level, coarse to fine: (B, 2, h, w), infrared first
    restored: Tensor | None  # (B, 2·(1 or 3), H, W), infrared first; with source_residual only
    features: Tensor  # (2B, C, h, w), of the finest decoder level, infrared first

    def float(self) -> NetworkOutput:
        """The same in float32."""
        return NetworkOutput(
            self.fused.float(),
            [maps.float() for maps in self.dominance],
            None if self.restored is None else self.restored.float(),
            self.features.float(),
        )


class LayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each pixel's channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TransposedAttention(nn.Module):
    """Multi-Dconv head transposed attention: attention between channels (Restormer, eq. 1)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, channels * 3, 1, bias=False)
        self.qkv_depthwise = nn.Conv2d(
            channels * 3, channels * 3, 3, padding=1, groups=channels * 3, bias=False
        )
        self.project = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Softmax(cosine(Q, K) · temperature) · V, projected; keeps the shape (B, C, h, w)."""
        b, c, h, w = x.shape
        width = c // self.heads
        qkv = self.qkv_depthwise(self.qkv(x)).reshape(b, self.heads, 3, width, h * w)
        # One Gram matrix of [Q; K] holds Q·Kᵀ and, on its diagonal, the squared norms that
        # normalize Q and K: cheaper than normalizing these two large tensors.
        joined = qkv[:, :, :2].reshape(b * self.heads, 2 * width, h * w)
        gram = torch.baddbmm(  # scaled as it is summed: in fp16 a sum over all pixels overflows
            joined.new_zeros(()), joined, joined.transpose(1, 2), beta=0, alpha=(h * w) ** -0.5
        )
        gram = gram.float().reshape(b, self.heads, 2 * width, 2 * width)
        norm = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12).sqrt()
        cosine = gram[..., :width, width:] / (norm[..., :width, None] * norm[..., None, width:])
        attention = (cosine * self.temperature).softmax(dim=-1)
        # Projection and attention are both linear in V, so they are multiplied first.
        projection = self.project.weight.reshape(c, self.heads, width).transpose(0, 1)
        mixing = (projection @ attention).transpose(1, 2).reshape(b, c, c)
        value = qkv[:, :, 2].reshape(b, c, h * w)
        out: Tensor = value.transpose(1, 2) @ mixing.transpose(1, 2)  # (B, h·w, C): channels last
        return out.reshape(b, h, w, c).permute(0, 3, 1, 2)


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (Restormer, eq. 2).

    dense: as in the authors' release, where the 3×3 convolution joins all channels, not each
    by itself, and is what doubles them.
    """

    def __init__(self, channels: int, expansion: float, dense: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        inner, groups = (hidden, 1) if dense else (hidden * 2, hidden * 2)
        self.project_in = nn.Conv2d(channels, inner, 1, bias=False)
        self.depthwise = nn.Conv2d(inner, hidden * 2, 3, padding=1, groups=groups, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """GELU-gated; keeps the shape (B, C, h, w)."""
        gate, value = self.depthwise(self.project_in(x)).chunk(2, dim=1)
        out: Tensor = self.project_out(F.gelu(gate) * value)
        return out


class TransformerBlock(nn.Module):
    """A Restormer block; keeps the shape (B, C, h, w)."""

    def __init__(
        self, channels: int, heads: int, expansion: float, dense_feed_forward: bool = False
    ) -> None:
        super().__init__()
        self.norm_attention = LayerNorm(channels)
        self.attention = TransposedAttention(channels, heads)
        self.norm_feed_forward = LayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels, expansion, dense_feed_forward)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then feed-forward, each added to what it was given."""
        attended: Tensor = x + self.attention(self.norm_attention(x))
        out: Tensor = attended + self.feed_forward(self.norm_feed_forward(attended))
        return out


class ConvolutionBlock(nn.Module):
    """Two dense 3×3 convolutions with a ReLU between, added to the input; keeps the shape.

    Stands in for a :class:`TransformerBlock` where pixels are many and channels few: there a
    CPU spends its time on moving the block's many intermediate tensors, not on its arithmetic.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        out: Tensor = x + self.second(F.relu(self.first(x), inplace=True))
        return out


def _block(config: NetworkConfig, level: int, channels: int) -> nn.Module:
    """One block of the kind that the variant has at this level."""
    if not config.attention[level]:
        return ConvolutionBlock(channels)
    return TransformerBlock(channels, config.heads[level], config.expansion, config.released)


def _blocks(config: NetworkConfig, level: int, count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(_block(config, level, channels) for _ in range(count)))


def _conv3x3(inputs: int, outputs: int, separable: bool) -> nn.Module:
    """A 3×3 convolution, or its depthwise + pointwise stand-in."""
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


class Downsample(nn.Sequential):
    """(B, C, h, w) to (B, 2C, h/2, w/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2)
        )


class Upsample(nn.Sequential):
    """(B, C, h, w) to (B, C/2, 2h, 2w); pointwise where the variant is separable."""

    def __init__(self, channels: int, separable: bool) -> None:
        size = 1 if separable else 3
        super().__init__(
            nn.Conv2d(channels, channels * 2, size, padding=size // 2, bias=False),
            nn.PixelShuffle(2),
        )


class RelativeDominance(nn.Module):
    """RD^m = sigmoid(mean over channels of conv([F^ir; F^vi])^m): one map per modality."""

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.conv = _conv3x3(channels * 2, channels * 2, separable)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Two (B, C, h, w) to (B, 2, h, w) in (0, 1), infrared first."""
        y_infrared, y_visible = self.conv(torch.cat((infrared, visible), dim=1)).chunk(2, dim=1)
        means = (y_infrared.mean(1, keepdim=True), y_visible.mean(1, keepdim=True))
        return torch.cat(means, dim=1).sigmoid()


class CrossEnhancement(nn.Module):
    """CE: conv(F^m) + conv(F^other) · RD^other (equation 5)."""

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.own = _conv3x3(channels, channels, separable)
        self.other = _conv3x3(channels, channels, separable)

    def forward(self, features: Tensor, other: Tensor, other_dominance: Tensor) -> Tensor:
        """Two (B, C, h, w) and the other's (B, 1, h, w) to (B, C, h, w)."""
        enhanced: Tensor = self.own(features) + self.other(other) * other_dominance
        return enhanced


class PromptBlock(nn.Module):
    """The Relative Dominance Prompt (equation 6): prompts chosen by F^m and RD^m, applied to F^m.

    ``prompt_count`` learnable prompts are mixed by a softmax over a linear layer on the pooled
    [F^m; RD^m], resized to F^m, joined with it, passed through a block and reduced to C
    channels (reduced first where the variant is separable: the block is the costly part).
    """

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels, prompt = config.channels << level, config.prompt_channels[level]
        size = config.prompt_size[level]
        self.prompts = nn.Parameter(torch.rand(config.prompt_count, prompt, size, size))
        self.select = nn.Linear(channels + 1, config.prompt_count)
        self.smooth = nn.Conv2d(prompt, prompt, 3, padding=1, bias=False)
        reduce = nn.Conv2d(channels + prompt, channels, 1, bias=False)
        width = channels if config.separable else channels + prompt
        block = _block(config, level, width)
        self.apply_prompt = nn.Sequential(
            *((reduce, block) if config.separable else (block, reduce))
        )

    def forward(self, features: Tensor, dominance: Tensor) -> Tensor:
        """(B, C, h, w) and its dominance (B, 1, h, w) to (B, C, h, w)."""
        pooled = torch.cat((features, dominance), dim=1).mean((2, 3))  # (B, C+1)
        weights = self.select(pooled).softmax(dim=1)  # (B, count)
        prompt = torch.einsum("bn,nchw->bchw", weights, self.prompts)
        prompt = F.interpolate(prompt, features.shape[2:], mode="bilinear", align_corners=False)
        joined = torch.cat((features, self.smooth(prompt)), dim=1)
        prompted: Tensor = self.apply_prompt(joined)
        return prompted


class SelfEnhancement(nn.Module):
    """SE: conv(F^m) + PromptBlock(F^m, RD^m) (equation 6)."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels = config.channels << level
        self.own = _conv3x3(channels, channels, config.separable)
        self.prompt_block = PromptBlock(config, level)

    def forward(self, features: Tensor, dominance: Tensor) -> Tensor:
        """(B, C, h, w) and its dominance (B, 1, h, w) to (B, C, h, w)."""
        enhanced: Tensor = self.own(features) + self.prompt_block(features, dominance)
        return enhanced


class RelativeEnhancement(nn.Module):
    """Relative dominance, and what it guides: cross and self enhancement of both modalities.

    Without relative dominance, enhancement is guided by ½ everywhere and no maps are given.
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
        self.reduce = _conv3x3(channels * parts, channels, separable) if parts else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """(2B, C, h, w) to the same, enhanced, and the dominance (B, 2, h, w), if any."""
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
    """What the authors' release has for relative enhancement: one convolution and a gate.

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


def _enhancement(config: NetworkConfig, level: int) -> nn.Module | None:
    if config.released:
        return DominanceGate(config, level)
    guided = config.relative_dominance, config.cross_enhancement, config.self_enhancement
    return RelativeEnhancement(config, level) if any(guided) else None


class DecoderLevel(nn.Module):
    """Upsample, join the encoder's features where the variant does, enhance, decode."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels = config.channels << level
        self.upsample = Upsample(channels * 2, config.separable)
        self.join = (
            nn.Conv2d(channels * 2, channels, 1, bias=False) if config.skip_connections else None
        )
        self.enhance = _enhancement(config, level)
        self.blocks = _blocks(config, level, config.blocks[level], config.decoded_channels(level))

    def forward(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Tensor | None]:
        """(2B, 2C, h, w) and the encoder's (2B, C, 2h, 2w) to the latter's shape; dominance."""
        x = self.upsample(x)
        if self.join is not None:
            x = self.join(torch.cat((x, skip), dim=1))
        dominance = None
        if self.enhance is not None:
            x, dominance = self.enhance(x)
        return self.blocks(x), dominance


class DreamIF(nn.Module):
    """The whole network; sizes from a :class:`NetworkConfig`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels, decoded = config.channels, config.decoded_channels(0)
        pixels = config.image_channels * config.stem**2
        self.embed = nn.Conv2d(pixels, channels, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(
            _blocks(config, level, config.blocks[level], channels << level) for level in range(4)
        )
        self.downsample = nn.ModuleList(Downsample(channels << level) for level in range(3))
        self.decoder = nn.ModuleList(DecoderLevel(config, level) for level in (2, 1, 0))
        self.refinement = _blocks(config, 0, config.refinement_blocks, decoded)
        self.output = nn.Conv2d(decoded, pixels, 3, padding=1, bias=False)
        self.restore = (
            nn.Conv2d(decoded, pixels, 3, padding=1, bias=False) if config.source_residual else None
        )

    def forward(self, infrared: Tensor, visible: Tensor) -> NetworkOutput:
        """Fuse a batch of aligned pairs.

        infrared, visible: (B, 1, H, W) luma or (B, 3, H, W) RGB as the variant has it, in
        [0, 1]; H and W multiples of ``config.size_multiple``.
        """
        sources = torch.cat((infrared, visible))  # (2B, 1 or 3, H, W)
        features, dominance = self._decode(self._encode(sources))
        infrared_features, visible_features = features.chunk(2)
        refined = self.refinement(infrared_features + visible_features)
        fused = F.pixel_shuffle(self.output(refined), self.config.stem)
        if self.restore is None:
            return NetworkOutput(fused, dominance, None, features)
        removed = F.pixel_shuffle(self.restore(features), self.config.stem)
        restored = torch.cat((sources + removed).chunk(2), dim=1)
        fused = fused + self._weighted(restored, dominance)
        return NetworkOutput(fused, dominance, restored, features)

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
        """Finest features of both modalities (2B, C, h, w) and the dominance of each level."""
        x, dominances = levels[3], []
        for decoder, skip in zip(self.decoder, (levels[2], levels[1], levels[0]), strict=True):
            x, dominance = decoder(x, skip)
            if dominance is not None:
                dominances.append(dominance)
        return x, dominances

    def _weighted(self, restored: Tensor, dominance: list[Tensor]) -> Tensor:
        """Mean of both restored images, weighted by the finest dominance (the half, without)."""
        infrared, visible = restored.chunk(2, dim=1)
        if not dominance:
            return (infrared + visible) / 2
        weights = F.interpolate(
            dominance[-1], infrared.shape[2:], mode="bilinear", align_corners=False
        )
        share = weights[:, :1] / weights.sum(1, keepdim=True)
        return visible + share * (infrared - visible)
