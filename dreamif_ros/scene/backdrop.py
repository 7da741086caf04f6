"""Ray-cast what never moves, once, for each camera: light, temperature and depth.

The image is cast at twice the size, lit per pixel, and averaged down before tone mapping.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.materials import Appearance, Hits, Textures, facade, ground, sky
from dreamif_ros.scene.pinhole import FloatArray, Pinhole
from dreamif_ros.scene.props import paint_props
from dreamif_ros.scene.street import LightMap, Street

_MAX_SUPERSAMPLED_PIXELS = 1_700_000
SKY, GROUND, FIRST_BUILDING = 0, 1, 2


_HAZE = np.array([0.020, 0.020, 0.030], dtype=np.float32)
_HAZE_DISTANCE_M = 155.0
_GLOSS_EXPONENT = 500.0


@dataclass(frozen=True)
class Backdrop:
    """The static scene as one camera sees it.

    `image` is the linear RGB radiance (H, W, 3) of the visible camera, or the temperature
    (H, W) in degrees Celsius. `depth` (H, W) in metres is that of what may hide an actor
    (infinite on the ground and in the sky).
    """

    image: FloatArray
    depth: FloatArray


def render_backdrop(street: Street, camera: Pinhole, *, thermal: bool) -> Backdrop:
    """Render the street without its actors, as radiance or, when `thermal`, as temperature."""
    factor = 2 if camera.width * camera.height * 4 <= _MAX_SUPERSAMPLED_PIXELS else 1
    big = camera.supersampled(factor)
    image, depth = _cast(street, big, thermal=thermal)
    paint_props(street, big, image, depth)
    small = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    middle = slice(factor // 2, None, factor)
    return Backdrop(np.asarray(small, dtype=np.float32), depth[middle, middle].copy())


def _cast(street: Street, camera: Pinhole, *, thermal: bool) -> tuple[FloatArray, FloatArray]:
    """Return the image and the depth of all that is built."""
    rays = camera.rays()
    origin = camera.position.astype(np.float32)
    index, axis, depth = _nearest(street, rays, origin)
    textures = Textures(street.seed)
    light_map = LightMap(street, 0.0, (0.0, 1.0, 0.0))
    image = np.zeros(depth.shape if thermal else rays.shape, dtype=np.float32)
    for number in np.unique(index).tolist():
        chosen = index == number
        along, far = rays[chosen], depth[chosen]
        reach = np.where(np.isfinite(far), far, 0.0)[:, None]
        hits = Hits(along, origin + along * reach, axis[chosen], far)
        surface = _surface(street, number, hits, textures)
        image[chosen] = surface.temperature if thermal else _lit(street, hits, surface, light_map)
    depth[index == GROUND] = np.inf
    return image, depth


def _surface(street: Street, number: int, hits: Hits, textures: Textures) -> Appearance:
    if number == SKY:
        return sky(hits, textures)
    if number == GROUND:
        return ground(hits, textures)
    building = number - FIRST_BUILDING
    return facade(hits, street.buildings[building], textures.table[building], textures)


def _lit(street: Street, hits: Hits, surface: Appearance, light_map: LightMap) -> FloatArray:
    """Return the radiance (N, 3) that reaches the camera through the haze."""
    if not np.isfinite(hits.depth).all():  # the sky
        return surface.emission
    if surface.wetness is not None:
        light = light_map.sample(hits.points[:, 0], hits.points[:, 2])
        radiance = surface.albedo * light + _gloss(street, hits) * surface.wetness[:, None]
    else:
        light = street.light(hits.points, _normals(hits))
        radiance = surface.albedo * light + surface.emission
    clear = np.exp(-hits.depth / _HAZE_DISTANCE_M)[:, None]
    return np.asarray(radiance * clear + _HAZE * (1 - clear), dtype=np.float32)


def _normals(hits: Hits) -> FloatArray:
    """Return the normals (N, 3), along the axes, that look towards the camera."""
    normals = np.zeros_like(hits.rays)
    rows = np.arange(len(hits.axis))
    normals[rows, hits.axis] = -np.sign(hits.rays[rows, hits.axis])
    return normals


def _gloss(street: Street, hits: Hits) -> FloatArray:
    """Return the streaks (N, 3) that lamps mirror on damp asphalt (a Blinn-Phong lobe)."""
    to_eye = -hits.rays / np.sqrt(np.einsum("ij,ij->i", hits.rays, hits.rays))[:, None]
    total = np.zeros_like(hits.points)
    for lamp in street.lamps:
        to_lamp = np.array([lamp.x, lamp.y, lamp.z], dtype=np.float32) - hits.points
        nearness = 1.0 / np.sqrt(np.einsum("ij,ij->i", to_lamp, to_lamp))
        cosine = np.einsum("ij,ij->i", to_lamp, to_eye) * nearness
        height = to_eye[:, 1] + to_lamp[:, 1] * nearness
        upright = height / np.sqrt(np.maximum(2.0 + 2.0 * cosine, 1e-6))
        # Near 1, exp(n (x - 1)) is x ** n, and much cheaper.
        lobe = (0.012 * lamp.power) * np.exp(_GLOSS_EXPONENT * (upright - 1.0))
        total += lobe[:, None] * np.array(lamp.color, dtype=np.float32)
    return total


def _nearest(
    street: Street, rays: FloatArray, origin: FloatArray
) -> tuple[NDArray[np.int16], NDArray[np.int8], FloatArray]:
    """Return what each ray meets first, the axis of its normal, and the depth in metres."""
    with np.errstate(divide="ignore"):
        inverse = 1.0 / rays
    depth = np.where(rays[..., 1] < 0, -origin[1] * inverse[..., 1], np.inf).astype(np.float32)
    index = np.where(np.isfinite(depth), GROUND, SKY).astype(np.int16)
    axis = np.ones(depth.shape, dtype=np.int8)
    for number, block in enumerate(street.buildings):
        enter_x, leave_x = _slab(block.x0, block.x1, origin[0], inverse[..., 0])
        enter_z, leave_z = _slab(block.z0, block.z1, origin[2], inverse[..., 2])
        enter = np.maximum(enter_x, enter_z)
        top = origin[1] + enter * rays[..., 1]
        hit = (enter > 0) & (enter < np.minimum(leave_x, leave_z)) & (enter < depth)
        hit &= (top < block.height) & (top > 0)
        depth[hit] = enter[hit]
        index[hit] = FIRST_BUILDING + number
        axis[hit] = np.where(enter_x > enter_z, 0, 2)[hit]
    return index, axis, depth


def _slab(
    low: float, high: float, origin: np.float32, inverse: FloatArray
) -> tuple[FloatArray, FloatArray]:
    first, second = (low - origin) * inverse, (high - origin) * inverse
    return np.minimum(first, second), np.maximum(first, second)
