"""Fuses the frames of a video, each with the memory of those before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dreamif_model.fusion_result import FusionResult
from dreamif_model.temporal.filter import TemporalFilter
from dreamif_model.temporal.settings import TemporalConfig


class StreamFuser:
    """Fuses pairs in the order of a video. :meth:`FusionPipeline.stream` makes one.

    A pair is fused when it comes, without delay; the same pairs give the same results. Keep one
    for one pair of cameras. Not thread-safe.

    Args:
        fuse: :meth:`FusionPipeline.fuse` of the cameras' pipeline.
        memory: what was seen so far by this pair of cameras, at first nothing.
        config: what the memory is used for; None for mode ``auto``.

    Attributes:
        memory: What is remembered; its ``noise`` and ``stripes`` tell what was measured.
    """

    def __init__(
        self,
        fuse: Callable[..., FusionResult],
        memory: TemporalFilter,
        config: TemporalConfig | None = None,
    ) -> None:
        self._fuse, self.memory = fuse, memory
        self.config = config or TemporalConfig("auto")

    @property
    def config(self) -> TemporalConfig:
        """What the memory is used for. You can set it at any time."""
        return self._config

    @config.setter
    def config(self, config: TemporalConfig) -> None:
        self._config = config
        self.memory.max_frames = config.max_frames
        if config.mode == "off":
            self.memory.reset()

    def fuse(
        self,
        visible: NDArray[np.generic],
        infrared: NDArray[np.generic],
        score_alignment: bool = False,
        detection_image: bool = False,
        time_s: float | None = None,
    ) -> FusionResult:
        """Fuse the next pair.

        Args:
            visible: (H, W, 3) RGB or (H, W) gray, uint8.
            infrared: (h, w) uint8 or uint16 counts, or float32 °C.
            score_alignment: also measure how well the edges of both images agree.
            detection_image: also make the picture for detectors.
            time_s: when they were taken, in seconds of any clock. All is forgotten where it goes
                back, or on by more than a second. None: each pair follows the last one.

        Returns:
            Arrays of the visible image's size.

        Raises:
            ImageError: an image has another shape or type.
        """
        if self.config.mode == "off":
            return self._fuse(visible, infrared, score_alignment, detection_image)
        return self._fuse(visible, infrared, score_alignment, detection_image, self.memory, time_s)

    def reset(self) -> None:
        """Forget all frames so far: the next one begins another video."""
        self.memory.reset()
