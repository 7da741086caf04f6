"""The light of moving lamps: glare in the lens, and pools and streaks on the road."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.actors import Car
from dreamif_ros.scene.pinhole import DoubleArray, Pinhole

_SPRITE = 129
_POOL_M = 13.0
_NEAREST_POOL_M = 3.0


class GlarePainter:
    """Adds the lights of cars to tone mapped images (H, W, 3).

    height: of the images that the lens makes, in pixels.
    """

    def __init__(self, camera: Pinhole, height: int) -> None:
        self._camera = camera
        self._scale = height / 480.0
        self._headlight = _tinted(_flare(rays=True), (255, 246, 222))
        self._taillight = _tinted(_flare(rays=False), (255, 40, 24))
        self._pool = _tinted(_pool(), (92, 84, 66))

    def add_pool(self, image: NDArray[np.uint8], car: Car, time_s: float, strength: float) -> None:
        """Light the road ahead of a car."""
        corners = _pool_corners(car, time_s)
        if corners is None or not car.lights_on:
            return
        pixels = self._camera.project(corners)
        low = np.floor(np.maximum(pixels.min(axis=0), 0)).astype(int)
        high = np.ceil(np.minimum(pixels.max(axis=0), (image.shape[1], image.shape[0]))).astype(int)
        if (high <= low).any():
            return
        edge = self._pool.shape[0] - 1
        source = np.array([(0, 0), (edge, 0), (edge, edge), (0, edge)], dtype=np.float32)
        warp = cv2.getPerspectiveTransform(source, (pixels - low).astype(np.float32))
        light = cv2.warpPerspective(self._pool, warp, tuple((high - low).tolist()))
        window = image[low[1] : high[1], low[0] : high[0]]
        cv2.addWeighted(window, 1.0, light, strength, 0.0, dst=window)

    def add_lights(
        self, image: NDArray[np.uint8], car: Car, time_s: float, strength: float
    ) -> None:
        """Add the glare of the lamps that look at the camera, and their streaks on the road."""
        if not car.lights_on:
            return
        sprite, reach = (self._headlight, 1.15) if car.oncoming else (self._taillight, 0.42)
        points = self._camera.to_camera(car.lamps(time_s))
        mirrored = self._camera.to_camera(car.lamps(time_s) * (1.0, -1.0, 1.0))
        if points[:, 2].min() < 2.0:
            return
        depth = float(points[:, 2].mean())
        # A flare is optical: it shrinks much more slowly than the lamp with the distance.
        radius = reach * self._scale * (26.0 + 620.0 / depth)
        for (u, v), (_, below) in zip(
            self._camera.to_pixels(points), self._camera.to_pixels(mirrored), strict=True
        ):
            _add(image, sprite, (u, below), (0.28 * radius, 0.9 * radius), 0.30 * strength)
            _add(image, sprite, (u, v), (radius, radius), strength)


def _add(
    image: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    centre: tuple[float, float],
    radii: tuple[float, float],
    strength: float,
) -> None:
    """Add a sprite, stretched to two radii around a centre, in pixels."""
    height, width = image.shape[:2]
    left, top = (max(int(c - r), 0) for c, r in zip(centre, radii, strict=True))
    right = min(int(centre[0] + radii[0]) + 1, width)
    bottom = min(int(centre[1] + radii[1]) + 1, height)
    if right <= left or bottom <= top:
        return
    scale_x, scale_y = (2.0 * r / (_SPRITE - 1) for r in radii)
    place = np.array(
        [
            [scale_x, 0, centre[0] - radii[0] - left],
            [0, scale_y, centre[1] - radii[1] - top],
        ]
    )
    light = cv2.warpAffine(sprite, place, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    window = image[top:bottom, left:right]
    cv2.addWeighted(window, 1.0, light, strength, 0.0, dst=window)


def _flare(rays: bool) -> DoubleArray:
    """Return a glare (S, S) in [0, 1] that is 0 at the border."""
    axis = np.linspace(-1, 1, _SPRITE)
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    glare = np.exp(-((radius / 0.11) ** 2)) + 0.50 * np.exp(-((radius / 0.28) ** 2))
    glare += 0.20 * np.exp(-((radius / 0.55) ** 2))
    if rays:
        angle = np.arctan2(y, x)
        star = np.abs(np.cos(3 * angle + 0.4)) ** 60 + 0.6 * np.abs(np.cos(2 * angle + 1)) ** 90
        glare += 0.28 * star * np.exp(-radius / 0.25)
    return np.asarray(np.clip(glare, 0, 1) * np.clip(4 * (1 - radius), 0, 1))


def _pool() -> DoubleArray:
    """Return the light (64, 64) on the road, the first row at the car, in [0, 1]."""
    ahead, across = np.linspace(0, 1, 64)[:, None], np.linspace(-1, 1, 64)[None, :]
    beams = np.exp(-(((np.abs(across) - 0.33) / 0.30) ** 2))
    return np.asarray(beams * np.clip(ahead * 9, 0, 1) * (1 - ahead) ** 1.3 * (1 - across**2))


def _tinted(light: DoubleArray, color: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(light[..., None] * np.array(color)), dtype=np.uint8)


def _pool_corners(car: Car, time_s: float) -> DoubleArray | None:
    """Return the corners (4, 3) of the lit road: at the car, then ahead; None if behind us."""
    pose = car.pose(time_s)
    direction = -1.0 if car.oncoming else 1.0
    near, far = pose.z + 2.0 * direction, pose.z + (2.0 + _POOL_M) * direction
    near, far = max(near, _NEAREST_POOL_M), max(far, _NEAREST_POOL_M)
    if abs(far - near) < 1.0:
        return None
    corners = ((-1.0, near), (1.0, near), (2.6, far), (-2.6, far))
    return np.array([(pose.x + x, 0.0, z) for x, z in corners])
