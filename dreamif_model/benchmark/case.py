"""What is measured: one method, at one size, on one device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ANCHOR = "anchor"  # seven 3×3 convolutions at full size, which anyone can measure
ANCHOR_CHANNELS = (2, 64, 64, 64, 64, 64, 16, 1)
PEER = "peer"  # a network of somebody else, in a file


@dataclass(frozen=True)
class Case:
    """One case to measure.

    Attributes:
        method: a variant, a name of :data:`CLASSIC`, ``anchor`` or ``peer``.
        width: of both images in pixels.
        height: of both images in pixels.
        device: as for :class:`FusionEngine`.
        precision: as for :class:`FusionEngine`.
        backend: as for :class:`FusionEngine`.
        frames: number of frames to measure.
        warmup: frames before those; a CUDA graph is captured at the second.
        threads: CPU threads; 0 for one per usable core.
        file: the peer's TorchScript or ONNX file, with two inputs.
    """

    method: str
    width: int
    height: int
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    frames: int = 20
    warmup: int = 3
    threads: int = 0
    file: Path | None = None
