"""Improve a rough alignment of infrared on the visible image until the edges agree best.

With infrared edges f and visible edges g, the agreement has its maximum where Σ |c·f - g|², with
the best factor c, has its minimum. Levenberg-Marquardt finds it. The slopes of f give the direction
of a step; the slopes of g, which are computed once, and the likeness of both give its length.

A small change of the four corners moves visible points (x, y) by a field that is linear in the
first eight numbers e of its homography::

    e1 x + e2 y + e3 - e7 x² - e8 x y,    e4 x + e5 y + e6 - e7 x y - e8 y²

The field is smooth, so means over small blocks of pixels suffice to weight it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, Matrix, Points, Size
from dreamif_model.registration.alignment import Field, correlation, gradient
from dreamif_model.registration.pyramid import Level, homography, homography_equations

STEPS = 20  # maximum per level
SLACK = 2e-4  # of the goal, which is not smooth because positions are rounded to 1/32 pixel
CLOSE = 0.05  # pixels of a level: if a step moves no corner further, it is the last
MAX_STEP = 4.0  # pixels of a level, for each corner
DAMPING = 1e-2  # at the first step
MIN_AGREEMENT = 0.1  # assumed for the length of a step, which would be too long with less
TINY = 1e-12
STIFFNESS = 205.0  # cost per squared distance, in visible widths, from a similarity
BLOCKS = 40  # along the width; pixels of a block move alike


@dataclass(frozen=True)
class Fit:
    """The agreement of the edges, and its derivatives by the corners: x of all four, then y.

    agreement: in [-1, 1]. goal: agreement less the cost of bending. slope (8,) and curvature
    (8, 8): derivatives of the goal by pixels of the level; a step is curvature⁻¹ · slope.
    """

    agreement: float
    goal: float
    slope: NDArray[np.float64]
    curvature: Matrix

    def step(self, damping: float) -> Points:
        """The Levenberg-Marquardt step (4, 2); no corner moves further than MAX_STEP."""
        steep = self.curvature + damping * np.diag(np.diag(self.curvature) + TINY)
        step = np.linalg.solve(steep, self.slope).reshape(2, 4).T.astype(np.float64)
        return step * min(1.0, MAX_STEP / max(float(np.abs(step).max()), TINY))


class Climber:
    """Finds the best corners at one level.

    stiffness: cost of bending, see STIFFNESS.
    """

    def __init__(self, level: Level, stiffness: float = STIFFNESS) -> None:
        self._level = level
        self._energy = _summed(level.visible_fields, level.visible_fields)
        x, y = zip(*(_slopes(field) for field in level.visible_fields), strict=True)
        self._steepness = [_summed(*slopes) for slopes in ((x, x), (x, y), (y, y))]
        self._bends = [
            np.stack([cv2.Laplacian(plane, cv2.CV_32F) for plane in field])
            for field in level.visible_fields
        ]
        self._motion = _motion(level.size)
        self._bending = stiffness / level.width**2 / 4 * _off_similarities(level.corners)

    def climb(self, corners: Points, half: int | None = None) -> Points:
        """Move infrared corners (4, 2) in the full visible image to the best agreement nearby.

        half: the half of the checkerboard whose edges count; None for both.
        """
        here = self._level.to_level(corners)
        found, damping = self.fit(here, half), DAMPING
        for _ in range(STEPS):
            step = found.step(damping)
            if np.abs(step).max() < CLOSE:
                here = here + step
                break
            there = self.fit(here + step, half)
            if there.goal > found.goal - SLACK:
                here, found, damping = here + step, there, damping / 10
            else:
                damping *= 10
        return self._level.to_full(here)

    def fit(self, corners: Points, half: int | None = None) -> Fit:
        """The agreement for infrared corners (4, 2) in this level's visible image."""
        level = self._level
        maps = level.maps(homography(corners, level.corners))
        fields, weight = level.warped_fields(maps), level.weight(maps, half)
        weighted = [field * weight for field in fields]
        product, energy, alike = (
            sum(float(np.einsum("kij,kij", a, b)) for a, b in zip(weighted, others, strict=True))
            for others in (level.visible_fields, fields, self._bends)
        )
        visible_energy, steep = (
            float(np.einsum("ij,ij", weight, plane)) + TINY
            for plane in (self._energy, self._steepness[0] + self._steepness[2])
        )
        agreement = correlation(product, energy, visible_energy)
        scale = (energy * visible_energy) ** 0.5 + TINY
        sharpness = max(-alike / scale / steep, MIN_AGREEMENT / visible_energy)
        pulls = self._pulls(fields, weight, product / (energy + TINY))
        placed = corners / level.width
        of_corners = np.linalg.inv(homography_equations(placed, placed))
        bent = self._bending @ corners.T.ravel()
        return Fit(
            agreement,
            agreement - float(corners.T.ravel() @ bent),
            of_corners.T @ self._slope(pulls) / scale - 2 * bent,
            sharpness * of_corners.T @ self._curvature(weight) @ of_corners + 2 * self._bending,
        )

    def _pulls(self, fields: Sequence[Field], weight: FloatImage, factor: float) -> Field:
        """How the agreement grows when f moves along x and y, for each pixel (2, H, W)."""
        residuals = [
            (np.float32(factor) * field - visible) * weight
            for field, visible in zip(fields, self._level.visible_fields, strict=True)
        ]
        slopes = zip(*(_slopes(field) for field in fields), strict=True)
        return np.stack([_summed(residuals, along) for along in slopes])

    def _slope(self, pulls: Field) -> NDArray[np.float64]:
        """Derivative (8,) by e."""
        x, y = self._motion
        return x @ self._sums(pulls[0]) + y @ self._sums(pulls[1])

    def _curvature(self, weight: FloatImage) -> Matrix:
        """Second derivative (8, 8) by e."""
        x, y = self._motion
        xx, xy, yy = (self._sums(plane * weight) for plane in self._steepness)
        mixed = x * xy @ y.T
        return x * xx @ x.T + mixed + mixed.T + y * yy @ y.T

    def _sums(self, plane: FloatImage) -> NDArray[np.float64]:
        """Sum of the pixels of each block, (blocks,)."""
        means = cv2.resize(plane, _blocks(self._level.size), interpolation=cv2.INTER_AREA)
        return means.ravel().astype(np.float64) * (plane.size / means.size)


