"""Find roughly where infrared lies on the visible image, over shifts, scales and rotations.

The agreement of the edges for all shifts at once is a correlation of two complex fields, which is a
product in the frequency domain.
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

SCALES = tuple(1.04**i for i in range(-8, 9))  # 0.73 to 1.37 times the centred fit
ROTATIONS = tuple(math.radians(2 * i) for i in range(-3, 4))
MAX_SHIFT = 0.12  # of the visible width and height, from the centred fit
POSES = tuple((rotation, scale) for rotation in ROTATIONS for scale in SCALES)
Surface = NDArray[np.float32]  # (poses, rows, columns); no shift is in the middle
Complex = NDArray[np.float32]  # (H, W, 2)


def search(level: Level) -> tuple[Surface, Surface]:
    """Agreement less its mean by chance, for every pose and shift and each half of the board.

    It is not divided by the overlap, because that would favour small overlaps.
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
    """Infrared corners (4, 2) in the full visible image for the maximum of the surface."""
    pose, row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    similarity = _similarity(level, *POSES[pose])
    reach = _reach(level)
    shift = np.array([column - reach[1], row - reach[0]])
    return level.to_full(level.corners @ similarity[:2, :2].T + similarity[:2, 2] + shift)


def _excess(visible: Sequence[Complex], infrared: Sequence[Complex]) -> NDArray[np.float32]:
    """Agreement summed over the pairs, for each shift along y and x."""
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
    """Add the rotation to the field's angles."""
    turned = field.view(np.complex64) * np.complex64(np.exp(2j * rotation))
    return turned.view(np.float32)


def _similarity(level: Level, rotation: float, scale: float) -> Matrix:
    """(3, 3) from infrared to visible pixels of a level, with the centres on each other."""
    cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
    centre, visible_centre = ((np.array(s) - 1) / 2 for s in (level.infrared_size, level.size))
    matrix = np.eye(3)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:2, 2] = visible_centre - matrix[:2, :2] @ centre
    return matrix


def _reach(level: Level) -> tuple[int, int]:
    """The maximum shift along y and x, in pixels of the level."""
    width, height = level.size
    return math.ceil(MAX_SHIFT * height), math.ceil(MAX_SHIFT * width)
