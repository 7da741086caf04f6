"""The whole way of a frame through the model, as the node, the command line and tests take it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage, RgbImage, to_bytes
from dreamif_model.engine import FusionEngine
from dreamif_model.errors import ImageError
from dreamif_model.registration.alignment import alignment_score
from dreamif_model.registration.warp import Calibration, Registrar, resize
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer

WARM_UP_SHAPE = (480, 640)


@dataclass(frozen=True)
class FusionResult:
    """One fused pair; every array has the visible image's height and width.

    Attributes:
        fused: uint8 (H, W, 3) RGB.
        dominance_infrared: float32 (H, W) in [0, 1].
        dominance_visible: float32 (H, W) in [0, 1].
        timings: seconds of each stage: normalize, warp, infer.
        alignment: of the edges in [-1, 1], where it was asked for: :func:`alignment_score`.
    """

    fused: RgbImage
    dominance_infrared: FloatImage
    dominance_visible: FloatImage
    timings: dict[str, float]
    alignment: float | None = None


class FusionPipeline:
    """Thermal normalization, registration and the fusion engine in one call. Not thread-safe.

    Args:
        variant: one of :data:`dreamif_model.VARIANTS`.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        weights: file of ``dreamif train`` or ``dreamif export`` instead of the packaged weights.
        thermal: how counts become gray levels.
        precision: ``auto`` (the fastest that the backend has here), ``fp32``, ``fp16``, ``bf16``.
        registration: how infrared lies on the visible image; without it, infrared is resized.
        dominance_smoothing: see the attribute.
        backend: ``auto`` (torch on CUDA, OpenVINO on a CPU, torch where OpenVINO is missing),
            ``torch``, ``openvino``, ``onnxruntime`` or ``tensorrt``.

    Raises:
        ConfigError: a setting is unknown, or cannot be had together with another.
        DeviceError: a device or package that was asked for is missing.
        WeightsError: the weights cannot be used.
    """

    def __init__(
        self,
        variant: str = "nano",
        device: str = "auto",
        weights: Path | str | None = None,
        thermal: ThermalConfig | None = None,
        precision: str = "auto",
        registration: Calibration | None = None,
        dominance_smoothing: float = 0.0,
        backend: str = "auto",
    ) -> None:
        self.engine = FusionEngine(variant, device, weights, precision, backend=backend)
        self._registrar = Registrar(registration) if registration else None
        self.normalizer = ThermalNormalizer(thermal)
        self.dominance_smoothing = dominance_smoothing

    @property
    def dominance_smoothing(self) -> float:
        """Share of the last dominance maps that stays where nothing moves, in [0, 1); 0 is off.

        May be set at any time. The fused image is the same with it.
        """
        return self.engine.smoother.share

    @dominance_smoothing.setter
    def dominance_smoothing(self, share: float) -> None:
        self.engine.smoother.share = share

    def fuse(
        self,
        visible: NDArray[np.generic],
        infrared: NDArray[np.generic],
        score_alignment: bool = False,
    ) -> FusionResult:
        """Fuse one pair of images of the same moment.

        Args:
            visible: uint8 (H, W, 3) RGB or (H, W) gray.
            infrared: (h, w) counts, uint8 or uint16, or °C, float32; registered or, without
                registration, resized to (H, W) where it differs. Where registered infrared does
                not reach, the fused image is the visible one.
            score_alignment: also judge how well the edges of both images lie on each other.

        Raises:
            ImageError: an image has another shape or type.
        """
        started = time.perf_counter()
        pixels = _checked_visible(visible)
        normalized = self.normalizer.normalize(infrared)
        normalized_at = time.perf_counter()
        registered, coverage = self._register(normalized, pixels.shape)
        registered_at = time.perf_counter()
        output = self.engine.fuse(pixels, registered, coverage)
        return FusionResult(
            fused=output.fused,
            dominance_infrared=output.dominance[0],
            dominance_visible=output.dominance[1],
            timings={
                "normalize": normalized_at - started,
                "warp": registered_at - normalized_at,
                "infer": time.perf_counter() - registered_at,
            },
            alignment=_score(pixels, registered, coverage) if score_alignment else None,
        )

    def visible_alone(self, visible: NDArray[np.generic]) -> FusionResult:
        """The visible image as it is, where infrared cannot be had; its dominance is 1."""
        pixels = _checked_visible(visible)
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        nothing = np.zeros(pixels.shape[:2], np.float32)
        return FusionResult(rgb, nothing, nothing + 1, {})

    def infrared_alone(
        self, infrared: NDArray[np.generic], visible_shape: tuple[int, ...] | None = None
    ) -> FusionResult:
        """Infrared as gray, where no visible image can be had; its dominance is 1.

        Args:
            infrared: as :meth:`fuse` takes it.
            visible_shape: (H, W) of the visible camera where known: infrared is laid on its
                pixels, black where registered infrared does not reach. By default the size of
                the registration, or infrared's own.
        """
        started = time.perf_counter()
        normalized = self.normalizer.normalize(infrared)
        normalized_at = time.perf_counter()
        shape = visible_shape or self._own_shape() or normalized.shape
        gray, coverage = self._register(normalized, shape)
        reach = np.ones(gray.shape, np.float32) if coverage is None else coverage.copy()
        if coverage is not None:
            gray = to_bytes(gray * coverage)
        timings = {
            "normalize": normalized_at - started,
            "warp": time.perf_counter() - normalized_at,
        }
        rgb = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        return FusionResult(rgb, reach, np.zeros_like(reach), timings)

    def register(self, calibration: Calibration) -> None:
        """Lay infrared on the visible image by this from the next frame on."""
        self._registrar = Registrar(calibration)

    def warm_up(self, shape: tuple[int, int] | None = None) -> None:
        """Fuse a blank pair of ``shape`` (H, W): what the first frame would otherwise wait for.

        By default of the registration's size, the network's or :data:`WARM_UP_SHAPE`. A backend
        that compiles for a size does so again at the first frame of another one, in less than a
        second.
        """
        only = self.engine.backend.only_shape
        height, width = shape or self._own_shape() or only or WARM_UP_SHAPE
        blank = np.zeros((height, width), np.uint8)
        self.engine.fuse(blank, blank)
        self.engine.smoother.reset()

    def _own_shape(self) -> tuple[int, int] | None:
        """(H, W) of the visible images that the registration is for."""
        if self._registrar is None:
            return None
        width, height = self._registrar.calibration.visible_size
        return height, width

    def _register(
        self, infrared: GrayImage, shape: tuple[int, ...]
    ) -> tuple[GrayImage, FloatImage | None]:
        """Infrared on the visible pixels, and the coverage where some of them lack it."""
        if self._registrar is None:
            return resize(infrared, shape[:2]), None
        warp = self._registrar.warp(infrared.shape, shape)
        return warp(infrared), None if warp.covers_all else warp.coverage


def _score(
    visible: ByteImage,
    infrared: GrayImage,
    coverage: FloatImage | None,
) -> float:
    green = visible if visible.ndim == 2 else visible[..., 1]  # luma enough for edges
    return alignment_score(infrared, green, coverage)


def _checked_visible(visible: NDArray[np.generic]) -> ByteImage:
    gray_or_rgb = visible.ndim == 2 or (visible.ndim == 3 and visible.shape[2] == 3)
    if not gray_or_rgb or visible.size == 0 or visible.dtype != np.uint8:
        raise ImageError(
            "the visible image must be uint8, (H, W, 3) RGB or (H, W), and not empty: "
            f"got {visible.dtype} {visible.shape}"
        )
    return visible.astype(np.uint8, copy=False)
