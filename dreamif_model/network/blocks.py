"""The blocks of encoder and decoder. Shapes: B batch, C channels, h×w."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.variants import NetworkConfig


class LayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
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
        # The Gram matrix of [Q; K] holds Q·Kᵀ and, on its diagonal, the squared norms of Q and K.
        # Normalizing with these is cheaper than normalizing the two large tensors.
        joined = qkv[:, :, :2].reshape(b * self.heads, 2 * width, h * w)
        gram = torch.baddbmm(  # scaled in the sum, because a sum over all pixels overflows in fp16
            joined.new_zeros(()), joined, joined.transpose(1, 2), beta=0, alpha=(h * w) ** -0.5
        )
        gram = gram.float().reshape(b, self.heads, 2 * width, 2 * width)
        norm = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12).sqrt()
        cosine = gram[..., :width, width:] / (norm[..., :width, None] * norm[..., None, width:])
        attention = (cosine * self.temperature).softmax(dim=-1)
        # Projection and attention are linear in V, so the two small matrices are multiplied first.
        projection = self.project.weight.reshape(c, self.heads, width).transpose(0, 1)
        mixing = (projection @ attention).transpose(1, 2).reshape(b, c, c)
        value = qkv[:, :, 2].reshape(b, c, h * w)
        out: Tensor = value.transpose(1, 2) @ mixing.transpose(1, 2)  # (B, h·w, C): channels last
        return out.reshape(b, h, w, c).permute(0, 3, 1, 2)


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (Restormer, eq. 2).

    dense: as in the authors' release, where the 3×3 convolution is not depthwise and doubles the
    channels.
    """

    def __init__(self, channels: int, expansion: float, dense: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        inner, groups = (hidden, 1) if dense else (hidden * 2, hidden * 2)
        self.project_in = nn.Conv2d(channels, inner, 1, bias=False)
        self.depthwise = nn.Conv2d(inner, hidden * 2, 3, padding=1, groups=groups, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (B, C, h, w)."""
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
        attended: Tensor = x + self.attention(self.norm_attention(x))
        out: Tensor = attended + self.feed_forward(self.norm_feed_forward(attended))
        return out


class ConvolutionBlock(nn.Module):
    """Two dense 3×3 convolutions with a ReLU between, added to the input; keeps the shape.

    It replaces a :class:`TransformerBlock` at levels with many pixels and few channels, where a CPU
    spends most of the time on moving the block's intermediate tensors.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(x), inplace=True))
        return out


def make_block(config: NetworkConfig, level: int, channels: int) -> nn.Module:
    """One block of the kind that the variant has at this level."""
    if not config.attention[level]:
        return ConvolutionBlock(channels)
    return TransformerBlock(channels, config.heads[level], config.expansion, config.released)


def make_blocks(config: NetworkConfig, level: int, count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(make_block(config, level, channels) for _ in range(count)))


def conv3x3(inputs: int, outputs: int, separable: bool) -> nn.Module:
    """A 3×3 convolution or, if separable, a depthwise and a pointwise one."""
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


class JoiningConvolution(nn.Conv2d):
    """A 1×1 convolution of the channels of two tensors, without a copy that joins them."""

    def __init__(self, first: int, second: int, outputs: int) -> None:
        super().__init__(first + second, outputs, 1, bias=False)
        self.widths = (first, second)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C1, h, w) and (B, C2, h, w) to (B, C, h, w)."""
        weights = self.weight.split(self.widths, dim=1)
        return F.conv2d(first, weights[0]) + F.conv2d(second, weights[1])


class Downsample(nn.Sequential):
    """(B, C, h, w) to (B, 2C, h/2, w/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2)
        )


class Upsample(nn.Sequential):
    """(B, C, h, w) to (B, C/2, 2h, 2w); pointwise if separable."""

    def __init__(self, channels: int, separable: bool) -> None:
        size = 1 if separable else 3
        super().__init__(
            nn.Conv2d(channels, channels * 2, size, padding=size // 2, bias=False),
            nn.PixelShuffle(2),
        )
