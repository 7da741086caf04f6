"""Where infrared lies on the visible image, roughly: over shifts, scales and rotations.

The excess over chance of the edges' agreement for all shifts at once is a correlation of two
complex fields, a product in the frequency domain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import Matrix, Points
from dreamif_model.registration.alignment import Field
from dreamif_model.registration.pyramid import Level

SCALES = tuple(1.04**i for i in range(-8, 9))  # 0.73 to 1.37 times the concentric fit
ROTATIONS = tuple(math.radians(2 * i) for i in range(-3, 4))
MAX_SHIFT = 0.12  # of the visible width and height, around the concentric fit
POSES = tuple((rotation, scale) for rotation in ROTATIONS for scale in SCALES)
Surface = NDArray[np.float32]  # (poses, rows, columns), the middle for no shift
Complex = NDArray[np.float32]  # (H, W, 2)


def search(level: Level) -> tuple[Surface, Surface]:
    """Excess over chance for every pose and shift, of each half of the checkerboard.

    Not divided by the overlap, which would favour small ones.
    """
    reach = _reach(level)
    shape = tuple(
        cv2.getOptimalDFTSize(side + far) for side, far in zip(level.size[::-1], reach, strict=True)
    )
    halves = [
        [_spectrum(_complex(field * half), shape, reach) for field in level.visible_fields]
        for half in level.halves
    ]
    rows, columns = (2 * far + 1 for far in reach)
    surfaces = np.empty((2, len(POSES), rows, columns), np.float32)
    fields = level.infrared_fields()
    for start in range(0, len(POSES), len(SCALES)):
        turned = [_turned(_complex(field), POSES[start][0]) for field in fields]
        for pose in range(start, start + len(SCALES)):
            moved = _similarity(level, *POSES[pose])[:2]
            spectra = [
                _spectrum(cv2.warpAffine(field, moved, level.size), shape) for field in turned
            ]
            for half, visible in enumerate(halves):
                surfaces[half, pose] = _excess(visible, spectra)[:rows, :columns]
    return surfaces[0], surfaces[1]


def start(level: Level, surface: Surface) -> Points:
    """Infrared corners (4, 2) in the full visible image, at the greatest value."""
    pose, row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    similarity = _similarity(level, *POSES[pose])
    reach = _reach(level)
    shift = np.array([column - reach[1], row - reach[0]])
    return level.to_full(level.corners @ similarity[:2, :2].T + similarity[:2, 2] + shift)


def _excess(visible: Sequence[Complex], infrared: Sequence[Complex]) -> NDArray[np.float32]:
    """Sum over the pairs, by shift along y and x."""
    products = [
        cv2.mulSpectrums(first, second, 0, conjB=True)
        for first, second in zip(visible, infrared, strict=True)
    ]
    found = cv2.dft(sum(products[1:], products[0]), flags=cv2.DFT_INVERSE)
    return np.asarray(found, np.float32)[..., 0]


def _spectrum(
    field: NDArray[np.generic], shape: tuple[int, ...], corner: tuple[int, int] = (0, 0)
) -> Complex:
    """Fourier transform of a field (h, w, 2), placed at ``corner`` in zeros of (H, W)."""
    padded = np.zeros((*shape, 2), np.float32)
    padded[corner[0] : corner[0] + field.shape[0], corner[1] : corner[1] + field.shape[1]] = field
    return np.asarray(cv2.dft(padded), np.float32)


def _complex(field: Field) -> Complex:
    return np.ascontiguousarray(np.moveaxis(field, 0, -1))


def _turned(field: Complex, rotation: float) -> Complex:
    """With the angles of a picture that is turned."""
    turned = field.view(np.complex64) * np.complex64(np.exp(2j * rotation))
    return turned.view(np.float32)


def _similarity(level: Level, rotation: float, scale: float) -> Matrix:
    """(3, 3) infrared to visible pixel of a level, centre on centre."""
    cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
    centre, visible_centre = ((np.array(s) - 1) / 2 for s in (level.infrared_size, level.size))
    matrix = np.eye(3)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:2, 2] = visible_centre - matrix[:2, :2] @ centre
    return matrix


def _reach(level: Level) -> tuple[int, int]:
    """The greatest shift along y and x."""
    width, height = level.size
    return math.ceil(MAX_SHIFT * height), math.ceil(MAX_SHIFT * width)