def climb_halves(climbers: Sequence[Climber], corners: Sequence[Points]) -> list[Points]:
    """Climb level by level: for each half of the checkerboard and, third, for both."""
    places = list(corners)
    for climber in climbers:
        places = [climber.climb(p, half) for p, half in zip(places, (0, 1, None), strict=True)]
    return places


def _motion(size: Size) -> tuple[Matrix, Matrix]:
    """How each of the 8 parameters moves the blocks' centres along x and y: two (8, blocks).

    The unit is image widths per unit of the parameter.
    """
    count = _blocks(size)
    columns, rows = (
        ((np.arange(n) + 0.5) * side / n - 0.5) / size[0]
        for n, side in zip(count, size, strict=True)
    )
    x, y = (plane.ravel() for plane in np.meshgrid(columns, rows))
    one, zero = np.ones(x.size), np.zeros(x.size)
    return (
        np.stack((x, y, one, zero, zero, zero, -x * x, -x * y)),
        np.stack((zero, zero, zero, x, y, one, -x * y, -y * y)),
    )


def _blocks(size: Size) -> Size:
    """Number of blocks along the width and the height, at most one for each pixel."""
    return min(BLOCKS, size[0]), max(1, min(size[1], round(BLOCKS * size[1] / size[0])))


def _slopes(field: Field) -> tuple[Field, Field]:
    """Slopes along x and y, (2, H, W) each, per pixel."""
    slopes = np.empty((2, *field.shape), np.float32)
    for i, plane in enumerate(field):
        slopes[0, i], slopes[1, i] = gradient(plane)
    return slopes[0], slopes[1]


def _summed(first: Sequence[Field], second: Sequence[Field]) -> FloatImage:
    """Sum over all pairs of the scalar products at each pixel: (H, W)."""
    total = np.zeros(first[0].shape[1:], np.float32)
    for one, other in zip(first, second, strict=True):
        for plane, other_plane in zip(one, other, strict=True):
            total += plane * other_plane
    return total


def _off_similarities(corners: Points) -> Matrix:
    """(8, 8): zᵀ P z is the squared distance of points z from a similarity of ``corners``."""
    x, y = corners.T
    one, zero = np.ones(4), np.zeros(4)
    moves = [np.append(one, zero), np.append(zero, one), np.append(x, y), np.append(-y, x)]
    basis = np.linalg.qr(np.stack(moves, axis=1))[0]
    projection: Matrix = np.eye(8) - basis @ basis.T
    return projection
