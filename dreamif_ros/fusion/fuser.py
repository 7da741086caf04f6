"""What is made of the images of one moment: both fused, or the healthier camera alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from dreamif_model import FusionPipeline, FusionResult, ImageError
from dreamif_model.cameras import Both, Camera
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_ros.fusion.camera_health import (
    CameraWatch,
    FusionMode,
    Severity,
    choose_mode,
    severity,
)
from dreamif_ros.fusion.camera_infos import CameraInfos

SCORE_PERIOD_S = 1.0  # between two frames whose alignment is judged
DecodedImages: TypeAlias = Both[NDArray[Any] | None]  # None: there is no image of this camera


class Fuser:
    """Fuses the images that are there.

    refuse: Called with the camera and the reason if its image cannot be used.
    temporal: What the memory of earlier frames is used for.
    sequence: Fuses both, with that memory.
    alignment: Agreement of both images' edges in [-1, 1], as last judged; None before.
    """

    def __init__(
        self,
        pipeline: FusionPipeline,
        infos: CameraInfos,
        watches: Both[CameraWatch],
        refuse: Callable[[Camera, str], None],
        temporal: TemporalConfig | None = None,
    ) -> None:
        self._pipeline, self._infos = pipeline, infos
        self.sequence = pipeline.stream(temporal)
        self._watches, self._refuse = watches, refuse
        self.alignment: float | None = None
        self._scored_s = 0.0

    def fuse(
        self,
        images: DecodedImages,
        visible_shape: tuple[int, int] | None = None,
        detection_image: bool = False,
        time_s: float | None = None,
    ) -> FusionResult | None:
        """Fuse both, or take the healthier camera alone; None if neither is usable.

        visible_shape: (height, width) that infrared alone is laid on, if known.
        detection_image: whether the picture for detectors is wanted, too.
        time_s: when the images were taken.
        """
        mode = choose_mode(Both.make(lambda camera: self._severity(camera, images)))
        infrared, visible = images
        if mode is FusionMode.FUSED and infrared is not None and visible is not None:
            return self._fuse_both(infrared, visible, detection_image, time_s)
        self.accept(images)
        if mode is FusionMode.VISIBLE_ONLY and visible is not None:
            return self._pipeline.visible_alone(visible)
        if mode is FusionMode.INFRARED_ONLY and infrared is not None:
            return self._pipeline.infrared_alone(infrared, visible_shape)
        return None

    def accept(self, images: DecodedImages) -> None:
        """Remember that these images could be used."""
        for camera, image in images.items():
            if image is not None:
                self._watches[camera].accepted()

    def _severity(self, camera: Camera, images: DecodedImages) -> Severity:
        if images[camera] is None:
            return Severity.UNUSABLE
        moved_s = self._watches[camera.other].moved_s
        return severity(self._watches[camera].doubt(time.monotonic(), moved_s))

    def _fuse_both(
        self,
        infrared: NDArray[Any],
        visible: NDArray[Any],
        detection_image: bool,
        time_s: float | None,
    ) -> FusionResult:
        """Fuse both, or take the visible image alone if they do not fit each other."""
        score = time.monotonic() - self._scored_s >= SCORE_PERIOD_S
        try:
            if self._infos.fault:
                raise ImageError(self._infos.fault)
            result = self.sequence.fuse(visible, infrared, score, detection_image, time_s)
        except ImageError as error:
            self._refuse(Camera.INFRARED, str(error))
            return self._pipeline.visible_alone(visible)
        self.accept(Both(infrared, visible))
        if score:
            self._scored_s = time.monotonic()
        if result.alignment is not None:
            self.alignment = result.alignment
        return result
