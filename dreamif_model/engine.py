"""The engine: one aligned, normalized pair in, the fused image and dominance maps out.

The only boundary between numpy (H, W, C, uint8) and tensors (B, C, H, W, [0, 1]). Three stages
work on the device, each captured as a CUDA graph on CUDA::

    visible, infrared ── upload ── prepare ── network ── finish ── download ── fused, dominance

The network's convolutions and matrix products run in ``precision``, by autocast or in OpenVINO;
the images, colour and dominance maps outside it are fp32 always, and so is the sum of sources and
residual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dreamif_model.checkpoints import load_network
from dreamif_model.color import luma, rgb_to_ycbcr, ycbcr_to_rgb
from dreamif_model.cuda_graph import CapturedStage, Stage, Tensors
from dreamif_model.device import (
    DTYPES,
    exact_arithmetic,
    prepare_cpu,
    resolve_backend,
    resolve_device,
    resolve_precision,
)
from dreamif_model.errors import ConfigError
from dreamif_model.layers import frame_layers
from dreamif_model.network import DreamIF
from dreamif_model.openvino_network import OpenVINONetwork
from dreamif_model.temporal import DominanceSmoother
from dreamif_model.variants import AVERAGE, VARIANTS

STAGES = ("prepare", "network", "finish")
CHROMA_WINDOW = 16  # pixels; noise and chroma are averaged over such squares
CHROMA_NOISE = 0.04  # luma noise (mean deviation in [0, 1]) at which chroma is fully smoothed


@dataclass(frozen=True)
class EngineOutput:
    """Arrays of one fused pair, all of the visible image's size."""

    fused: NDArray[np.uint8]  # (H, W, 3) RGB
    dominance: NDArray[np.float32]  # (2, H, W) in [0, 1], infrared first
    on_device: Tensor | None = None  # fused on the GPU, where asked for; None on the CPU


