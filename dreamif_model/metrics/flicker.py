"""Flicker of a fused sequence: change that neither camera saw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import AnyGray, DoubleImage
from dreamif_model.errors import ImageError
from dreamif_model.metrics.filters import smooth
from dreamif_model.metrics.gray import planes

SMOOTHING = 1.5  # pixels, σ; removes most of a camera's noise before the test for stillness
STILL = 3.0  # gray levels, default threshold


@dataclass(frozen=True)
class Flicker:
    """What :func:`flicker` measured.

    Attributes:
        ratio: fused_change / input_change; ≥ 0, lower is better. NaN if no pixel was still.
        fused_change: mean change of the fused image over still pixels, gray levels per frame.
        input_change: mean change of the inputs; the input that changed more counts at each pixel.
        still_share: share of still pixels, 0 to 1.
        frames: number of frames.
    """

    ratio: float
    fused_change: float
    input_change: float
    still_share: float
    frames: int


@dataclass(frozen=True)
class Stillness:
    """Where neither input changed between two frames.

    pixels: (H, W), True where both are still. count: number of those pixels.
    input_change: Σ max(abs(ΔI), abs(ΔV)) over those pixels, as in :func:`flicker`.
    """

    pixels: NDArray[np.bool_]
    count: int
    input_change: float

    @classmethod
    def of(
        cls, before: Sequence[AnyGray], now: Sequence[AnyGray], threshold: float = STILL
    ) -> Stillness:
        """Compare the infrared and visible image of two frames, all (H, W)."""
        deltas = [_delta(*both) for both in zip(before, now, strict=True)]
        still = np.all([abs(smooth(delta, SMOOTHING)) <= threshold for delta in deltas], axis=0)
        change = float(np.maximum(*map(abs, deltas))[still].sum())
        return cls(still, int(still.sum()), change)

    def change(self, before: AnyGray, now: AnyGray) -> float:
        """Σ abs(ΔF) of a fused image over the still pixels."""
        return float(abs(_delta(before, now))[self.pixels].sum())


def _delta(before: AnyGray, now: AnyGray) -> DoubleImage:
    old, new = planes(before, now)
    return new - old


def flicker(
    frames: Iterable[tuple[AnyGray, AnyGray, AnyGray]], threshold: float = STILL
) -> Flicker:
    """Measure how much the fused image changes where the inputs are still.

    With Δ the difference to the frame before and G a Gaussian of σ = 1.5 pixels, a pixel of a
    frame is still when abs(G ΔI) ≤ threshold and abs(G ΔV) ≤ threshold. Over all still pixels of
    all frames::

        flicker = Σ abs(ΔF) / Σ max(abs(ΔI), abs(ΔV))

    0 means that the fused image is still too, 1 that it changes as much as the noise of its
    inputs, and more than 1 that fusion adds flicker; it is infinite when the inputs do not change
    at all. Frames with few still pixels count little, because sums come before the division.
    This project defined the measure.

    Args:
        frames: fused, infrared and visible image of each frame, (H, W) in [0, 255], in order.
            They are read one by one; two are held in memory.
        threshold: gray levels.

    Returns:
        The ratio and what it was computed from.

    Raises:
        ImageError: fewer than two frames, or images of unequal size.
    """
    before: list[DoubleImage] | None = None
    count = still_pixels = pixels = 0
    fused_sum = input_sum = 0.0
    for count, frame in enumerate(frames, start=1):
        images = planes(*frame)
        if before is not None:
            if images[0].shape != before[0].shape:
                raise ImageError(
                    f"frame {count} of the sequence has shape {images[0].shape}, the one before "
                    f"{before[0].shape}: frames of a sequence are of one size"
                )
            still = Stillness.of(before[1:], images[1:], threshold)
            fused_sum += still.change(before[0], images[0])
            input_sum += still.input_change
            still_pixels += still.count
            pixels += still.pixels.size
        before = images
    if count < 2:
        raise ImageError(f"flicker is the change between frames: it needs 2 or more, got {count}")
    return Flicker(
        ratio=_ratio(fused_sum, input_sum) if still_pixels else math.nan,
        fused_change=fused_sum / still_pixels if still_pixels else math.nan,
        input_change=input_sum / still_pixels if still_pixels else math.nan,
        still_share=still_pixels / pixels,
        frames=count,
    )


def _ratio(part: float, whole: float) -> float:
    if whole:
        return part / whole
    return math.inf if part else 0.0
