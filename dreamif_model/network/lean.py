"""A lean Dream-IF: the ideas of the paper in operations that a CPU does fast.

Its input are the 4×4 phases of the images (pixel unshuffle), so that every layer works at a quarter
of the size or less. Both cameras share one tensor, infrared channels first; a paired convolution
applies the same kernels to both (two groups). Levels 1 to 4 are at 1/4, 1/8, 1/16 and 1/32 of the
image.

    phases, noise ─ level 1 ─ 2 ─ 3 ─ 4             encoder: residual blocks of two 3×3
                                    └ RE ─ up + 3 ─ RE ─ up + 2 ─ RE ─ up + 1 ─ RE ─ heads
    noise: σ of each camera's noise, per cell, as far as a stream knows it; else 0
    heads: restored sources, the share of each per pixel, and a residual

RE is Relative Enhancement, after equations 4 to 7 of the paper; the paper's own version is in
:mod:`dreamif_model.network.enhancement`. Shapes: B batch, C channels of one camera, h×w the level's
size.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamif_model.network.output import NetworkOutput
from dreamif_model.variants import LeanConfig

CANDIDATE_SIDES = (3, 5, 9)  # of the box windows that the candidate filters start from
NOISE_GAIN = 8.0  # makes noise of 32 gray levels as large as the strongest input of an image
CANDIDATE_REACH = 4  # pixels to each side, the reach of a 3×3 convolution of 4×4 phases


class BuiltConvolution(nn.Module):
    """A convolution whose kernels are built from fewer parameters at each call.

    For inference :func:`fold` builds them once.
    """

    stride: int = 1
    padding: int = 0
    groups: int = 1

    def kernels(self) -> tuple[Tensor, Tensor | None]:
        """Weight (C_out, C_in / groups, k, k) and bias (C_out,)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) to (B, C_out, h', w')."""
        weight, bias = self.kernels()
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The same as an ordinary convolution."""
        weight, bias = self.kernels()
        plain = nn.Conv2d(
            weight.shape[1] * self.groups,
            weight.shape[0],
            weight.shape[2],
            self.stride,
            self.padding,
            groups=self.groups,
            bias=bias is not None,
        )
        plain.weight.copy_(weight)
        if bias is not None and plain.bias is not None:
            plain.bias.copy_(bias)
        return plain


class PairedConvolution(BuiltConvolution):
    """The same kernels for both cameras: (B, 2·C_in, h, w) to (B, 2·C_out, h', w')."""

    groups = 2

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(inputs, outputs, size)
        self.stride, self.padding = stride, (size - stride) // 2

    def kernels(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.kernel.weight, self.kernel.bias
        assert bias is not None
        return torch.cat((weight, weight)), torch.cat((bias, bias))


class ResidualBlock(nn.Module):
    """x + conv3(ReLU(conv3 x)), paired; keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = PairedConvolution(channels, channels, 3)
        self.second = PairedConvolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(x)))
        return out


class RelativeDominance(BuiltConvolution):
    """RD^ir = σ(w · (F^ir − F^vi) + b) and RD^vi = 1 − RD^ir, whose sum is 1.

    (B, 2C, h, w) to the logits of both, (B, 2, h, w), which differ in sign only.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)

    def kernels(self) -> tuple[Tensor, Tensor | None]:
        """[[w, −w], [−w, w]] and [b, −b]."""
        weight, bias = self.score.weight, self.score.bias
        assert bias is not None
        row = torch.cat((weight, -weight), dim=1)
        return torch.cat((row, -row)), torch.cat((bias, -bias))


class CrossMixing(BuiltConvolution):
    """1×1 kernels [[a, b], [b, a]]: a for the own camera and, for CE, b for the other."""

    def __init__(self, channels: int, cross: bool) -> None:
        super().__init__()
        self.own = nn.Conv2d(channels, channels, 1)
        self.other = nn.Conv2d(channels, channels, 1, bias=False) if cross else None

    def kernels(self) -> tuple[Tensor, Tensor | None]:
        own, bias = self.own.weight, self.own.bias
        assert bias is not None
        other = torch.zeros_like(own) if self.other is None else self.other.weight
        rows = torch.cat((own, other), dim=1), torch.cat((other, own), dim=1)
        return torch.cat(rows), torch.cat((bias, bias))


