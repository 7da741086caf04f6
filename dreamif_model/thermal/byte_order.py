"""Whether the two bytes of 16-bit pixels were exchanged on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOOKS_AT_START = 5  # frames that are looked at first ...
LOOK_PERIOD = 50  # ... and then one frame of so many
CERTAIN = 8.0  # ratio of roughness above which the rougher byte is certainly the low one
MIN_VALUES = 48  # of the high byte: a drawn scene of few values tells nothing
SIDE = 192  # pixels of the middle part that is looked at


class ByteOrderWatch:
    """Decides for a stream of frames whether their bytes must be swapped.

    The high byte of neighbouring pixels is nearly the same, the low one differs with every count
    of noise. Where it is the other way round, the bytes were exchanged.
    """

    def __init__(self) -> None:
        self.swap = False
        self._frames = 0

    def look(self, image: NDArray[np.uint16]) -> bool:
        """Return whether the bytes of this frame, (h, w) as it was sent, must be swapped.

        A frame that tells nothing (flat, noise alone, few values) changes nothing.
        """
        if self._frames < LOOKS_AT_START or self._frames % LOOK_PERIOD == 0:
            middle = _middle(image)
            high, low = (middle >> 8).astype(np.int16), (middle & 255).astype(np.int16)
            if _looks_exchanged(high, low):
                self.swap = True
            elif _looks_exchanged(low, high):
                self.swap = False
        self._frames += 1
        return self.swap


def _middle(image: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape)
    return image[top : top + SIDE, left : left + SIDE]


def _looks_exchanged(high: NDArray[np.int16], low: NDArray[np.int16]) -> bool:
    if high.shape[1] < 2 or np.unique(high).size < MIN_VALUES:
        return False
    return _roughness(high) > CERTAIN * _roughness(low) > 0


def _roughness(plane: NDArray[np.int16]) -> float:
    """Mean absolute difference of neighbours in a row."""
    return float(np.abs(np.diff(plane, axis=1)).mean())
