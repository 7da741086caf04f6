"""The interface of all backends: from prepared images to fused image and dominance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, FloatImage, FloatPair, GrayImage
from dreamif_model.backends.phases import PhasePacker
from dreamif_model.errors import ImageError
from dreamif_model.model_files.graph_info import GraphInfo
from dreamif_model.model_files.model_source import ModelSource


@dataclass(frozen=True)
class Layers:
    """The output of a backend for one pair.

    Attributes:
        fused: of the visible image's shape. The next call overwrites it.
        dominance: (2, h, w) in [0, 1], infrared first, at the network's resolution.
        removed: (h, w) in [0, 1], mean change of the visible luma by restoration; None if the
            network does not restore.
    """

    fused: ByteImage
    dominance: FloatPair
    removed: FloatImage | None


class Backend(ABC):
    """Runs a network on one device, in one precision. Not thread-safe.

    Attributes:
        name: its key in the table of backends.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        luma: the visible image must be luma if True, else RGB.
        size_multiple: height and width of the images must be multiples of this.
        only_shape: (H, W) if the network takes images of one size only; None for any size.
    """

    name: str
    device: str
    precision: str
    luma: bool
    size_multiple: int
    only_shape: tuple[int, int] | None = None

    @abstractmethod
    def fuse(self, infrared: GrayImage, visible: ByteImage) -> Layers:
        """Fuse infrared (H, W) with visible (H, W), or (H, W, 3) RGB if not ``luma``."""


class NetworkBackend(Backend):
    """A backend whose network takes phases: see :mod:`dreamif_model.backends.phases`."""

    def __init__(self, info: GraphInfo, source: ModelSource) -> None:
        info.check_usable(source.variant, source.weights)
        self.luma, self.size_multiple = info.image_channels == 1, info.size_multiple
        self.only_shape = (info.height, info.width) if info.width else None
        self._packer = PhasePacker(info.stem)

    def fuse(self, infrared: GrayImage, visible: ByteImage) -> Layers:
        if self.only_shape not in (None, infrared.shape):
            height, width = self.only_shape or (0, 0)
            raise ImageError(
                f"the network's file is for images of {width}x{height} only, got "
                f"{infrared.shape[1]}x{infrared.shape[0]} (padded): export one without --size"
            )
        fused, dominance, *removed = self.infer(self._packer.pack(infrared, visible))
        return Layers(
            self._packer.unpack(fused),
            dominance[0],
            removed[0][0, 0] if removed else None,
        )

    @abstractmethod
    def infer(self, phases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Run the network once: see :class:`dreamif_model.network.frame.FrameNetwork`."""