class FusionEngine:
    """Runs one variant on one device; not thread-safe.

    precision: ``fp32``, ``fp16`` (CUDA only), ``bf16``, or ``auto``: fp16 on CUDA, fp32 on the
    CPU. network: taken over in place of one with weights from a file. backend: what runs the
    network, ``torch`` or, on the CPU only, ``openvino``, which compiles it on the first pair of a
    size. smoother: of the dominance maps of one sequence; off at first.
    """

    def __init__(
        self,
        variant: str = "nano",
        device: str = "auto",
        weights: Path | str | None = None,
        precision: str = "auto",
        network: DreamIF | None = None,
        backend: str = "torch",
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
        if variant == AVERAGE and weights:
            raise ConfigError(f"variant {AVERAGE} has no network: weights {weights} are not for it")
        self.variant, self.backend = variant, resolve_backend(backend)
        self.device = resolve_device(device, self.backend)
        self.precision = resolve_precision(precision, self.device)
        self._dtype = DTYPES[self.precision]
        self.smoother = DominanceSmoother()
        if self.device.type == "cpu":
            prepare_cpu()
        self._luma, self._multiple = True, 1
        self._network: DreamIF | None = None
        self._openvino: OpenVINONetwork | None = None
        if variant != AVERAGE:
            network = network or load_network(variant, weights)
            self._luma, self._multiple = network.config.luma, network.config.size_multiple
            if self.backend == "openvino":
                self._openvino = OpenVINONetwork(network, self.precision)
            else:
                self._network = self._place(network)
        stages: tuple[Stage, ...] = (self._prepare, self._fuse_layers, self._finish)
        if self.device.type == "cuda":
            stages = tuple(CapturedStage(stage) for stage in stages)
        self._stages = stages

    @torch.inference_mode()
    def fuse(
        self,
        visible: NDArray[np.uint8],
        infrared: NDArray[np.float32] | Tensor,
        after_stage: Callable[[], object] | None = None,
        coverage: Tensor | None = None,
        keep_on_device: bool = False,
    ) -> EngineOutput:
        """Fuse one pair.

        visible: (H, W, 3) RGB or (H, W) gray, uint8. infrared: (H, W) float32 in [0, 1]; a tensor
        is on the device already. after_stage: called after each of :data:`STAGES`, to take times.
        coverage: (H, W) float32 in [0, 1] on the device, where infrared is to be believed: at 0
        the fused image is the visible one, and infrared has no dominance. keep_on_device: also
        give the fused image where it was computed, if that is a GPU.
        """
        after = after_stage or (lambda: None)
        prepare, fuse_layers, finish = self._stages
        with exact_arithmetic(self.device):
            if not isinstance(infrared, Tensor):
                infrared = self._upload(infrared)
            covered = () if coverage is None else (coverage,)
            source, *layers = prepare(self._upload(visible), infrared, *covered)
            after()
            fused_layers = fuse_layers(*layers)
            after()
            pixels, maps = finish(source, *fused_layers)
            fused, dominance = self._download(pixels, maps)
            if self.smoother.share:
                seen = self._download(*(self._seen(layer, maps) for layer in layers))
                dominance = self.smoother.smooth(dominance, *seen)
            # A copy: the next frame's CUDA graph writes to the same memory.
            keep = keep_on_device and self.device.type == "cuda"
            on_device = pixels.clone() if keep else None
            after()
        return EngineOutput(fused, dominance, on_device)

    @property
    def uses_cuda_graph(self) -> bool:
        """Whether another pair of the last one's size replays CUDA graphs."""
        return all(isinstance(stage, CapturedStage) and stage.is_captured for stage in self._stages)

    def _place(self, network: DreamIF) -> DreamIF:
        """On the device, channels last; what autocast would convert each time, converted once.

        Normalizations, temperatures and prompts stay in fp32.
        """
        network = network.eval().requires_grad_(False)
        network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(self._dtype)
        return network

    def _upload(self, image: NDArray[Any]) -> Tensor:
        """The array on the device, of its own shape and type; the copy overlaps the host's work."""
        writable = np.require(image, requirements=("C", "W"))  # else torch warns
        tensor = torch.from_numpy(writable)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _download(self, *tensors: Tensor) -> tuple[NDArray[Any], ...]:
        """As arrays; all copies are waited for once."""
        copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return tuple(copy.numpy() for copy in copies)

    def _prepare(
        self, visible: Tensor, infrared: Tensor, coverage: Tensor | None = None
    ) -> Tensors:
        """Uploaded (H, W[, 3]) uint8 and (H, W) to source, infrared and visible.

        The source is the visible image, (1, 3, H, W) YCbCr or, for a variant that fuses RGB,
        RGB; the coverage, if any, is its fourth channel. The other two are what the network
        takes, (1, 1 or 3, H', W'), padded; infrared is the visible luma where not covered.
        """
        if visible.ndim == 2:
            visible = visible[..., None].expand(-1, -1, 3)
        rgb = visible.permute(2, 0, 1)[None].float() / 255
        source = rgb_to_ycbcr(rgb) if self._luma else rgb
        layer = source[:, :1] if self._luma else rgb
        thermal = infrared[None, None]
        if coverage is not None:
            thermal = torch.lerp(luma(rgb), thermal, coverage)
            source = torch.cat((source, coverage[None, None]), dim=1)
        return source, self._pad(thermal.expand_as(layer)), self._pad(layer)

    def _seen(self, layer: Tensor, maps: Tensor) -> Tensor:
        """A network's input (1, C, H', W') as gray levels of the maps' size (H, W)."""
        height, width = maps.shape[1:]
        gray = layer[0, :, :height, :width].mean(0)
        return gray.mul(255).round().to(torch.uint8)

    def _pad(self, image: Tensor) -> Tensor:
        """To the network's multiple, by repeating the last row and column."""
        height, width = image.shape[2:]
        padding = (0, -width % self._multiple, 0, -height % self._multiple)
        return F.pad(image, padding, mode="replicate")

    def _fuse_layers(self, infrared: Tensor, visible: Tensor) -> Tensors:
        """Two (1, 1 or 3, H', W') to what :func:`frame_layers` gives of them."""
        if self._openvino:
            return self._openvino(infrared, visible)
        if self._network is None:
            return (visible + infrared) / 2, visible.new_full((1, 2, *visible.shape[2:]), 0.5)
        half = self._dtype != torch.float32
        with torch.autocast(self.device.type, self._dtype, enabled=half):
            output = self._network(infrared, visible)
        return frame_layers(output)

    def _finish(
        self, source: Tensor, fused: Tensor, dominance: Tensor, restored: Tensor | None = None
    ) -> Tensors:
        """Crop exactly, put colour back: (H, W, 3) uint8 RGB and dominance (2, H, W)."""
        height, width = source.shape[2:]
        source, coverage = source[:, :3], source[:, 3:]
        dominance = dominance[..., :height, :width]
        fused = fused[..., :height, :width]
        if self._luma:
            chroma = source[:, 1:]
            if restored is not None:
                removed = (source[:, :1] - restored[..., :height, :width]).abs()
                chroma = _denoise_chroma(chroma, removed)
            fused = torch.cat((fused, chroma), dim=1)
        if coverage.shape[1]:
            fused = torch.lerp(source, fused, coverage)  # exact at both ends
            infrared, visible = dominance.split(1, dim=1)
            visible = torch.lerp(torch.ones_like(visible), visible, coverage)
            dominance = torch.cat((infrared * coverage, visible), dim=1)
        if self._luma:
            fused = ycbcr_to_rgb(fused)
        pixels = fused.clamp(0, 1).mul_(255).round_().to(torch.uint8)
        return (
            pixels[0].permute(1, 2, 0).contiguous(),
            dominance[0].contiguous(),
        )


def _denoise_chroma(chroma: Tensor, removed: Tensor) -> Tensor:
    """Smooth chroma as far as the network found noise in the luma.

    chroma: (B, 2, H, W). removed: (B, 1, H, W), what the network took from the visible luma.
    """
    height, width = chroma.shape[2:]
    coarse = (max(1, height // CHROMA_WINDOW), max(1, width // CHROMA_WINDOW))
    means = F.interpolate(torch.cat((chroma, removed), dim=1), coarse, mode="area")
    means[:, 2:] = (means[:, 2:] / CHROMA_NOISE).clamp(max=1) ** 2
    means = _upsample(means, height, width)
    return torch.lerp(chroma, means[:, :2], means[:, 2:])


def _upsample(image: Tensor, height: int, width: int) -> Tensor:
    """(B, C, h, w) to (B, C, height, width), bilinear.

    As two products with small matrices, which a CPU does in less time than ``F.interpolate``.
    """
    rows, columns = (
        F.interpolate(torch.eye(old, device=image.device)[None], new, mode="linear")[0]
        for old, new in zip(image.shape[2:], (height, width), strict=True)
    )
    return rows.T @ (image @ columns)