class PromptMixture(nn.Module):
    """P^m (SE): a mixture of learned prompt vectors, chosen by the means of F^m and RD^m."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.prompts = nn.Parameter(0.1 * torch.randn(count, channels))
        self.select = nn.Linear(channels + 1, count)

    def forward(self, features: Tensor, dominance: Tensor) -> Tensor:
        """(B, 2C, h, w) and (B, 2, h, w) to (B, 2C, 1, 1)."""
        means = features.mean((2, 3)).unflatten(1, (2, -1)), dominance.mean((2, 3)).unsqueeze(2)
        weights = self.select(torch.cat(means, dim=2)).softmax(dim=2)  # (B, 2, count)
        prompt: Tensor = (weights @ self.prompts).flatten(1)
        return prompt[..., None, None]


class RelativeEnhancement(nn.Module):
    """G = F ⊙ RD + P, then F + conv3(ReLU(own(F) + cross(G))): dominance guides CE and SE.

    Without relative dominance RD is ½ everywhere, without self enhancement P is 0, and without
    cross enhancement G of the other camera is not used.
    """

    def __init__(self, config: LeanConfig, level: int) -> None:
        super().__init__()
        channels = config.channels[level]
        self.dominance = RelativeDominance(channels) if config.relative_dominance else None
        self.prompts = (
            PromptMixture(channels, config.prompt_count) if config.self_enhancement else None
        )
        self.own = PairedConvolution(channels, channels, 3 if level else 1)
        self.cross = CrossMixing(channels, config.cross_enhancement)
        self.last = PairedConvolution(channels, channels, 3)
        spread = torch.eye(2).repeat_interleave(channels, dim=0)[..., None, None]
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Enhance (B, 2C, h, w); also returns the logits of dominance (B, 2, h, w), if any."""
        logits = None
        if self.dominance is None:
            dominance = torch.full_like(features[:, :2], 0.5)
        else:
            logits = self.dominance(features)
            dominance = logits.sigmoid()
        # A convolution copies each map to its camera's channels; broadcasts are slow in OpenVINO.
        guided = features * F.conv2d(dominance, self.get_buffer("spread"))
        if self.prompts is not None:
            guided = guided + self.prompts(features, dominance)
        mixed = self.own(features) + self.cross(guided)
        return features + self.last(F.relu(mixed)), logits


class CandidateFilters(BuiltConvolution):
    """K linear filters of 9×9 pixels, minus the identity, for images as phases.

    A filter is the same for pixels of every phase, so that it leaves no grid, and sums to one, so
    that it keeps the brightness. (B, 2·s², h, w) to (B, 2·K·s², h, w): how each filter changes each
    image.
    """

    groups = 2

    def __init__(self, count: int, stem: int) -> None:
        super().__init__()
        side = 2 * CANDIDATE_REACH + 1
        boxes = torch.zeros(count, side, side)
        for box, width in zip(boxes, CANDIDATE_SIDES[-count:], strict=True):
            margin = (side - width) // 2
            box[margin : side - margin, margin : side - margin] = 1 / width**2
        self.filters = nn.Parameter(boxes)
        self.padding = math.ceil(CANDIDATE_REACH / stem)  # cells
        self.register_buffer("places", _filter_places(stem, self.padding), persistent=False)

    def kernels(self) -> tuple[Tensor, Tensor | None]:
        filters: Tensor = self.filters
        side = filters.shape[-1]
        filters = filters + (1 - filters.sum((1, 2), keepdim=True)) / side**2
        middle = torch.zeros_like(filters[0])
        middle[CANDIDATE_REACH, CANDIDATE_REACH] = 1
        flat = F.pad((filters - middle).flatten(1), (0, 1))  # the last place is 0
        weight = flat[:, self.get_buffer("places")].flatten(0, 1)  # (K·s², s², k, k)
        return torch.cat((weight, weight)), None


def _filter_places(stem: int, cells: int) -> Tensor:
    """(s², s², k, k): which of the 81 filter weights connects an output phase to an input pixel.

    cells: the convolution's reach to each side; k is 2·cells + 1. The place is 81 if the pixel is
    out of the filter's reach.
    """
    side, width = 2 * CANDIDATE_REACH + 1, 2 * cells + 1
    position = torch.arange(stem)
    cell = stem * torch.arange(-cells, cells + 1)
    # Distance from output phase o to the pixel of phase i in the cell beside: (o, i, cell).
    distance = position[None, :, None] + cell - position[:, None, None] + CANDIDATE_REACH
    shape = (stem, stem, stem, stem, width, width)
    rows = distance[:, None, :, None, :, None].expand(shape)
    columns = distance[None, :, None, :, None, :].expand(shape)
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    places = torch.where(inside, rows * side + columns, side**2)
    return places.reshape(stem**2, stem**2, width, width)


class RestorationHead(nn.Module):
    """Restored phases: x + Σ_k gate_k · (filter_k − 1)(x) + a linear map of the features."""

    def __init__(self, channels: int, stem: int, filters: int) -> None:
        super().__init__()
        phases = stem**2
        self.candidates = CandidateFilters(filters, stem)
        self.gate = PairedConvolution(channels, filters * phases, 1)
        self.detail = PairedConvolution(channels, phases, 1)
        sums = torch.block_diag(*[torch.eye(phases).repeat(1, filters)] * 2)[..., None, None]
        self.register_buffer("sum_filters", sums, persistent=False)
        nn.init.zeros_(self.detail.kernel.weight)

    def forward(self, phases: Tensor, features: Tensor) -> Tensor:
        """(B, 2·16, h, w) and (B, 2C, h, w) to (B, 2·16, h, w)."""
        gates = (self.gate(features) / 6 + 0.5).clamp(0, 1)  # a hard sigmoid, in fast operations
        changes = self.candidates(phases) * gates
        summed = F.conv2d(changes, self.get_buffer("sum_filters"))
        out: Tensor = phases + self.detail(features) + summed
        return out


