"""The memory lies on a canvas that stands still while the cameras pan.

A frame is interpolated once when it is laid on the canvas and once when it is read from there,
however long it is remembered: warping the memory from frame to frame would blur it at every step.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, Matrix
from dreamif_model.temporal.blocks import SIDE, to_pixels

MARGIN = 32  # pixels around the frame, a multiple of SIDE

EDGE = 4  # pixels of the frame's border that are repeated, for interpolation


class Placement:
    """Where the frame lies on the canvas: a similarity of frame pixels to canvas pixels.

    matrix: (2, 3); None for the centre. shape: (H, W) of the frame.
    """

    def __init__(self, shape: tuple[int, ...], matrix: Matrix | None = None) -> None:
        self.shape = shape[0], shape[1]
        self.is_centred = matrix is None
        self.matrix = np.array([[1.0, 0, MARGIN], [0, 1, MARGIN]]) if matrix is None else matrix
        self._window = self._bounds()

    def at(self, scale: int) -> Matrix:
        """The same for images whose pixels are ``scale`` pixels wide."""
        return _scaled(self.matrix, scale)

    def _bounds(self) -> tuple[slice, slice]:
        """Rows and columns of the blocks that the frame touches."""
        corners, spans = self.corners(), []
        for axis, side in ((1, self.shape[0]), (0, self.shape[1])):
            blocks = side // SIDE + 2 * MARGIN // SIDE
            first, last = corners[:, axis].min() // SIDE, corners[:, axis].max() // SIDE
            spans.append(slice(max(0, int(first)), min(blocks, int(last) + 1)))
        return spans[0], spans[1]

    def window(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the canvas around the frame, at a scale."""
        step = SIDE // scale
        rows, columns = (slice(span.start * step, span.stop * step) for span in self._window)
        return rows, columns

    def in_window(self, scale: int) -> Matrix:
        """(2, 3), frame pixels to pixels of the window, at a scale."""
        matrix = self.at(scale)
        rows, columns = self.window(scale)
        matrix[:, 2] -= columns.start, rows.start
        return matrix

    def moved(self, motion: Matrix) -> Placement:
        """The placement after a motion (3, 3) of the frame's own pixels."""
        return Placement(self.shape, self.matrix @ motion)

    def corners(self) -> Matrix:
        """(4, 2), on the canvas."""
        bottom, right = self.shape[0] - 1.0, self.shape[1] - 1.0
        own = np.array([[0, 0, 1], [right, 0, 1], [0, bottom, 1], [right, bottom, 1]])
        return cast("Matrix", own @ self.matrix.T)

    def recentring(self) -> Matrix | None:
        """(2, 3), how the canvas must move for the frame to lie on it; None where it does.

        A shift by whole blocks loses nothing. Where that is not enough, after a long roll or zoom,
        the frame becomes upright again.
        """
        size = np.array(self.shape[::-1]) + 2 * MARGIN
        corners = self.corners()
        if (corners >= 0).all() and (corners <= size - 1).all():
            return None
        shift = SIDE * np.rint(((size - 1) / 2 - corners.mean(axis=0)) / SIDE)
        moved = corners + shift
        if (moved >= 0).all() and (moved <= size - 1).all():
            return np.column_stack((np.eye(2), shift))
        return self.uprighting()

    def uprighting(self) -> Matrix:
        """(2, 3), how the canvas must move for the frame to lie upright in its middle."""
        back = np.linalg.inv(square(self.matrix))
        return cast("Matrix", (square(Placement(self.shape).matrix) @ back)[:2])


def square(matrix: Matrix) -> Matrix:
    """(2, 3) to (3, 3)."""
    return np.vstack((matrix, (0.0, 0.0, 1.0)))


def _scaled(matrix: Matrix, scale: int) -> Matrix:
    """(2, 3) for images whose pixels are ``scale`` pixels wide; pixels are areas."""
    scaled: Matrix = matrix.copy()
    middle = (scale - 1) / 2
    scaled[:, 2] = (matrix[:, :2].sum(axis=1) * middle + matrix[:, 2] - middle) / scale
    return scaled


class Plane:
    """One image of the memory, ``scale`` frame pixels per pixel; 0 where nothing was seen.

    values: (rows, columns[, channels]) on the canvas.
    """

    def __init__(
        self, shape: tuple[int, ...], scale: int, channels: int = 1, smooth: bool = False
    ) -> None:
        rows, columns = (side // scale + 2 * MARGIN // scale for side in shape[:2])
        self._scale = scale
        self._flags = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
        kind = (rows, columns) if channels == 1 else (rows, columns, channels)
        self.values: FloatImage = np.zeros(kind, np.float32)

    def read(self, place: Placement) -> FloatImage:
        """What the frame covers; a view of the values if the frame lies in the centre."""
        if place.is_centred:
            return self.values[place.window(self._scale)]
        size = place.shape[1] // self._scale, place.shape[0] // self._scale
        flags = self._flags | cv2.WARP_INVERSE_MAP
        return cast(
            "FloatImage", cv2.warpAffine(self.values, place.at(self._scale), size, flags=flags)
        )

    def blend(self, frame: FloatImage, gain: FloatImage, place: Placement) -> None:
        """Move the values towards the frame by a gain that :func:`lay_gain` returned."""
        values = self.values[place.window(self._scale)]
        laid = frame if place.is_centred else self._laid(frame, place, values.shape)
        if gain.shape != values.shape[:2]:
            gain = to_pixels(gain, values.shape)
        if values.ndim == 3:
            gain = cast("FloatImage", cv2.merge([gain] * values.shape[2]))
        values += cv2.multiply(cv2.subtract(laid, values), gain)

    def _laid(self, frame: FloatImage, place: Placement, shape: tuple[int, ...]) -> FloatImage:
        wide = cv2.copyMakeBorder(frame, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_REPLICATE)
        matrix = place.in_window(self._scale)
        matrix[:, 2] -= matrix[:, :2] @ (EDGE, EDGE)
        return cast("FloatImage", cv2.warpAffine(wide, matrix, shape[1::-1], flags=self._flags))

    def rescale(self, gain: float, offset: float) -> None:
        """Replace each value by ``gain`` · value + ``offset``."""
        self.values *= np.float32(gain)
        self.values += np.float32(offset)

    def move(self, matrix: Matrix) -> None:
        """Move the canvas by (2, 3) of its full-size pixels."""
        size = self.values.shape[1::-1]
        moved = cv2.warpAffine(self.values, _scaled(matrix, self._scale), size, flags=self._flags)
        self.values = cast("FloatImage", moved)


def lay_gain(gain: FloatImage, place: Placement) -> FloatImage:
    """A gain (H / 4, W / 4) on the window around the frame; 0 beside the frame."""
    if place.is_centred:
        return gain
    rows, columns = place.window(SIDE)
    size = columns.stop - columns.start, rows.stop - rows.start
    return cast("FloatImage", cv2.warpAffine(gain, place.in_window(SIDE), size))
