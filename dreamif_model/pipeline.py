"""The whole way of a frame through the model, as the node, the command line and tests take it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.engine import FusionEngine
from dreamif_model.errors import ImageError
from dreamif_model.registration.alignment import alignment_score
from dreamif_model.registration.warp import Calibration, Registrar, resize
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer


@dataclass(frozen=True)
class FusionResult:
    """One fused pair; every array has the visible image's height and width."""

    fused: NDArray[np.uint8]  # (H, W, 3) RGB
    dominance_infrared: NDArray[np.float32]  # (H, W) in [0, 1]
    dominance_visible: NDArray[np.float32]  # (H, W) in [0, 1]
    timings: dict[str, float]  # seconds per stage: normalize, register, infer
    alignment: float | None = None  # of the edges in [-1, 1], where asked for: alignment_score


class FusionPipeline:
    """Thermal normalization, registration and the fusion engine in one call.

    variant: one of :data:`dreamif_model.VARIANTS`. device: ``auto``, ``cpu``, ``cuda`` or
    ``cuda:N``. weights: a safetensors file instead of the packaged weights. precision: ``auto``
    (fp16 on CUDA, fp32 on the CPU), ``fp32``, ``fp16`` (CUDA only) or ``bf16``. registration: how
    infrared lies on the visible image; without, it is resized to it. Raises ConfigError,
    DeviceError or WeightsError when one of them cannot be had. Not thread-safe.
    """

    def __init__(
        self,
        variant: str = "nano",
        device: str = "auto",
        weights: Path | str | None = None,
        thermal: ThermalConfig | None = None,
        precision: str = "auto",
        registration: Calibration | None = None,
    ) -> None:
        self.engine = FusionEngine(variant, device, weights, precision)
        self._registrar = Registrar(registration, self.engine.device) if registration else None
        self.normalizer = ThermalNormalizer(thermal)

    def fuse(
        self,
        visible: NDArray[np.generic],
        infrared: NDArray[np.generic],
        score_alignment: bool = False,
    ) -> FusionResult:
        """Fuse one pair of images of the same moment.

        visible: (H, W, 3) RGB or (H, W) gray, uint8. infrared: (h, w) uint8 or uint16, registered
        or, without registration, resized to (H, W) where it differs. Where registered infrared
        does not reach, the fused image is the visible one and dominance is 0 and 1. Raises
        ImageError for other shapes or types, or sizes that the registration is not for.
        score_alignment: also judge how well the edges lie on each other, a few milliseconds.
        """
        started = time.perf_counter()
        pixels = _checked_visible(visible)
        normalized = self.normalizer.normalize(infrared)
        normalized_at = time.perf_counter()
        registered, coverage = self._register(normalized, pixels.shape)
        registered_at = time.perf_counter()
        output = self.engine.fuse(pixels, registered, coverage=coverage)
        return FusionResult(
            fused=output.fused,
            dominance_infrared=output.dominance[0],
            dominance_visible=output.dominance[1],
            timings={
                "normalize": normalized_at - started,
                "register": registered_at - normalized_at,
                "infer": time.perf_counter() - registered_at,
            },
            alignment=self._score(pixels, registered, coverage) if score_alignment else None,
        )

    def _score(
        self,
        visible: NDArray[np.uint8],
        infrared: NDArray[np.float32] | Tensor,
        coverage: Tensor | None,
    ) -> float:
        green = visible if visible.ndim == 2 else visible[..., 1]  # luma enough for edges
        device = infrared.device if isinstance(infrared, Tensor) else "cpu"
        gray = torch.from_numpy(np.require(green, requirements=("C", "W"))).to(device) / 255
        return alignment_score(infrared, gray, coverage)

    @torch.inference_mode()
    def _register(
        self, infrared: NDArray[np.float32], shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32] | Tensor, Tensor | None]:
        """Infrared on the visible pixels, and the coverage where there is a registration."""
        if self._registrar is None:
            return resize(infrared, shape[:2]), None
        warp = self._registrar.warp(infrared.shape, shape)
        return warp(infrared), warp.coverage


def _checked_visible(visible: NDArray[np.generic]) -> NDArray[np.uint8]:
    gray_or_rgb = visible.ndim == 2 or (visible.ndim == 3 and visible.shape[2] == 3)
    if not gray_or_rgb or visible.size == 0 or visible.dtype != np.uint8:
        raise ImageError(
            "the visible image must be uint8, (H, W, 3) RGB or (H, W), and not empty: "
            f"got {visible.dtype} {visible.shape}"
        )
    return visible.astype(np.uint8, copy=False)
