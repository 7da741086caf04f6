"""The engine fuses one aligned, normalized pair: fused image and dominance maps.

All images are uint8::

    visible, infrared ── prepare ── backend ── finish ── fused, dominance

Where the network fuses luma, ``finish`` adds the change of luma to each channel of the visible
image, so that the chroma stays exactly the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dreamif_model.arrays import (
    ByteImage,
    FloatImage,
    FloatPair,
    GrayImage,
    RgbImage,
    as_bytes,
    padded,
    with_luma,
)
from dreamif_model.backends import Layers, make_backend
from dreamif_model.cameras import Both
from dreamif_model.detection_image import detection_luma
from dreamif_model.device import keep_freed_memory
from dreamif_model.dominance.smoothing import DominanceSmoother
from dreamif_model.errors import ConfigError
from dreamif_model.model_files.model_source import ModelSource
from dreamif_model.variants import AVERAGE, VARIANTS

if TYPE_CHECKING:  # torch takes 2 s and 500 MB, and most engines do without it
    from dreamif_model.network import Network


STAGES = ("prepare", "network", "finish")
CHROMA_WINDOW = 16  # pixels; noise and chroma are averaged over squares of this side
CHROMA_NOISE = 0.04  # mean change of luma, of [0, 1], at which chroma is fully smoothed
NO_NOISE = 0.01  # a smaller weight of smoothed chroma is invisible


@dataclass(frozen=True)
class EngineOutput:
    """Arrays of one fused pair, all of the visible image's size.

    Attributes:
        fused: (H, W, 3) RGB.
        dominance: (2, H, W) in [0, 1], infrared first.
        seconds: wall time of each of :data:`STAGES`.
        detection_image: (H, W, 3) RGB for detectors; None if nobody asked for it.
    """

    fused: RgbImage
    dominance: FloatPair
    seconds: dict[str, float]
    detection_image: RgbImage | None = None


class FusionEngine:
    """Runs one variant on one device; not thread-safe.

    Args:
        variant: one of :data:`dreamif_model.VARIANTS`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        weights: file of ``dreamif train`` or ``dreamif export`` instead of the packaged weights.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``, as far as the backend has it.
        network: a network in memory, instead of weights.
        backend: one of :data:`dreamif_model.backends.BACKENDS`; ``auto`` is the fastest here.

    Attributes:
        backend: runs the network; it has a ``name``, ``device`` and ``precision``.
        smoother: smooths the dominance maps of a sequence; off at first.
    """

    def __init__(
        self,
        variant: str = "nano",
        device: str = "auto",
        weights: Path | str | None = None,
        precision: str = "auto",
        network: Network | None = None,
        backend: str = "auto",
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
        if variant == AVERAGE and weights:
            raise ConfigError(f"variant {AVERAGE} has no network: weights {weights} are not for it")
        keep_freed_memory()
        source = ModelSource(variant, Path(weights) if weights else None, network)
        self.variant = variant
        self.backend = make_backend(source, backend, device, precision)
        self.smoother = DominanceSmoother()

    def fuse(
        self,
        visible: ByteImage,
        infrared: GrayImage,
        coverage: FloatImage | None = None,
        detection_image: bool = False,
        noise: Both[FloatImage] | None = None,
    ) -> EngineOutput:
        """Fuse one pair.

        Args:
            visible: (H, W, 3) RGB or (H, W) gray.
            infrared: (H, W).
            coverage: (H, W) in [0, 1], how much infrared counts; where it is 0, the fused image is
                the visible one and infrared has dominance 0. None for 1 everywhere.
            detection_image: also make the picture for detectors.
            noise: σ of both images' noise in gray levels, by block of 4×4 pixels, if it is known.
        """
        started = time.perf_counter()
        luma = visible if visible.ndim == 2 else as_bytes(cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY))
        if coverage is not None:
            infrared = _blend(infrared, luma, coverage)
        shown = luma if self.backend.luma else _rgb(visible)
        multiple = self.backend.size_multiple
        inputs = padded(infrared, multiple), padded(shown, multiple)
        prepared = time.perf_counter()
        layers = self.backend.fuse(*inputs, detection_image, noise)
        inferred = time.perf_counter()
        fused = _finish(layers, visible, luma)
        dominance = self.smoother.smooth(layers.dominance, infrared, luma)
        maps = _enlarge(dominance, inputs[0].shape, luma.shape)
        picture = None
        if detection_image:
            picture = _detection_image(layers, visible, luma, infrared, coverage)
        if coverage is not None:
            fused = _blend(fused, _rgb(visible), coverage)
            maps = np.stack((maps[0] * coverage, 1 + coverage * (maps[1] - 1)))
        finished = time.perf_counter()
        times = (prepared - started, inferred - prepared, finished - inferred)
        return EngineOutput(fused, maps, dict(zip(STAGES, times, strict=True)), picture)


def _finish(layers: Layers, visible: ByteImage, luma: GrayImage) -> ByteImage:
    """Crop the padding and put colour back: (H, W, 3) RGB in an array of its own."""
    height, width = luma.shape
    fused = layers.fused[:height, :width]
    return fused.copy() if fused.ndim == 3 else _color(fused, layers.removed, visible, luma)


def _detection_image(
    layers: Layers,
    visible: ByteImage,
    luma: GrayImage,
    infrared: GrayImage,
    coverage: FloatImage | None,
) -> RgbImage:
    """Made of the restored images, so that noise does no harm, or else of those that came."""
    height, width = luma.shape
    sources = layers.restored or Both(infrared, luma)
    infrared, shown = (image[:height, :width] for image in sources)
    return _color(detection_luma(infrared, shown, coverage), layers.removed, visible, luma)


def _color(
    fused: GrayImage, removed: FloatImage | None, visible: ByteImage, luma: GrayImage
) -> RgbImage:
    """Put the colour of the visible image on another luma; it is smoothed where noise was."""
    height, width = luma.shape
    if visible.ndim == 2:
        return _rgb(fused)
    colored = with_luma(visible, luma, fused)
    if removed is None:
        return colored
    size = max(1, width // CHROMA_WINDOW), max(1, height // CHROMA_WINDOW)
    change = cv2.resize(removed, size, interpolation=cv2.INTER_AREA)
    weight = np.minimum(change / CHROMA_NOISE, 1).astype(np.float32) ** 2
    if weight.max() < NO_NOISE:
        return colored
    # The same again, with the colours of a coarse copy of the visible image.
    coarse = as_bytes(cv2.resize(visible, size, interpolation=cv2.INTER_AREA))
    coarse_luma = as_bytes(cv2.resize(luma, size, interpolation=cv2.INTER_AREA))
    smooth = with_luma(_enlarged(coarse, luma), _enlarged(coarse_luma, luma), fused)
    return _blend(smooth, colored, cv2.resize(weight, (width, height)))


def _blend(first: ByteImage, second: ByteImage, share: FloatImage) -> ByteImage:
    """Share · first + (1 − share) · second, rounded."""
    return as_bytes(cv2.blendLinear(first, second, share, 1 - share))


def _enlarged(image: ByteImage, like: ByteImage) -> ByteImage:
    return as_bytes(cv2.resize(image, (like.shape[1], like.shape[0])))


def _enlarge(maps: FloatPair, full: tuple[int, ...], shape: tuple[int, ...]) -> FloatPair:
    """Enlarge maps (2, h, w) of the padded images bilinearly, and crop them to (2, H, W)."""
    found = np.empty((2, *full), np.float32)
    for coarse, fine in zip(maps, found, strict=True):
        cv2.resize(coarse, (full[1], full[0]), dst=fine)
    return np.ascontiguousarray(found[:, : shape[0], : shape[1]])


def _rgb(image: ByteImage) -> ByteImage:
    return image if image.ndim == 3 else as_bytes(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
