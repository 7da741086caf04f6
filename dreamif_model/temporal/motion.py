"""How both cameras moved: a similarity by Gauss-Newton, on block means.

The frame f is the state g seen through the placement T. A small motion δ of the frame's pixels
changes g(T p) by ∇(g ∘ T) · δ(p), so that the residual r = f − g ∘ T gives δ by least squares::

    Σ w J Jᵀ δ = Σ w J r,    J = (gₓ x + g_y y, g_y x − gₓ y, gₓ, g_y),    w = 1 / (v + r²/9)

v is the variance of r for noise alone: what moves by itself counts less (Cauchy's weights). Both
cameras' sums add up, so that at night infrared finds the motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, Matrix
from dreamif_model.temporal.blocks import SIDE
from dreamif_model.temporal.canvas import Placement, Plane, square

STEPS = 6  # of Gauss-Newton
ROWS = slice(None, None, 2)  # of blocks that are used: half of them tell enough
WORSE = 1.02  # times the cost at the start: the steps lead nowhere
DONE = 0.05  # pixels; a smaller step ends it
REST = 0.75  # pixels; a smaller motion of a camera at rest counts as none
CALM, CALM_FRAMES = 0.1, 8  # pixels in one frame; after so many frames the cameras are at rest
SURE = 10.0  # standard errors of a corner; a smaller motion may be noise
OUTLIER = 9.0  # squared deviations
ROUNDING = 0.1  # variance of block means, besides noise
FIRM = 4.0  # frames, whose mean counts fully; what moves by itself has fewer
MIN_WEIGHT = 0.05
MAX_CONDITION = 1e6  # of the normal equations: there is nothing to see
MAX_STEP = 24.0  # pixels in one frame


@dataclass(frozen=True)
class View:
    """What one camera tells.

    level, count: of its memory. blocks: the frame's block means. variance: of their noise.
    """

    level: Plane
    count: Plane
    blocks: FloatImage
    variance: float


class MotionTracker:
    """Where the frames of a pair of cameras lie on their canvas.

    shape: (H, W) of the frames.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.place = Placement(shape)
        self._velocity = np.eye(3)
        self._moved = self._calm = 0  # frames in a row

    def follow(self, views: list[View]) -> Matrix | None:
        """Find the placement of the next frame; also how the canvas must move now, if at all."""
        before = self.place
        start = before if before.is_centred else before.moved(self._velocity)
        found, error = _settle(views, start)
        reach = _reach(before, found)
        if before.is_centred:
            self._moved = self._moved + 1 if reach > max(REST, SURE * error) else 0
            if self._moved < 2:  # one frame alone may be a disturbance
                return None
        self._velocity = np.linalg.inv(square(before.matrix)) @ square(found.matrix)
        self._calm = self._calm + 1 if reach < max(CALM, SURE * error) else 0
        self.place = found
        return self._recentre()

    def _recentre(self) -> Matrix | None:
        if self._calm >= CALM_FRAMES:
            shift = self.place.uprighting()
            self.place, self._velocity = Placement(self.place.shape), np.eye(3)
            self._calm = self._moved = 0
            return shift
        found = self.place.recentring()
        if found is not None:
            self.place = Placement(self.place.shape, found @ square(self.place.matrix))
        return found


def _settle(views: list[View], place: Placement) -> tuple[Placement, float]:
    """Where frames and states agree, and the standard error of a corner in pixels.

    It is ``place`` itself if nothing near it is better.
    """
    sums = _Sums(views, place)
    found, first, error = place, math.inf, 0.0
    for _ in range(STEPS):
        step, cost, error = sums.step(found)
        first = cost if math.isinf(first) else first
        if step is None or cost > WORSE * first:
            return place, error
        after = found.moved(step)
        reach = _reach(found, after)
        found = after
        near_rest = place.is_centred and reach < REST / 2
        if reach < DONE or near_rest or _reach(place, found) > MAX_STEP:
            break
    return (found if _reach(place, found) <= MAX_STEP else place), error


def _reach(first: Placement, second: Placement) -> float:
    """The longest way of a corner of the frame, in pixels."""
    return float(np.linalg.norm(first.corners() - second.corners(), axis=1).max())


class _Sums:
    """Sums over all blocks of all views."""

    def __init__(self, views: list[View], place: Placement) -> None:
        shape = views[0].blocks.shape
        self._middle, self._unit = (np.array(shape[::-1]) - 1) / 2, shape[1] / 2
        rows, columns = ((np.arange(side) - (side - 1) / 2) / self._unit for side in shape)
        self._x, self._y = columns.astype(np.float32), rows.astype(np.float32)[ROWS, None]
        self._views, self._known = views, [view.count.read(place)[ROWS] for view in views]

    def step(self, place: Placement) -> tuple[Matrix | None, float, float]:
        """A step of Gauss-Newton, as a motion (3, 3) of frame pixels, and the cost before it.

        Also the standard error that noise leaves at a corner, in pixels.
        """
        normal, right, cost, shape = np.zeros((4, 4)), np.zeros(4), 0.0, self._views[0].blocks.shape
        for view, count in zip(self._views, self._known, strict=True):
            seen = view.level.read(place)
            residual = (view.blocks - seen)[ROWS]
            variance = view.variance * (1 + 1 / np.maximum(count, 1)) + np.float32(ROUNDING)
            excess = 1 + residual * residual / (np.float32(OUTLIER) * variance)
            firm = np.clip((count - 1) / np.float32(FIRM - 1), MIN_WEIGHT, 1) * (count >= 1)
            cost += float((np.log(excess) * firm).sum())
            jacobian = self._jacobian(seen)
            weighted = jacobian * (firm / (variance * excess)).ravel()
            normal += weighted @ jacobian.T
            right += weighted @ residual.ravel()
        lowest, *_, highest = np.linalg.eigvalsh(normal)
        if lowest * MAX_CONDITION < highest or lowest <= 0:
            return None, cost, math.inf
        inverse = np.linalg.inv(normal)
        grow, turn, across, down = np.diag(inverse) * SIDE**2
        error = math.sqrt(max(grow, turn) * (1 + (shape[0] / shape[1]) ** 2) + max(across, down))
        return self._motion(inverse @ right), cost, error

    def _jacobian(self, seen: FloatImage) -> FloatImage:
        """(4, blocks)."""
        along, down = (
            cv2.Sobel(seen, cv2.CV_32F, x, 1 - x, ksize=1, scale=0.5)[ROWS] for x in (1, 0)
        )
        rows = along * self._x + down * self._y, down * self._x - along * self._y, along, down
        return cast("FloatImage", np.stack(rows).reshape(4, -1))

    def _motion(self, step: NDArray[np.float64]) -> Matrix:
        grow, turn = step[:2] / self._unit
        linear = np.array([[1 + grow, -turn], [turn, 1 + grow]])
        centre = self._middle * SIDE + (SIDE - 1) / 2
        return square(np.column_stack((linear, step[2:] * SIDE + centre - linear @ centre)))
