"""What fusing one pair gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, RgbImage
from dreamif_model.registration.drift import LaidPair


@dataclass(frozen=True)
class FusionResult:
    """One fused pair; every array has the visible image's height and width.

    Attributes:
        fused: (H, W, 3) RGB, uint8.
        dominance_infrared: (H, W) float32 in [0, 1], how far infrared was trusted at each pixel.
        dominance_visible: (H, W) float32 in [0, 1], likewise.
        timings: seconds of each stage: ``normalize``, ``warp``, ``infer``; with a memory also
            ``temporal``.
        alignment: how well the edges of both images agree, in [-1, 1]; None if not asked for.
        laid: both images as their edges were compared; None if that was not asked for.
        detection_image: (H, W, 3) RGB, uint8, made for detectors; None if not asked for. Of one
            camera alone it is the fused image.
        measured: makes what infrared measured at each visible pixel: (H, W) in the camera's unit
            and type, each value that of the nearest infrared pixel; NaN, or 0 in whole numbers,
            where nothing was measured. None for the visible image alone.
    """

    fused: RgbImage
    dominance_infrared: FloatImage
    dominance_visible: FloatImage
    timings: dict[str, float]
    alignment: float | None = None
    laid: LaidPair | None = None
    detection_image: RgbImage | None = None
    measured: Callable[[], NDArray[Any]] | None = None
