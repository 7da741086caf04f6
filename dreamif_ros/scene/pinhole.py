"""Pinhole cameras. World: metres, x right, y up, z along the street, the ground at y = 0.

Pixel coordinates have the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

NEAR_M = 0.6
_POSITION = (1.7, 2.75, 0.0)
_YAW_LEFT = math.radians(4.0)
_PITCH_DOWN = math.radians(3.0)
_FOCAL_PER_HEIGHT = 1.15


@dataclass(frozen=True)
class Pinhole:
    """A pinhole with square pixels: `intrinsic` (3, 3), `rotation` world to camera (3, 3)."""

    width: int
    height: int
    intrinsic: DoubleArray
    rotation: DoubleArray
    position: DoubleArray

    @property
    def focal(self) -> float:
        """Pixels per metre at one metre of depth."""
        return math.sqrt(abs(float(np.linalg.det(self.intrinsic[:2, :2]))))

    def to_camera(self, points: DoubleArray) -> DoubleArray:
        """Turn world points (N, 3) into camera coordinates (N, 3); the third is the depth."""
        return (points - self.position) @ self.rotation.T

    def to_pixels(self, points: DoubleArray) -> DoubleArray:
        """Project camera coordinates (N, 3), depth > 0, to pixels (N, 2)."""
        homogeneous = points @ self.intrinsic.T
        return homogeneous[:, :2] / homogeneous[:, 2:]

    def project(self, points: DoubleArray) -> DoubleArray:
        """Project world points (N, 3) that lie before the camera to pixels (N, 2)."""
        return self.to_pixels(self.to_camera(points))

    def rays(self) -> FloatArray:
        """Return the viewing ray of each pixel (H, W, 3) in the world, one metre deep."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
        to_world = self.rotation.T @ np.linalg.inv(self.intrinsic)
        return (pixels @ to_world.T).astype(np.float32)

    def supersampled(self, factor: int) -> Pinhole:
        """Return the same view with `factor` times as many pixels along each side."""
        offset = (factor - 1) / 2
        zoom = np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1]], dtype=np.float64)
        width, height = self.width * factor, self.height * factor
        return replace(self, width=width, height=height, intrinsic=zoom @ self.intrinsic)


def visible_camera(size: tuple[int, int]) -> Pinhole:
    """Return the visible camera for `size` (width, height), on a gantry above the street."""
    width, height = size
    focal = _FOCAL_PER_HEIGHT * height
    intrinsic = np.array(
        [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], dtype=np.float64
    )
    sin_y, cos_y = math.sin(_YAW_LEFT), math.cos(_YAW_LEFT)
    sin_p, cos_p = math.sin(_PITCH_DOWN), math.cos(_PITCH_DOWN)
    forward = np.array([-sin_y * cos_p, -sin_p, cos_y * cos_p])
    right = np.array([cos_y, 0.0, sin_y])
    down = np.array([sin_y * sin_p, -cos_p, -cos_y * sin_p])
    rotation = np.stack([right, down, forward])
    return Pinhole(width, height, intrinsic, rotation, np.array(_POSITION))


def infrared_camera(visible: Pinhole, size: tuple[int, int], homography: DoubleArray) -> Pinhole:
    """Return the infrared camera through the same pinhole; `homography` is infrared to visible."""
    intrinsic = np.linalg.inv(homography) @ visible.intrinsic
    return Pinhole(size[0], size[1], intrinsic, visible.rotation, visible.position)


def infrared_to_visible(
    infrared_size: tuple[int, int], visible_size: tuple[int, int], misalignment: float
) -> DoubleArray:
    """Return the homography (3, 3) infrared pixel to visible pixel.

    The infrared image covers the whole visible one (sizes of another shape see more at two
    sides). At misalignment 1 and 640x480 it is off by 20 px, 2 degrees and a factor of 1.05.
    """
    ratio = max(v / i for v, i in zip(visible_size, infrared_size, strict=True))
    zoom = ratio * (1.0 + 0.05 * misalignment)
    angle = math.radians(2.0 * misalignment)
    linear = zoom * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    shift = misalignment * visible_size[0] / 640.0 * np.array([16.0, 12.0])
    visible_centre = (np.array(visible_size) - 1) / 2
    infrared_centre = (np.array(infrared_size) - 1) / 2
    homography = np.eye(3)
    homography[:2, :2] = linear
    homography[:2, 2] = visible_centre + shift - linear @ infrared_centre
    return homography
