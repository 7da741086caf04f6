"""One call from both cameras' images to the fused image; the node and all commands use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage, to_bytes
from dreamif_model.engine import FusionEngine
from dreamif_model.errors import ImageError
from dreamif_model.fusion_result import FusionResult
from dreamif_model.registration.drift import LaidPair
from dreamif_model.registration.warp import Calibration, Registrar, resize, resize_nearest
from dreamif_model.stream import StreamFuser
from dreamif_model.temporal.filter import TemporalFilter
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer

WARM_UP_SHAPE = (480, 640)
MAX_WARM_UP_PIXELS = 1 << 23  # of a size that a calibration claims


class FusionPipeline:
    """Thermal normalization, registration and the fusion engine in one call. Not thread-safe.

    Keep one pipeline for one pair of cameras: it carries the thermal range from frame to frame.

    Args:
        variant: one of :data:`dreamif_model.VARIANTS`.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        weights: file of ``dreamif train`` or ``dreamif export`` instead of the packaged weights.
        thermal: how infrared counts or degrees become gray levels; None for the defaults.
        precision: numeric precision: ``auto`` (the fastest here), ``fp32``, ``fp16`` or ``bf16``.
        registration: how infrared lies on the visible image; None to resize infrared to it.
        dominance_smoothing: start value of the attribute.
        backend: ``auto`` (torch on CUDA, OpenVINO on a CPU, torch where OpenVINO is missing),
            ``torch``, ``openvino``, ``onnxruntime`` or ``tensorrt``.

    Raises:
        ConfigError: a setting is unknown, or two settings exclude each other.
        DeviceError: a device or package that you asked for is missing.
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
        self.registrar = Registrar(registration) if registration else None
        self.normalizer = ThermalNormalizer(thermal)
        self.dominance_smoothing = dominance_smoothing

    @property
    def dominance_smoothing(self) -> float:
        """Share of the previous dominance maps that stays where nothing moves, in [0, 1).

        0 is off. You can set it at any time. It does not change the fused image.
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
        detection_image: bool = False,
    ) -> FusionResult:
        """Fuse one pair of images of the same moment.

        Infrared is registered or, without a registration, resized to (H, W). Where registered
        infrared does not reach, the fused image is the visible one.

        Args:
            visible: (H, W, 3) RGB or (H, W) gray, uint8.
            infrared: (h, w) uint8 or uint16 counts, or float32 °C.
            score_alignment: also measure how well the edges of both images agree.
            detection_image: also make the picture in which a detector finds more: see
                :mod:`dreamif_model.detection_image`.

        Returns:
            Arrays of the visible image's size.

        Raises:
            ImageError: an image has another shape or type.
        """
        return self._fuse(visible, infrared, score_alignment, detection_image)

    def _fuse(
        self,
        visible: NDArray[np.generic],
        infrared: NDArray[np.generic],
        score_alignment: bool,
        detection_image: bool,
        memory: TemporalFilter | None = None,
        time_s: float | None = None,
    ) -> FusionResult:
        """Fuse one pair, with the memory of earlier ones if a stream has one."""
        started = time.perf_counter()
        pixels = _checked_visible(visible)
        normalized = self.normalizer.normalize(infrared)
        if memory:
            normalized = memory.without_stripes(normalized)
        normalized_at = time.perf_counter()
        registered, coverage = self._register(normalized, pixels.shape)
        registered_at = time.perf_counter()
        noise = None
        if memory:
            pixels, registered, noise = memory.filter(pixels, registered, time_s)
        filtered_at = time.perf_counter()
        output = self.engine.fuse(pixels, registered, coverage, detection_image, noise)
        timings = {
            "normalize": normalized_at - started,
            "warp": registered_at - normalized_at,
            "infer": time.perf_counter() - filtered_at,
        }
        if memory:
            timings["temporal"] = filtered_at - registered_at
        laid = _laid(pixels, registered, coverage) if score_alignment else None
        return FusionResult(
            fused=output.fused,
            dominance_infrared=output.dominance[0],
            dominance_visible=output.dominance[1],
            timings=timings,
            alignment=laid.score() if laid else None,
            laid=laid,
            detection_image=output.detection_image,
            measured=self._measured(normalized.shape, pixels.shape),
        )

    def stream(self, temporal: TemporalConfig | None = None) -> StreamFuser:
        """Return a fuser that remembers earlier frames of this pipeline's cameras.

        Args:
            temporal: what it does with them; None for mode ``auto``.

        Returns:
            A fuser for one video; several of them do not share what they remember.
        """
        memory = TemporalFilter(smooths=not self.engine.backend.noise_map)
        return StreamFuser(self._fuse, memory, temporal)

    def visible_alone(self, visible: NDArray[np.generic]) -> FusionResult:
        """Return the visible image as it is, for when there is no infrared image.

        Args:
            visible: (H, W, 3) RGB or (H, W) gray, uint8.

        Returns:
            The visible image with dominance 1; infrared has dominance 0.

        Raises:
            ImageError: the image has another shape or type.
        """
        pixels = _checked_visible(visible)
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        nothing = np.zeros(pixels.shape[:2], np.float32)
        return FusionResult(rgb, nothing, nothing + 1, {}, detection_image=rgb)

    def infrared_alone(
        self, infrared: NDArray[np.generic], visible_shape: tuple[int, ...] | None = None
    ) -> FusionResult:
        """Return infrared as a gray image, for when there is no visible image.

        Args:
            infrared: (h, w) uint8 or uint16 counts, or float32 °C.
            visible_shape: (H, W) of the visible camera, on whose pixels infrared is laid. None
                for the size of the registration or, without one, of infrared.

        Returns:
            Infrared with dominance 1; black with dominance 0 where registered infrared does not
            reach.

        Raises:
            ImageError: the image has another shape or type.
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
        return FusionResult(
            rgb,
            reach,
            np.zeros_like(reach),
            timings,
            detection_image=rgb,
            measured=self._measured(normalized.shape, shape),
        )

    def register(self, registration: Calibration | Registrar) -> None:
        """Use another registration from the next frame on.

        Args:
            registration: how infrared lies on the visible image, or the warp of that.

        Raises:
            ConfigError: it puts the infrared image outside the visible one.
        """
        self.registrar = (
            registration if isinstance(registration, Registrar) else Registrar(registration)
        )

    def warm_up(self, shape: tuple[int, int] | None = None) -> None:
        """Fuse a blank pair, so that the first frame does not wait for the network to compile.

        A frame of another size is compiled for again, in less than a second.

        Args:
            shape: (H, W) of the visible images. None for the size of the registration, of the
                network's file, or 480×640.
        """
        only = self.engine.backend.only_shape
        height, width = shape or self._own_shape() or only or WARM_UP_SHAPE
        blank = np.zeros((height, width), np.uint8)
        self.engine.fuse(blank, blank)
        self.engine.smoother.reset()

    def _own_shape(self) -> tuple[int, int] | None:
        """(H, W) of the visible images that the registration is for, where it is a usual size."""
        if self.registrar is None:
            return None
        width, height = self.registrar.calibration.visible_size
        return (height, width) if height * width <= MAX_WARM_UP_PIXELS else None

    def _register(
        self, infrared: GrayImage, shape: tuple[int, ...]
    ) -> tuple[GrayImage, FloatImage | None]:
        """Infrared on the visible pixels, and the coverage where some of them lack it."""
        if self.registrar is None:
            return resize(infrared, shape[:2]), None
        warp = self.registrar.warp(infrared.shape, shape)
        return warp(infrared), None if warp.covers_all else warp.coverage

    def _measured(
        self, infrared_shape: tuple[int, ...], shape: tuple[int, ...]
    ) -> Callable[[], NDArray[Any]]:
        """What was measured in the frame just normalized, laid on the visible pixels."""
        measured = self.normalizer.measured
        if self.registrar is None:
            return lambda: resize_nearest(measured(), shape)
        warp = self.registrar.warp(infrared_shape, shape)
        return lambda: warp.nearest(measured())


def _laid(visible: ByteImage, infrared: GrayImage, coverage: FloatImage | None) -> LaidPair:
    green = visible if visible.ndim == 2 else visible[..., 1]  # luma enough for edges
    return LaidPair(infrared, green, coverage)


def _checked_visible(visible: NDArray[np.generic]) -> ByteImage:
    gray_or_rgb = visible.ndim == 2 or (visible.ndim == 3 and visible.shape[2] == 3)
    if not gray_or_rgb or visible.size == 0 or visible.dtype != np.uint8:
        raise ImageError(
            "the visible image must be uint8, (H, W, 3) RGB or (H, W), and not empty: "
            f"got {visible.dtype} {visible.shape}"
        )
    return visible.astype(np.uint8, copy=False)
