"""Whether registered infrared moves on the visible image over time: a mount that comes loose.

Each look at a frame estimates anew, from the edges, how infrared would fit best: the same ascent as
in :mod:`dreamif_model.registration.estimate`, near the present registration and stiff, so that
infrared is moved, turned and scaled, but not bent. Looks at frames that do not tell are refused by
the same rules. The median of the newest looks, less that of the first ones, is the drift.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from dreamif_model.arrays import FloatImage, GrayImage, Points, Size
from dreamif_model.registration.alignment import alignment_score, as_float
from dreamif_model.registration.ascent import Climber, climb_halves
from dreamif_model.registration.estimate import judge
from dreamif_model.registration.pyramid import Level, Pairs

LEVEL_WIDTHS = (160, 320)  # pixels of the visible image; finer ones find it no more exactly
STIFFNESS = 1e5  # of the ascent: what is left is a similarity
LOOKS = 9  # whose median counts
MAX_START = 0.01  # of the visible diagonal: what the first looks show beyond it is a drift, too
MAX_CORRECTION = 0.02  # of the visible diagonal
MAX_STEP_PX = 0.5  # visible pixels at each look
DEAD_PX = 1.0  # visible pixels: noise of the looks, which is not followed


@dataclass(frozen=True)
class LaidPair:
    """Infrared as it lies on the visible image.

    infrared, visible: (H, W) gray levels, uint8. coverage: (H, W) in [0, 1], how much infrared
    counts at each pixel; None for everywhere.
    """

    infrared: GrayImage
    visible: GrayImage
    coverage: FloatImage | None = None

    @property
    def size(self) -> Size:
        """(width, height) in pixels."""
        return self.visible.shape[1], self.visible.shape[0]

    def score(self) -> float:
        """How well the edges of both agree, in [-1, 1]."""
        return alignment_score(self.infrared, self.visible, self.coverage)

    def copy(self) -> LaidPair:
        """The same in arrays of its own, for another thread."""
        return LaidPair(self.infrared.copy(), self.visible.copy(), self.coverage)


def displacement(pair: LaidPair) -> Points:
    """Estimate how far infrared lies from where its edges fit best, up to about 2.5 % of the width.

    Args:
        pair: images of one moment.

    Returns:
        The moves (4, 2) of the image's corners, clockwise from the first pixel, in visible pixels,
        that would make infrared fit.

    Raises:
        CalibrationError: the edges do not tell.
    """
    pairs = Pairs([as_float(pair.infrared)], [as_float(pair.visible)])
    widths = sorted({min(width, pairs.visible_size[0]) for width in LEVEL_WIDTHS})
    levels = [Level(pairs, width, pair.coverage) for width in widths]
    climbers = [Climber(level, STIFFNESS) for level in levels]
    places = climb_halves(climbers, [pairs.corners] * 3)
    agreement = climbers[-1].fit(levels[-1].to_level(places[2])).agreement
    judge(agreement, places, pairs)
    return places[2] - pairs.corners


def size_px(moves: Points) -> float:
    """How far infrared is moved (4, 2): its middle, or half as far as a corner if it is turned."""
    corners = np.linalg.norm(moves, axis=1)
    return float(max(np.linalg.norm(moves.mean(axis=0)), corners.max() / 2))


def describe(moves: Points) -> str:
    """Moves of corners (4, 2) in words, such as ``4.1 px (3.9 px left, 1.2 px up)``."""
    x, y = moves.mean(axis=0)
    sides = (x, "right" if x > 0 else "left"), (y, "down" if y > 0 else "up")
    parts = [f"{abs(pixels):.1f} px {side}" for pixels, side in sides if abs(pixels) >= 0.05]
    spread = float(np.linalg.norm(moves - (x, y), axis=1).max())
    parts += [f"turned or scaled by {spread:.1f} px at a corner"] if spread >= 1 else []
    return f"{size_px(moves):.1f} px ({', '.join(parts) or 'nowhere'})"


class Drift:
    """Collects looks at one size of visible images, (width, height).

    A look is the displacement of infrared as the calibration alone lays it: add what a correction
    has moved it by already.
    """

    def __init__(self, visible_size: Size) -> None:
        self.visible_size = visible_size
        self._diagonal = float(np.hypot(*visible_size))
        self._looks: deque[Points] = deque(maxlen=LOOKS)
        self._start: Points | None = None

    def add(self, look: Points) -> None:
        """Take the displacement (4, 2) that one frame shows."""
        self._looks.append(look)
        if self._start is None and len(self._looks) == LOOKS:
            self._start = _limited(self._median(), MAX_START * self._diagonal)

    @property
    def moves(self) -> Points | None:
        """How far infrared must move (4, 2) to lie as at the start; None until that is known."""
        return None if self._start is None else self._median() - self._start

    def correction(self, before: Points | None) -> Points:
        """The correction (4, 2) after this look: from that before a small step to the moves."""
        moves = self.moves
        before = np.zeros((4, 2)) if before is None else before
        if moves is None or size_px(moves - before) <= DEAD_PX:
            return before
        step = _limited(moves - before, MAX_STEP_PX)
        return _limited(before + step, MAX_CORRECTION * self._diagonal)

    def _median(self) -> Points:
        return np.median(np.stack(self._looks), axis=0)


def _limited(moves: Points, limit_px: float) -> Points:
    """The moves, shortened to a size."""
    return moves * min(1.0, limit_px / max(size_px(moves), limit_px))
