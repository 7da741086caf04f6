"""The layout of the street: what stands where, drawn from the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from dreamif_ros.scene.actors import Car, Clothes, Loop, Pedestrian
from dreamif_ros.scene.painting import LinearColor, Material
from dreamif_ros.scene.pinhole import DoubleArray, FloatArray

ROAD_HALF_WIDTH = 4.5
PAVEMENT_EDGE = 8.5
CROSSING = (15.0, 18.0)  # from z to z, metres
PARK = (9.0, 31.0)
END_OF_STREET = 104.0
_REACH_M = 35.0  # farther along the street a lamp does not count
_FOLD = 1024
_AMBIENT_LIGHT = np.array([0.0030, 0.0042, 0.0080], dtype=np.float32)
_SODIUM: LinearColor = (1.0, 0.66, 0.34)
_WARM_WHITE: LinearColor = (1.0, 0.80, 0.56)


@dataclass(frozen=True)
class Building:
    """A block from (x0, 0, z0) to (x1, height, z1)."""

    x0: float
    x1: float
    z0: float
    z1: float
    height: float
    wall: LinearColor
    temperature: float
    shop: bool = False
    windows: bool = True


@dataclass(frozen=True)
class Lamp:
    """A light: a street lamp on a post, or the window of a shop when it has none."""

    x: float
    y: float
    z: float
    color: LinearColor
    power: float
    cone: float  # exponent of the cosine to the downward direction; 0 shines everywhere
    post_x: float | None = None


@dataclass(frozen=True)
class Tree:
    """A tree with a round crown."""

    x: float
    z: float
    height: float
    crown: float


@dataclass(frozen=True)
class Sign:
    """A flat board that looks along -z; centre (x, y, z) and size (width, height) in metres."""

    text: str
    centre: tuple[float, float, float]
    size: tuple[float, float]
    board: LinearColor
    ink: LinearColor
    glow: float  # radiance of its white, from its own lamp or from retroreflection
    octagon: bool = False
    post: bool = True


@dataclass(frozen=True)
class Street:
    """Everything that one seed puts into the scene."""

    seed: int
    buildings: tuple[Building, ...]
    lamps: tuple[Lamp, ...]
    trees: tuple[Tree, ...]
    signs: tuple[Sign, ...]
    pedestrians: tuple[Pedestrian, ...]
    cars: tuple[Car, ...]

    def light(
        self, points: FloatArray | DoubleArray, normals: FloatArray | None = None
    ) -> FloatArray:
        """Return the linear RGB irradiance (N, 3) at points (N, 3), of surfaces or of bodies."""
        total = np.tile(_AMBIENT_LIGHT, (len(points), 1))
        places = points.astype(np.float32)
        nearest, farthest = places[:, 2].min() - _REACH_M, places[:, 2].max() + _REACH_M
        for lamp in self.lamps:
            if not nearest < lamp.z < farthest:
                continue
            to_lamp = np.array([lamp.x, lamp.y, lamp.z], dtype=np.float32) - places
            squared = np.einsum("ij,ij->i", to_lamp, to_lamp)
            distance = np.sqrt(squared)
            strength = lamp.power / (squared + 0.6)
            if normals is None:
                strength *= 0.6
            else:
                facing = np.einsum("ij,ij->i", to_lamp, normals) / distance
                strength *= np.maximum(facing, 0.0)
            if lamp.cone:
                strength *= np.maximum(to_lamp[:, 1] / distance, 0.0) ** lamp.cone
            total += strength[:, None] * np.array(lamp.color, dtype=np.float32)
        return total


class LightMap:
    """The light in a plane over the street, looked up instead of computed."""

    _STEP_M = 0.25
    _LEFT_M, _WIDTH_M = -10.0, 40.0

    def __init__(self, street: Street, y: float, normal: LinearColor | None = None) -> None:
        x = np.arange(self._LEFT_M, self._LEFT_M + self._WIDTH_M, self._STEP_M)
        z = np.arange(0.0, END_OF_STREET + 4.0, self._STEP_M)
        grid_z, grid_x = np.meshgrid(z, x, indexing="ij")
        points = np.stack([grid_x, np.full_like(grid_x, y), grid_z], axis=-1).reshape(-1, 3)
        normals = (
            None
            if normal is None
            else np.tile(np.array(normal, dtype=np.float32), (len(points), 1))
        )
        self._light = street.light(points, normals).reshape(len(z), len(x), 3)

    def at(self, x: float, z: float) -> FloatArray:
        """Return the linear RGB irradiance (3,) at a place."""
        rows, columns = self._light.shape[:2]
        row = min(max(round(z / self._STEP_M), 0), rows - 1)
        column = min(max(round((x - self._LEFT_M) / self._STEP_M), 0), columns - 1)
        return np.asarray(self._light[row, column])

    def sample(self, x: FloatArray, z: FloatArray) -> FloatArray:
        """Return the linear RGB irradiance (N, 3) at places (N,), interpolated."""
        column, row = (x - self._LEFT_M) / self._STEP_M, z / self._STEP_M
        return remap(self._light, column, row, cv2.BORDER_REPLICATE)


def remap(field: FloatArray, u: FloatArray, v: FloatArray, border: int) -> FloatArray:
    """Look up a field (H, W[, C]) at coordinates (N,): (N[, C])."""
    # cv2.remap takes no more than 32767 rows: fold the coordinates into a table.
    folded = (-(-len(u) // _FOLD), _FOLD)
    columns, rows = (np.resize(c.astype(np.float32), folded) for c in (u, v))
    found = cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(found, dtype=np.float32).reshape(-1, *field.shape[2:])[: len(u)]


def make_street(seed: int) -> Street:
    """Draw a street from a seed."""
    rng = np.random.default_rng([seed, 1])
    buildings = _buildings(rng)
    return Street(
        seed=seed,
        buildings=buildings,
        lamps=_street_lamps(rng) + _shop_lights(buildings),
        trees=_trees(rng),
        signs=_signs(rng),
        pedestrians=_pedestrians(rng),
        cars=_cars(rng),
    )


def _buildings(rng: np.random.Generator) -> tuple[Building, ...]:
    left = _row(rng, -1, 2.0)
    right = _row(rng, 1, PARK[1])
    near_right = Building(8.5, 24, 0, PARK[0], 12, (0.2, 0.16, 0.13), 8.5)
    behind_park = Building(27, 30, 0, PARK[1] + 2, 3.2, (0.05, 0.06, 0.05), 6.5, windows=False)
    end = [
        Building(x, x + 12, END_OF_STREET, 120, float(rng.uniform(9, 26)), (0.1, 0.1, 0.13), 7.5)
        for x in range(-42, 42, 12)
    ]
    return (*left, *right, near_right, behind_park, *end)


def _row(rng: np.random.Generator, side: int, z: float) -> list[Building]:
    walls: list[LinearColor] = [
        (0.30, 0.15, 0.10),
        (0.36, 0.30, 0.22),
        (0.26, 0.25, 0.25),
        (0.38, 0.25, 0.15),
        (0.20, 0.22, 0.26),
    ]
    row: list[Building] = []
    while z < END_OF_STREET - 8:
        depth = float(rng.uniform(9, 14))
        near, far = sorted((side * PAVEMENT_EDGE, side * (PAVEMENT_EDGE + 16)))
        row.append(
            Building(
                near,
                far,
                z,
                z + depth,
                height=3.6 + 3.1 * int(rng.integers(2, 5)) + 0.8,
                wall=walls[int(rng.integers(len(walls)))],
                temperature=float(rng.uniform(7.2, 9.2)),
                shop=side < 0 and len(row) in (1, 2, 4),
            )
        )
        z += depth
    return row


def _street_lamps(rng: np.random.Generator) -> tuple[Lamp, ...]:
    color = _SODIUM if rng.random() < 0.5 else _WARM_WHITE
    left = [(-1, z) for z in (13.0, 33.0, 53.0, 73.0, 93.0)]
    right = [(1, z) for z in (40.0, 62.0, 84.0)]
    return tuple(
        Lamp(side * 3.9, 5.8, z, color, 24.0, 2.6, post_x=side * 5.1) for side, z in left + right
    )


def _shop_lights(buildings: tuple[Building, ...]) -> tuple[Lamp, ...]:
    return tuple(
        Lamp(b.x1 + 0.5, 1.9, (b.z0 + b.z1) / 2 + offset, _WARM_WHITE, 0.9, 0.0)
        for b in buildings
        if b.shop
        for offset in (-2.5, 2.5)
    )


def _trees(rng: np.random.Generator) -> tuple[Tree, ...]:
    left = [Tree(-5.6, z, float(rng.uniform(5.2, 6.4)), 1.7) for z in (29.5, 47.0, 66.0)]
    park = [
        Tree(
            float(x + rng.uniform(-0.8, 0.8)),
            float(z + rng.uniform(-1.0, 1.0)),
            float(rng.uniform(6.5, 9.0)),
            float(rng.uniform(2.2, 2.9)),
        )
        for x, z in ((10.5, 15.5), (15.0, 21.0), (10.5, 25.5), (18.5, 27.0), (21.0, 19.0))
    ]
    return (*left, *park)


def _signs(rng: np.random.Generator) -> tuple[Sign, ...]:
    street = str(rng.choice(["ELM STREET", "OAK AVENUE", "MILL ROAD", "PARK LANE"]))
    shop, second = rng.choice(["CAFE", "BAKERY", "BOOKS", "PIZZA", "HOTEL"], 2, replace=False)
    white, blue = (1.0, 1.0, 1.0), (0.02, 0.09, 0.42)
    green, red = (0.03, 0.16, 0.12), (0.30, 0.03, 0.05)
    cream = (1.0, 0.88, 0.65)
    return (
        Sign(street, (5.3, 3.25, 11.5), (2.1, 0.42), blue, white, 0.75),
        Sign("STOP", (5.3, 2.6, 11.5), (0.85, 0.85), (0.62, 0.02, 0.03), white, 0.75, octagon=True),
        Sign(str(shop), (-7.6, 3.9, 20.0), (1.9, 0.75), green, cream, 1.6, post=False),
        Sign(str(second), (-7.6, 4.0, 27.0), (1.9, 0.80), red, cream, 1.6, post=False),
    )


def _cloth(rng: np.random.Generator, colors: list[LinearColor], temperature: float) -> Material:
    color = colors[int(rng.integers(len(colors)))]
    return Material(color, temperature + float(rng.uniform(-1.0, 1.0)))


def _clothes(rng: np.random.Generator, dark: bool) -> Clothes:
    bright: list[LinearColor] = [
        (0.55, 0.08, 0.06),
        (0.08, 0.22, 0.50),
        (0.60, 0.45, 0.10),
        (0.12, 0.33, 0.18),
        (0.55, 0.55, 0.52),
    ]
    dull: list[LinearColor] = [(0.03, 0.03, 0.035), (0.04, 0.035, 0.03), (0.02, 0.03, 0.04)]
    skins: list[LinearColor] = [(0.50, 0.32, 0.24), (0.38, 0.22, 0.14), (0.16, 0.09, 0.06)]
    return Clothes(
        skin=_cloth(rng, skins, 32.5),
        hair=_cloth(rng, [(0.03, 0.02, 0.015), (0.12, 0.07, 0.03), (0.2, 0.2, 0.2)], 26.5),
        jacket=_cloth(rng, dull if dark else bright, 22.5),
        trousers=_cloth(rng, [(0.04, 0.05, 0.09), (0.06, 0.055, 0.05)], 24.0),
        shoes=_cloth(rng, [(0.05, 0.04, 0.03), (0.3, 0.3, 0.3)], 17.0),
    )


def _pedestrians(rng: np.random.Generator) -> tuple[Pedestrian, ...]:
    def walker(route: Loop, dark: bool = False) -> Pedestrian:
        height = float(rng.uniform(1.62, 1.90))
        return Pedestrian(height, route, _clothes(rng, dark), coat=bool(rng.random() < 0.35))

    def anywhere() -> float:
        return float(rng.uniform(0, 60))

    south, east = math.pi, math.pi / 2
    # One lap over the crossing takes two traffic cycles, so that nobody meets a car.
    lap = 2 * 14.0 + 2 * math.pi * 0.5
    crossing = Loop(-7.0, 16.9, east, 14.0, 0.5, lap / 24.0, start=lap / 2 * 0.28)
    second = Loop(-7.0, 16.0, east, 14.0, 0.4, lap / 24.0, start=lap / 2 * 0.22)
    shade = float(rng.uniform(-0.5, 0.5))
    return (
        walker(crossing),
        walker(second),
        walker(Loop(-6.1, 12.0, 0.0, 22.0, 0.7, 1.25, anywhere())),
        walker(Loop(-7.6, 40.0, south, 26.0, 0.5, 1.4, anywhere())),
        walker(Loop(-6.4, 21.5 + shade, 2.6)),
        walker(Loop(-7.2, 21.9 + shade, 1.9)),
        walker(Loop(6.1, 36.0, 0.0, 26.0, 0.6, 1.3, anywhere())),
        walker(Loop(6.4, 12.0, 0.0, 15.0, 0.55, 1.1, anywhere()), dark=True),
        walker(Loop(7.4 + 0.4 * shade, 13.2, -2.6), dark=True),
        walker(Loop(9.4 + shade, 19.0 + shade, 2.2), dark=True),
        walker(Loop(8.9 + shade, 19.3 + shade, -2.0), dark=True),
        walker(Loop(13.0, 20.0, east, 5.0, 1.0, 1.0, anywhere()), dark=True),
    )


def _cars(rng: np.random.Generator) -> tuple[Car, ...]:
    paints: list[LinearColor] = [
        (0.30, 0.02, 0.02),
        (0.03, 0.08, 0.28),
        (0.45, 0.45, 0.46),
        (0.02, 0.02, 0.025),
        (0.20, 0.22, 0.24),
        (0.35, 0.28, 0.10),
    ]

    def paint() -> LinearColor:
        return paints[int(rng.integers(len(paints)))]

    lag = float(rng.uniform(0.0, 0.8))
    # Those on foot have the crossing for the first half of each cycle; cars reach it later.
    return (
        Car(-1.6, True, paint(), offset_s=-2.6 + lag),
        Car(-1.6, True, paint(), offset_s=-0.5 + lag),
        Car(2.0, False, paint(), offset_s=4.2 + lag),
        Car(-3.65, True, paint(), parked_at=23.0),
        Car(3.75, False, paint(), parked_at=27.0, lights_on=False, warm=False),
        Car(3.75, False, paint(), parked_at=33.5, lights_on=False, warm=False),
    )
