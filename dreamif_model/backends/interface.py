"""What every backend is: prepared images in, fused luma and dominance out."""

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
    """What a backend makes of one pair of prepared images.

    Attributes:
        fused: uint8, the shape of the visible image that was given. The next call overwrites it.
        dominance: float32 (2, h, w) in [0, 1], infrared first, of the network's own resolution.
        removed: float32 (h, w) in [0, 1]: the mean change that restoration made to the visible
            luma. None where the network restores nothing.
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
        luma: whether the visible image is given as luma, or as RGB.
        size_multiple: height and width of the images must be multiples of this.
        only_shape: (H, W) where the network is for images of one size; None: any.
    """

    name: str
    device: str
    precision: str
    luma: bool
    size_multiple: int
    only_shape: tuple[int, int] | None = None

    @abstractmethod
    def fuse(self, infrared: GrayImage, visible: ByteImage) -> Layers:
        """Fuse uint8 infrared (H, W) with visible (H, W), or (H, W, 3) RGB where not ``luma``."""


class NetworkBackend(Backend):
    """A backend whose engine takes the images as phases: :mod:`dreamif_model.backends.phases`."""

    def __init__(self, info: GraphInfo, source: ModelSource) -> None:
        info.check_usable(source.variant, source.weights)
        self.luma, self.size_multiple = info.image_channels == 1, info.size_multiple
        self.only_shape = (info.height, info.width) if info.width else None
        self._packer = PhasePacker(info.stem)

    def fuse(self, infrared: GrayImage, visible: ByteImage) -> Layers:
        """Pack, infer, unpack."""
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
