"""The interface of all backends: from prepared images to fused image and dominance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import ByteImage, FloatImage, FloatPair, GrayImage
from dreamif_model.backends.phases import PhasePacker
from dreamif_model.cameras import Both
from dreamif_model.errors import ImageError
from dreamif_model.model_files.graph_info import GraphInfo
from dreamif_model.model_files.model_source import ModelSource

OUTPUTS = 3  # of a network, without the restored sources


@dataclass(frozen=True)
class Layers:
    """The output of a backend for one pair.

    Attributes:
        fused: of the visible image's shape. The next call overwrites it.
        dominance: (2, h, w) in [0, 1], infrared first, at the network's resolution.
        removed: (h, w) in [0, 1], mean change of the visible luma by restoration; None if the
            network does not restore.
        restored: luma of both restored sources, (H, W) each; None if nobody asked for it, or if
            the network does not restore.
    """

    fused: ByteImage
    dominance: FloatPair
    removed: FloatImage | None
    restored: Both[GrayImage] | None = None


class Backend(ABC):
    """Runs a network on one device, in one precision. Not thread-safe.

    Attributes:
        name: its key in the table of backends.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        luma: the visible image must be luma if True, else RGB.
        size_multiple: height and width of the images must be multiples of this.
        noise_map: the network can be told how strong the noise is.
        only_shape: (H, W) if the network takes images of one size only; None for any size.
    """

    name: str
    device: str
    precision: str
    luma: bool
    size_multiple: int
    noise_map: bool = False
    only_shape: tuple[int, int] | None = None

    @abstractmethod
    def fuse(
        self,
        infrared: GrayImage,
        visible: ByteImage,
        restored: bool = False,
        noise: Both[FloatImage] | None = None,
    ) -> Layers:
        """Fuse infrared (H, W) with visible (H, W), or (H, W, 3) RGB if not ``luma``.

        restored: whether the restored sources are wanted, too; they cost a copy. noise: σ in gray
        levels by block of 4×4 pixels, if it is known and the network has a ``noise_map``.
        """


class NetworkBackend(Backend):
    """A backend whose network takes phases: see :mod:`dreamif_model.backends.phases`."""

    def __init__(self, info: GraphInfo, source: ModelSource) -> None:
        info.check_usable(source.variant, source.weights)
        self.luma, self.size_multiple = info.image_channels == 1, info.size_multiple
        self.only_shape = (info.height, info.width) if info.width else None
        self.noise_map = info.noise_map
        self._packer = PhasePacker(info.stem, info.noise_map)
        self._unpacker = PhasePacker(info.stem)

    def fuse(
        self,
        infrared: GrayImage,
        visible: ByteImage,
        restored: bool = False,
        noise: Both[FloatImage] | None = None,
    ) -> Layers:
        if self.only_shape not in (None, infrared.shape):
            height, width = self.only_shape or (0, 0)
            raise ImageError(
                f"the network's file is for images of {width}x{height} only, got "
                f"{infrared.shape[1]}x{infrared.shape[0]} (padded): export one without --size"
            )
        phases = self._packer.pack(infrared, visible, noise)
        fused, dominance, *more = self.infer(phases, OUTPUTS + restored)
        return Layers(
            self._packer.unpack(fused),
            dominance[0],
            more[0][0, 0] if more else None,
            self._unpack_both(more[1]) if len(more) > 1 else None,  # files of old exports lack it
        )

    def _unpack_both(self, phases: NDArray[np.float32]) -> Both[GrayImage]:
        infrared, visible = np.split(phases, 2, axis=1)
        return Both(self._unpacker.unpack(infrared).copy(), self._unpacker.unpack(visible))

    @abstractmethod
    def infer(self, phases: NDArray[np.uint8], count: int) -> list[NDArray[np.float32]]:
        """Run the network once, and return its first ``count`` outputs, or as many as it has.

        The outputs are those of :class:`dreamif_model.network.frame.FrameNetwork`.
        """
