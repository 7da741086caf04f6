"""The images of both cameras at one resolution, and homographies between their points.

Points are (x, y) in pixels, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, Matrix, Points, Size
from dreamif_model.errors import ImageError
from dreamif_model.registration.alignment import (
    Field,
    edge_field,
    edge_threshold,
    gradient_field,
    smooth,
)
from dreamif_model.registration.geometry import image_corners
from dreamif_model.registration.warp import resize

MARGIN = 2  # infrared pixels at the border, which smoothing has changed
FULL = 0.99  # coverage that counts as 1
BLOCKS = 8  # squares of the checkerboard along the width
Maps = tuple[FloatImage, FloatImage]  # x and y (H, W)


class Pairs:
    """Images (h, w) and (H, W) at full size, at least one of each."""

    def __init__(self, infrared: Sequence[FloatImage], visible: Sequence[FloatImage]) -> None:
        if len(infrared) != len(visible):
            raise ImageError(
                f"{len(infrared)} infrared and {len(visible)} visible images are no pairs"
            )
        self.infrared, self.visible = infrared, visible
        self.infrared_size, self.visible_size = _size(infrared[0]), _size(visible[0])
        self.corners = image_corners(self.infrared_size)
        # Visible pixels per infrared pixel if infrared just covers the visible image.
        self.fit = max(v / i for v, i in zip(self.visible_size, self.infrared_size, strict=True))


class Level:
    """Both images, scaled so that the visible one is ``width`` wide and pixels have equal sizes.

    coverage: (h, w) in [0, 1] at full size: infrared counts where it is 1; None for everywhere.
    inside: (h, w), 1 where infrared counts, else 0. halves: of the checkerboard, (H, W) each.
    """

    def __init__(self, pairs: Pairs, width: int, coverage: FloatImage | None = None) -> None:
        self.width = width
        factor = width / pairs.visible_size[0]
        self._infrared = [smooth(_scaled(image, factor * pairs.fit)) for image in pairs.infrared]
        self._thresholds = [edge_threshold(image) for image in self._infrared]
        self.visible_fields = [edge_field(_scaled(image, factor)) for image in pairs.visible]
        self.size, self.infrared_size = _size(self.visible_fields[0]), _size(self._infrared[0])
        self.inside = np.zeros(self._infrared[0].shape, np.float32)
        self.inside[MARGIN + 1 : -MARGIN - 1, MARGIN + 1 : -MARGIN - 1] = 1
        if coverage is not None:
            self.inside *= resize(coverage, self.inside.shape) > FULL
        self.halves = _checkerboard(self.size)
        self._visible_scale = np.array(self.size) / pairs.visible_size
        infrared_scale = np.array(self.infrared_size) / pairs.infrared_size
        self.corners = (pairs.corners + 0.5) * infrared_scale - 0.5

    def to_level(self, corners: Points) -> Points:
        """Convert points from the full visible image to this level."""
        return (corners + 0.5) * self._visible_scale - 0.5

    def to_full(self, corners: Points) -> Points:
        """The inverse of :meth:`to_level`."""
        return (corners + 0.5) / self._visible_scale - 0.5

    def infrared_fields(self) -> list[Field]:
        """Gradient fields on infrared pixels (2, h, w), 0 where infrared does not count."""
        return [
            gradient_field(image, threshold) * self.inside
            for image, threshold in zip(self._infrared, self._thresholds, strict=True)
        ]

    def warped_fields(self, maps: Maps) -> list[Field]:
        """Gradient fields of infrared on visible pixels (2, H, W)."""
        return [
            gradient_field(_warped(image, maps, cv2.BORDER_REPLICATE), threshold)
            for image, threshold in zip(self._infrared, self._thresholds, strict=True)
        ]

    def weight(self, maps: Maps, half: int | None) -> FloatImage:
        """(H, W) in [0, 1]: 1 where infrared counts in this half, with a ramp of one pixel."""
        inside = _warped(self.inside, maps, cv2.BORDER_CONSTANT)
        return inside if half is None else inside * self.halves[half]

    def maps(self, to_infrared: Matrix) -> Maps:
        """The positions of all visible pixels in the infrared image."""
        width, height = self.size
        matrix = to_infrared.astype(np.float32)
        pixels = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        x, y, depth = (row[0] * pixels[0] + (row[1] * pixels[1] + row[2]) for row in matrix)
        depth = 1 / np.maximum(depth, np.float32(1e-3))
        x *= depth
        y *= depth
        return x, y


def _warped(image: FloatImage, maps: Maps, border: int) -> FloatImage:
    return cast("FloatImage", cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=border))


def homography(source: Points, target: Points) -> Matrix:
    """The matrix (3, 3) that maps four points to four points (Hartley & Zisserman, chapter 4)."""
    unit = np.abs(source).max()  # keeps the equations well-conditioned
    source, target = source / unit, target / unit
    solved = np.linalg.solve(homography_equations(source, target), target.T.ravel())
    units = np.array([unit, unit, 1.0])
    matrix: Matrix = units[:, None] * np.append(solved, 1.0).reshape(3, 3) / units
    matrix /= matrix[2, 2]
    return matrix


def homography_equations(source: Points, target: Points) -> Matrix:
    """(8, 8): from the first eight numbers of the matrix to x of four points, then their y."""
    (x, y), (u, v) = source.T, target.T
    one, zero = np.ones(4), np.zeros(4)
    rows = (
        np.stack((x, y, one, zero, zero, zero, -u * x, -u * y), axis=1),
        np.stack((zero, zero, zero, x, y, one, -v * x, -v * y), axis=1),
    )
    return np.concatenate(rows)


def _scaled(image: FloatImage, factor: float) -> FloatImage:
    return resize(image, tuple(max(1, round(side * factor)) for side in image.shape))


def _size(image: NDArray[np.float32]) -> Size:
    return image.shape[-1], image.shape[-2]


def _checkerboard(size: Size) -> tuple[FloatImage, FloatImage]:
    """The two halves of a checkerboard (H, W), 0 or 1."""
    columns, rows = (np.arange(side) // (size[0] / BLOCKS) for side in size)
    odd = ((rows[:, None] + columns) % 2).astype(np.float32)
    return 1 - odd, odd
