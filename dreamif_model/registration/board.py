"""A printed board seen by both cameras: where its corners, or its circles, are in their images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import GrayOrFloat, Points
from dreamif_model.cameras import Both
from dreamif_model.errors import CalibrationError, ConfigError, ImageError, shown

MAX_POINTS = 100  # along a side
LAYOUT = "COLUMNSxROWS[:SPACING_M], such as 6x5 or 6x5:0.03, or circles:4x11"


@dataclass(frozen=True)
class Board:
    """A checkerboard, or an asymmetric grid of circles.

    columns, rows: inner corners, or circles of each row. spacing_m: side of a square in metres;
    of circles half the distance of two in a row, as in OpenCV. None if it is not known.
    """

    columns: int
    rows: int
    circles: bool = False
    spacing_m: float | None = None

    def __post_init__(self) -> None:
        if not 3 <= min(self.columns, self.rows) <= max(self.columns, self.rows) <= MAX_POINTS:
            raise ConfigError(
                f"a board has 3 to {MAX_POINTS} columns and rows, got {self.columns}x{self.rows}"
            )
        if self.circles and self.rows % 2 == 0:
            raise ConfigError(
                f"an asymmetric grid of {self.rows} rows looks the same upside down: take one with "
                "an odd number of rows, such as circles:4x11"
            )
        if not self.circles and self.columns == self.rows:
            raise ConfigError(
                "a board with as many columns as rows looks the same after a quarter turn: take "
                "one such as 6x5"
            )
        if self.spacing_m is not None and not 0 < self.spacing_m < np.inf:
            raise ConfigError(f"the board's spacing must be above 0 m, got {self.spacing_m}")

    @classmethod
    def parse(cls, text: str) -> Board:
        """From ``6x5``, ``6x5:0.03`` or ``circles:4x11``; ConfigError for anything else."""
        match = re.fullmatch(r"(circles:)?(\d{1,4})x(\d{1,4})(?::(\d*\.?\d+))?", text, re.ASCII)
        if match is None:
            raise ConfigError(f"the board is {shown(text)}, expected {LAYOUT}")
        circles, columns, rows, spacing = match.groups()
        return cls(int(columns), int(rows), bool(circles), float(spacing) if spacing else None)

    def __str__(self) -> str:
        return f"{'circles:' if self.circles else ''}{self.columns}x{self.rows}"

    @property
    def points(self) -> NDArray[np.float32]:
        """Positions on the board, row by row, (columns · rows, 3): metres, or spacings."""
        y, x = np.mgrid[: self.rows, : self.columns].astype(np.float32)
        if self.circles:
            x = 2 * x + y % 2
        flat = np.stack((x, y, np.zeros_like(x)), axis=-1).reshape(-1, 3)
        return flat * np.float32(self.spacing_m or 1)

    def find(self, image: GrayOrFloat) -> Points | None:
        """Pixels of :attr:`points` in an image, uint8 or float in [0, 1]; None if not seen.

        What is dark on the board may be bright in infrared, so the negative is searched too.
        """
        shares = image if image.dtype == np.uint8 else np.rint(image.clip(0, 1) * 255)
        gray = shares.astype(np.uint8)
        for seen in (gray, np.invert(gray)):
            found = self._search(seen)
            if found is not None:
                return found
        return None

    def _search(self, gray: NDArray[np.uint8]) -> Points | None:
        size = self.columns, self.rows
        if self.circles:
            found, points = cv2.findCirclesGrid(gray, size, flags=cv2.CALIB_CB_ASYMMETRIC_GRID)
        else:
            found, points = cv2.findChessboardCornersSB(gray, size, flags=0)
        return np.asarray(points, np.float64).reshape(-1, 2) if found else None


@dataclass(frozen=True)
class Sightings:
    """Where both cameras see the board.

    Attributes:
        points: (pairs, columns · rows, 2) pixels of each camera, for pairs in which both see it.
        found: in how many images each camera sees it.
        tried: number of pairs.
    """

    points: Both[Points]
    found: Both[int]
    tried: int


def find_boards(
    board: Board, infrared: Sequence[GrayOrFloat], visible: Sequence[GrayOrFloat]
) -> Sightings:
    """Find a board in pairs of images.

    Args:
        board: what to look for.
        infrared: (h, w) each, all of one size, uint8 or float in [0, 1].
        visible: (H, W) luma each, all of one size.

    Returns:
        The points. The order of a checkerboard's corners in infrared is chosen so that the cameras
        are turned against each other by less than 90 degrees.

    Raises:
        CalibrationError: no pair shows the board to both cameras.
        ImageError: images of one camera have different sizes.
    """
    images = Both(infrared, visible)
    for camera, seen in images.items():
        shapes = sorted({image.shape for image in seen})
        if len(shapes) != 1 or len(shapes[0]) != 2:
            raise ImageError(
                f"the {camera} images must be gray, (height, width), and of one size, got "
                f"{shapes}: give images of one camera in one mode"
            )
    found = images.map(lambda seen: [board.find(image) for image in seen])
    counts = found.map(lambda seen: sum(points is not None for points in seen))
    pairs = [
        (one if board.circles else _like(one, other, board), other)
        for one, other in zip(*found, strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        raise CalibrationError(
            f"no pair shows the whole {board} board to both cameras: it was found in "
            f"{counts.infrared} infrared and {counts.visible} visible images of {len(visible)}. "
            "Count the inner corners, warm or cool the board, keep it still and in both images"
        )
    points = Both(*(np.stack(seen) for seen in zip(*pairs, strict=True)))
    return Sightings(points, counts, len(visible))


def _like(points: Points, other: Points, board: Board) -> Points:
    """The corners from the other end if so their first row points as that of the other camera."""
    ends = (points[board.columns - 1] - points[0]) @ (other[board.columns - 1] - other[0])
    return points if ends > 0 else points[::-1]
