"""How the cameras turn on their gantry: not at all, or as a slow pan with a roll.

A camera that only turns sees parts of one wide image, which is drawn once for each moment as if the
camera stood still. With the intrinsic matrices K of the camera and W of that image, and the turn T
from the camera at rest to the camera now, pixel p shows W T⁻¹ K⁻¹ p.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.pinhole import DoubleArray, Pinhole

STILL, PAN = "still", "pan"
MOTIONS = (STILL, PAN)
SWING = math.radians(15.0)  # to each side
SPEED = math.radians(12.5)  # per second: at 640×480 and 30 Hz 4 px a frame
ROLL, ROLL_PERIOD_S = math.radians(2.0), 9.0
Pixels = TypeVar("Pixels", np.uint8, np.uint16, np.float32)


class TurningCamera:
    """A pinhole that turns about itself.

    Attributes:
        wide: sees all that the camera ever sees, without turning; the camera itself at ``still``.
    """

    def __init__(self, at_rest: Pinhole, motion: str) -> None:
        self._at_rest = at_rest
        self.wide = _widened(at_rest) if motion == PAN else at_rest

    def now(self, time_s: float) -> Pinhole:
        """The camera at a time."""
        if self.wide is self._at_rest:
            return self._at_rest
        return replace(self._at_rest, rotation=_turn_at(time_s) @ self._at_rest.rotation)

    def cut(
        self, image: NDArray[Pixels], time_s: float, how: int = cv2.INTER_LINEAR
    ) -> NDArray[Pixels]:
        """What the camera sees at a time, (H, W[, C]), of an image of ``wide``."""
        if self.wide is self._at_rest:
            return image
        size = self._at_rest.width, self._at_rest.height
        to_wide = _to_pixels_of(self.wide, self._at_rest, _turn_at(time_s))
        flags = how | cv2.WARP_INVERSE_MAP
        cut = cv2.warpPerspective(
            image, to_wide, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cut, image.dtype)


def _turn_at(time_s: float) -> DoubleArray:
    """The rotation (3, 3) from camera coordinates at rest to those at a time."""
    phase = (time_s * SPEED / SWING + 1.0) % 4.0 - 2.0  # back and forth at one speed, 0 at first
    return _turn((1.0 - abs(phase)) * SWING, ROLL * math.sin(2 * math.pi * time_s / ROLL_PERIOD_S))


def _turn(yaw: float, roll: float) -> DoubleArray:
    """To the right by ``yaw``, then about the line of sight by ``roll``."""
    cos_y, sin_y, cos_r, sin_r = math.cos(yaw), math.sin(yaw), math.cos(roll), math.sin(roll)
    to_right = np.array([[cos_y, 0.0, -sin_y], [0.0, 1.0, 0.0], [sin_y, 0.0, cos_y]])
    about_sight = np.array([[cos_r, sin_r, 0.0], [-sin_r, cos_r, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(about_sight @ to_right)


def _to_pixels_of(other: Pinhole, camera: Pinhole, turn: DoubleArray) -> DoubleArray:
    """Pixels of a camera that turned to those of another at rest: a homography (3, 3)."""
    return np.asarray(other.intrinsic @ turn.T @ np.linalg.inv(camera.intrinsic))


def _widened(camera: Pinhole) -> Pinhole:
    """The same view, with all around it that a pan shows."""
    right, bottom = camera.width - 1, camera.height - 1
    corners = np.array([(x, y, 1) for x, y in product((0, right), (0, bottom))], np.float64)
    seen = []
    for yaw, roll in product((-SWING, SWING), (-ROLL, 0.0, ROLL)):
        mapped = corners @ _to_pixels_of(camera, camera, _turn(yaw, roll)).T
        seen.append(mapped[:, :2] / mapped[:, 2:])
    pixels = np.concatenate(seen)
    low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
    moved = np.eye(3)
    moved[:2, 2] = -low
    width, height = (high - low + 1).astype(int).tolist()
    return replace(camera, width=width, height=height, intrinsic=moved @ camera.intrinsic)