class BilinearPhases(nn.Module):
    """(B, 1, h, w) enlarged to (B, 1, s·h, s·w) bilinearly, given as phases (B, s², h, w)."""

    def __init__(self, stem: int) -> None:
        super().__init__()
        impulse = torch.eye(9).reshape(9, 1, 3, 3)
        enlarged = F.interpolate(impulse, scale_factor=stem, mode="bilinear", align_corners=False)
        middle = F.pixel_unshuffle(enlarged, stem)[..., 1, 1]  # (9, s²)
        self.register_buffer("weight", middle.T.reshape(-1, 1, 3, 3), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge as ``F.interpolate`` does, with repeated borders."""
        padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.get_buffer("weight"))


class LeanDreamIF(nn.Module):
    """The lean network."""

    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        self.config = config
        channels, pixels = config.channels, config.stem**2
        self.embed = PairedConvolution(pixels, channels[0], 3)
        self.embed_noise = PairedConvolution(1, channels[0], 3) if config.noise_map else None
        self.downsample = nn.ModuleList(
            PairedConvolution(fine, coarse, 2, stride=2) for fine, coarse in pairwise(channels)
        )
        self.encoder = nn.ModuleList(ResidualBlock(count) for count in channels[1:])
        self.upsample = nn.ModuleList(
            PairedConvolution(coarse, fine, 1) for fine, coarse in pairwise(channels)
        )
        self.enhance = nn.ModuleList(
            RelativeEnhancement(config, level) for level in range(len(channels))
        )
        self.restore = RestorationHead(channels[0], config.stem, config.candidate_filters)
        self.head = nn.Conv2d(2 * channels[0], config.head_channels, 3, padding=1)
        self.output = nn.Conv2d(config.head_channels, pixels, 3, padding=1)
        self.enlarge = BilinearPhases(config.stem)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            for parameter in self.embed_noise.parameters() if self.embed_noise else ():
                parameter.zero_()

    def forward(
        self, infrared: Tensor, visible: Tensor, noise: Tensor | None = None
    ) -> NetworkOutput:
        """Fuse a batch of aligned pairs.

        infrared, visible: (B, 1, H, W) luma in [0, 1]; H and W multiples of
        ``config.size_multiple``. noise: (B, 2, H / stem, W / stem), σ of the noise of infrared and
        visible in each cell, in [0, 1]; 0 where it is not known, which None stands for.
        """
        stem = self.config.stem
        sources = F.pixel_unshuffle(torch.cat((infrared, visible), dim=1), stem) - 0.5
        fused, restored, logits = self.forward_phases(sources, noise)
        restored = F.pixel_shuffle(restored, stem) + 0.5  # (B, 2, H, W)
        return NetworkOutput(
            F.pixel_shuffle(fused, stem) + 0.5,
            [logit.sigmoid() for logit in logits],
            torch.cat(restored.split(1, dim=1)),
        )

    def forward_phases(
        self, phases: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Phases (B, 2·16, h, w) in [−½, ½] to fused and restored phases, and logits.

        noise: (B, 2, h, w). Fused is (B, 16, h, w), restored (B, 2·16, h, w). The logits of
        dominance are (B, 2, h', w') for each level from coarse to fine.
        """
        features, logits = self._decode(self._encode(phases, noise))
        restored = self.restore(phases, features)
        residual = self.output(F.relu(self.head(features)))  # (B, 16, h, w)
        infrared, visible = restored.chunk(2, dim=1)
        share = self.enlarge(logits[-1][:, :1]).sigmoid() if logits else 0.5
        fused = visible + share * (infrared - visible) + residual
        return fused, restored, logits

    def _encode(self, phases: Tensor, noise: Tensor | None) -> list[Tensor]:
        """Features of the levels, fine to coarse."""
        embedded = self.embed(phases)
        if self.embed_noise is not None:
            noise = torch.zeros_like(phases[:, :2]) if noise is None else noise
            embedded = embedded + self.embed_noise(NOISE_GAIN * noise)
        levels = [F.relu(embedded)]
        for down, block in zip(self.downsample, self.encoder, strict=True):
            levels.append(block(F.relu(down(levels[-1]))))
        return levels

    def _decode(self, levels: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Finest features (B, 2C, h, w), and the logits of dominance per level."""
        logits = []
        features = levels[-1]
        for level in reversed(range(len(levels))):
            if level < len(levels) - 1:
                features = levels[level] + F.interpolate(
                    self.upsample[level](features), scale_factor=2, mode="nearest"
                )
            features, logit = self.enhance[level](features)
            if logit is not None:
                logits.append(logit)
        return features, logits


def fold(network: nn.Module) -> None:
    """Replace convolutions that build their kernels by ordinary ones, for inference."""
    for name, child in network.named_children():
        if isinstance(child, BuiltConvolution):
            setattr(network, name, child.folded())
        else:
            fold(child)
