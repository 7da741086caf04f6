"""Procedural surfaces: the light that they send to the camera, and their temperature."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.pinhole import FloatArray
from dreamif_ros.scene.street import (
    CROSSING,
    PARK,
    PAVEMENT_EDGE,
    ROAD_HALF_WIDTH,
    Building,
    remap,
)

Mask = NDArray[np.bool_]

_FLOOR_M, _GROUND_FLOOR_M = 3.1, 3.6


@dataclass(frozen=True)
class Hits:
    """Where rays meet one object: `rays`, `points` (N, 3), `axis` of the normal, `depth` (N,)."""

    rays: FloatArray
    points: FloatArray
    axis: NDArray[np.int8]
    depth: FloatArray


@dataclass(frozen=True)
class Appearance:
    """What the hits show: linear RGB (N, 3), degrees Celsius (N,), wetness (N,) in [0, 1.5]."""

    albedo: FloatArray
    emission: FloatArray
    temperature: FloatArray
    wetness: FloatArray | None = None


class Textures:
    """Tileable smooth noise and random tables."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self._fine = self._octaves((256, 128, 64))
        self._coarse = self._octaves((16, 8, 4))
        self.table = self._rng.random((64, 32, 64, 3)).astype(np.float32)

    def fine(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return noise (N,) around 0 of deviation 1 and grain 1 at coordinates (N,)."""
        return self._sample(self._fine, u, v)

    def coarse(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return noise (N,) around 0 of deviation 1 and grain 32 at coordinates (N,)."""
        return self._sample(self._coarse, u, v)

    def _octaves(self, cells: tuple[int, ...]) -> FloatArray:
        total = np.zeros((256, 256), dtype=np.float32)
        for count in cells:
            small = self._rng.standard_normal((count, count)).astype(np.float32)
            tiled = cv2.resize(np.tile(small, (3, 3)), (768, 768), interpolation=cv2.INTER_CUBIC)
            total += np.asarray(tiled[256:512, 256:512]) * (1.0 / np.sqrt(count))
        return np.asarray((total - total.mean()) / total.std(), dtype=np.float32)

    @staticmethod
    def _sample(field: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        return remap(field, np.mod(u, 256), np.mod(v, 256), cv2.BORDER_WRAP)


def sky(hits: Hits, textures: Textures) -> Appearance:
    """Return a clear night sky with the glow of a town, thin clouds and stars."""
    length = np.linalg.norm(hits.rays, axis=1)
    up = hits.rays[:, 1] / length
    across = hits.rays[:, 0] / length
    clouds = np.clip(textures.coarse(across * 90 + 40, up * 260 + 9) * 0.5, 0, 1)
    glow = np.exp(-up / 0.16)[:, None] * np.array([0.060, 0.040, 0.034], dtype=np.float32)
    zenith = np.array([0.006, 0.009, 0.024], dtype=np.float32)
    radiance = zenith + glow + clouds[:, None] * (0.012 + 0.35 * glow)
    grain = textures.fine(across * 420, up * 420)
    stars = np.clip(grain - 2.75, 0, 1) * np.clip((up - 0.10) * 6, 0, 1) * (1 - clouds)
    radiance += stars[:, None] * np.array([0.50, 0.55, 0.65], dtype=np.float32)
    temperature = -8 + 12 * np.exp(-np.maximum(up, 0) / 0.11) + 2.5 * clouds
    return Appearance(
        np.zeros_like(hits.rays), radiance.astype(np.float32), temperature.astype(np.float32)
    )


def ground(hits: Hits, textures: Textures) -> Appearance:
    """Return the road with its markings, pavements, and the grass of the park."""
    x, z = hits.points[:, 0], hits.points[:, 2]
    across = np.abs(x)
    sharp = np.clip(14.0 / hits.depth, 0, 1)  # fine texture fades before it would alias
    grain = textures.fine(x * 14, z * 14) * sharp
    patches = textures.coarse(x * 7, z * 3.5)
    road = across < ROAD_HALF_WIDTH
    park = (x > PAVEMENT_EDGE) & (z > PARK[0]) & (z < PARK[1])
    albedo = np.empty((len(x), 3), dtype=np.float32)
    albedo[:] = np.array([0.085, 0.085, 0.09], dtype=np.float32)
    albedo *= (1 + 0.16 * grain + 0.10 * patches)[:, None]
    track = np.exp(-(((np.abs(across - 1.8) - 0.75) / 0.28) ** 2))
    temperature = 10.2 + 0.35 * patches + 0.10 * grain + 0.9 * track
    albedo *= (1 - 0.18 * track)[:, None]
    paint = _markings(x, z)
    worn = np.clip(0.85 + 0.12 * grain + 0.12 * patches, 0, 1) * paint
    albedo += worn[:, None] * 0.42
    temperature -= 0.5 * paint
    slab_gap = _near_multiple(x, 0.9, 0.025) | _near_multiple(z, 0.9, 0.03)
    pavement = np.array([0.17, 0.16, 0.15], dtype=np.float32)
    paved = pavement * (1 + 0.13 * grain + 0.14 * patches)[:, None]
    paved *= (1 - 0.45 * slab_gap * sharp)[:, None]
    kerb = (across < ROAD_HALF_WIDTH + 0.22) & ~road
    paved[kerb] = 0.30
    grass = np.array([0.035, 0.06, 0.02], dtype=np.float32) * (1 + 0.35 * grain)[:, None]
    albedo[~road], albedo[park] = paved[~road], grass[park]
    temperature[~road] = (8.9 + 0.3 * patches + 0.12 * grain - 0.25 * slab_gap * sharp)[~road]
    temperature[kerb] += 0.9
    temperature[park] = (6.0 + 0.45 * patches + 0.25 * grain)[park]
    manhole = (x + 1.7) ** 2 + (z - 11.0) ** 2 < 0.16
    albedo[manhole] = 0.03
    temperature[manhole] = 17.0
    wet = np.where(road, np.clip(0.55 + 0.45 * patches, 0.1, 1.3), 0.12) * (1 + 0.25 * grain)
    wet[park] = 0.0
    return Appearance(
        albedo,
        np.zeros_like(albedo),
        temperature.astype(np.float32),
        wet.astype(np.float32),
    )


def _markings(x: FloatArray, z: FloatArray) -> FloatArray:
    """Return 1 where the road is painted: centre dashes, edge lines and the crossing."""
    crossing = (z > CROSSING[0]) & (z < CROSSING[1])
    stripes = crossing & (np.mod(x + 0.25, 1.0) < 0.5) & (np.abs(x) < 4.1)
    stop = (z > CROSSING[0] - 1.2) & (z < CROSSING[0] - 0.8) & (x > 0.2) & (x < 4.1)
    dashes = (np.abs(x) < 0.08) & (np.mod(z, 6.0) < 3.0) & ~crossing
    edges = (np.abs(np.abs(x) - 4.2) < 0.06) & ~crossing
    return np.asarray(stripes | stop | dashes | edges, dtype=np.float32)


def _near_multiple(value: FloatArray, step: float, half_width: float) -> Mask:
    return np.asarray(np.abs(np.mod(value + step / 2, step) - step / 2) < half_width)


def facade(hits: Hits, building: Building, table: FloatArray, textures: Textures) -> Appearance:
    """Return the wall of a building with its shop; `table` (32, 64, 3) tells of its windows."""
    along = np.where(hits.axis == 0, hits.points[:, 2], hits.points[:, 0]).astype(np.float32)
    y = hits.points[:, 1]
    sharp = np.clip(16.0 / hits.depth, 0, 1)
    grain = textures.fine(along * 9, y * 9) * sharp
    stains = textures.coarse(along * 5, y * 3)
    bricks = _near_multiple(y, 0.25, 0.02) * sharp
    tone = (1 + 0.10 * grain + 0.12 * stains) * (1 - 0.22 * bricks)
    ledge = _near_multiple(y - _GROUND_FLOOR_M, _FLOOR_M, 0.10) | (y > building.height - 0.35)
    tone *= np.where(ledge, 1.5, 1.0)
    albedo = np.array(building.wall, dtype=np.float32) * tone[:, None].astype(np.float32)
    temperature = building.temperature + 0.25 * stains + 0.08 * grain
    # Floor slabs leak heat: a thermal bridge.
    temperature += np.where(ledge, 0.9, 0.0) + 0.8 * np.exp(-y / 1.5)
    wall = Appearance(albedo, np.zeros_like(albedo), temperature.astype(np.float32))
    if building.windows:
        _add_windows(wall, building, table, along, y)
    return wall


def _add_windows(
    wall: Appearance, building: Building, table: FloatArray, along: FloatArray, y: FloatArray
) -> None:
    """Put windows into a wall, in place, at coordinates (N,) along it and up."""
    albedo, emission, temperature = wall.albedo, wall.emission, wall.temperature
    upper = y > _GROUND_FLOOR_M
    shop = ~upper & building.shop
    pitch = np.where(shop, 4.2, 2.5)
    level = np.where(upper, np.floor((y - _GROUND_FLOOR_M) / _FLOOR_M) + 1, 0).astype(int)
    column = np.floor((along - building.z0) / pitch).astype(int)
    chance = table[np.clip(level, 0, 31), column % 64]
    u = np.mod(along - building.z0, pitch) / pitch
    v = np.where(upper, np.mod(y - _GROUND_FLOOR_M, _FLOOR_M) / _FLOOR_M, y / _GROUND_FLOOR_M)
    wide, low, high = np.where(shop, 0.42, 0.24), np.where(shop, 0.14, 0.28), 0.80
    off = np.abs(u - 0.5)
    opening = (off < wide) & (v > low) & (v < high) & (y < building.height - 0.6)
    frame = opening & ((off > wide - 0.035) | (v < low + 0.03) | (v > high - 0.025))
    bar = _near_multiple(u - 0.5, 0.28, 0.010) | ((np.abs(v - 0.62) < 0.010) & upper)
    frame |= opening & bar
    lit = opening & ~frame & (shop | (chance[:, 0] < 0.27))
    pane = opening & ~frame & ~lit
    albedo[frame], albedo[pane] = 0.22, 0.015
    emission[pane] = [0.004, 0.005, 0.009]
    warm = np.stack(
        [np.ones(len(u)), 0.62 + 0.22 * chance[:, 1], 0.26 + 0.42 * chance[:, 1]], axis=1
    )
    curtain = 0.45 + 0.55 * np.clip((v - low) / (high - low), 0, 1)
    folds = 1 + 0.16 * np.sin(u * 90 + chance[:, 2] * 9) * (chance[:, 2] > 0.4)
    shelves = np.where(shop, 1 - 0.5 * _near_multiple(v, 0.16, 0.018) * (v < 0.6), 1.0)
    strength = np.where(shop, 0.95, 0.22 + 0.6 * chance[:, 2]) * curtain * folds * shelves
    emission[lit] = (strength[:, None] * warm)[lit]
    fascia = shop & (v > 0.82) & (v < 0.97)
    albedo[fascia] = 0.25 * np.array(table[0, 63]) + 0.02
    # Glass mirrors the cold sky; rooms behind lit panes are heated.
    temperature[pane] += 0.8 + 2.0 * chance[pane, 1]
    temperature[lit] += 3.5 + 3.0 * chance[lit, 1]
    temperature[frame] += 1.6
