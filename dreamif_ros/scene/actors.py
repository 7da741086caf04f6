"""Pedestrians and cars: where they are at a time, and what they are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dreamif_ros.scene.painting import Body, Figure, LinearColor, Material, Part
from dreamif_ros.scene.pinhole import DoubleArray

_STRIDE_M = 1.45  # two steps
TRAFFIC_CYCLE_S = 12.0
_LANE_START_M, _LANE_END_M = -7.0, 101.0
_CAR_SPEED = (_LANE_END_M - _LANE_START_M) / TRAFFIC_CYCLE_S


@dataclass(frozen=True)
class Pose:
    """A place on the ground, the heading (0 looks along +z, pi/2 along +x) and the way gone."""

    x: float
    z: float
    heading: float
    distance: float


@dataclass(frozen=True)
class Loop:
    """An endless walk: two straight lines joined by half circles, like a running track.

    `length` is that of the lines, `radius` of the half circles, in metres; with `speed` 0 m/s
    one stands at the start. `heading` is that of the first line.
    """

    x: float
    z: float
    heading: float
    length: float = 0.0
    radius: float = 0.6
    speed: float = 0.0
    start: float = 0.0

    def at(self, time_s: float) -> Pose:
        """Return the pose at a time."""
        distance = self.speed * time_s
        half_lap = self.length + math.pi * self.radius
        laps, along = divmod(self.start + distance, 2 * half_lap)
        returning = along >= half_lap
        along -= half_lap if returning else 0.0
        turn = max(along - self.length, 0.0) / self.radius
        forward = min(along, self.length) + self.radius * math.sin(turn)
        side = self.radius * (1.0 - math.cos(turn))
        if returning:
            forward, side = self.length - forward, 2 * self.radius - side
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        heading = self.heading + turn + (math.pi if returning else 0.0)
        return Pose(
            self.x + forward * sin + side * cos,
            self.z + forward * cos - side * sin,
            heading + 2 * math.pi * laps,
            distance,
        )


@dataclass(frozen=True)
class Clothes:
    """Materials of a pedestrian."""

    skin: Material
    hair: Material
    jacket: Material
    trousers: Material
    shoes: Material


@dataclass(frozen=True)
class Pedestrian:
    """A person who walks or stands."""

    height: float
    route: Loop
    clothes: Clothes
    coat: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is another image at another time."""
        return self.route.speed > 0

    def figure(self, time_s: float) -> Figure:
        """Return the body at a time."""
        pose = self.route.at(time_s)
        local = _joints(pose.distance, walking=self.moves)
        return Figure(self._body, _to_world(local * (self.height / 1.78), pose))

    @cached_property
    def _body(self) -> Body:
        wear = self.clothes
        limbs = [
            ((5, 7), wear.trousers),
            ((6, 8), wear.trousers),
            ((7, 9), wear.trousers),
            ((8, 10), wear.trousers),
            ((9, 11), wear.shoes),
            ((10, 12), wear.shoes),
            ((3, 4, 5, 6), wear.jacket),
            ((2, 1), wear.skin),
            ((3, 13), wear.jacket),
            ((4, 14), wear.jacket),
            ((13, 15), wear.jacket),
            ((14, 16), wear.jacket),
            ((15, 17), wear.skin),
            ((16, 18), wear.skin),
            ((0, 1), wear.skin),
            ((19, 20), wear.hair),
        ]
        if self.coat:
            limbs.append(((5, 6, 21, 22), wear.jacket))
        return Body(tuple(Part(points, material) for points, material in limbs), _JOINT_RADII)


@dataclass(frozen=True)
class Car:
    """A car: driving in a lane, or parked when `parked_at` (z in metres) is given.

    `offset_s` is how much later than time 0 it starts; it looks along -z when `oncoming`.
    """

    lane_x: float
    oncoming: bool
    paint: LinearColor
    offset_s: float = 0.0
    parked_at: float | None = None
    lights_on: bool = True
    warm: bool = True

    @property
    def moves(self) -> bool:
        """Whether it is another image at another time."""
        return self.parked_at is None

    def pose(self, time_s: float) -> Pose:
        """Return where the middle of the car is."""
        heading = math.pi if self.oncoming else 0.0
        if self.parked_at is not None:
            return Pose(self.lane_x, self.parked_at, heading, 0.0)
        distance = _CAR_SPEED * ((time_s - self.offset_s) % TRAFFIC_CYCLE_S)
        z = _LANE_END_M - distance if self.oncoming else _LANE_START_M + distance
        return Pose(self.lane_x, z, heading, distance)

    def figure(self, time_s: float) -> Figure:
        """Return the body at a time."""
        return Figure(self._body, _to_world(_CAR_POINTS, self.pose(time_s)))

    def lamps(self, time_s: float) -> DoubleArray:
        """Return its two lamps (2, 3) at the end that the camera sees."""
        return _to_world(_HEADLIGHTS if self.oncoming else _TAILLIGHTS, self.pose(time_s))

    @cached_property
    def _body(self) -> Body:
        return Body(_car_parts(self))


def _to_world(local: DoubleArray, pose: Pose) -> DoubleArray:
    """Turn and move points (right, up, forward) (N, 3) to a pose."""
    sin, cos = math.sin(pose.heading), math.cos(pose.heading)
    right, up, forward = local.T
    return np.stack(
        [pose.x + right * cos + forward * sin, up, pose.z - right * sin + forward * cos], axis=1
    )


# Head top, chin, neck, shoulders, hips, knees, ankles, toes, elbows, wrists, hands, hair, coat.
# fmt: off
_JOINT_RADII = np.array([
    0.085, 0.07, 0.06, 0.085, 0.085, 0.105, 0.105, 0.07, 0.07, 0.052, 0.052, 0.04, 0.04,
    0.055, 0.055, 0.042, 0.042, 0.045, 0.045, 0.085, 0.07, 0.09, 0.09,
])
# fmt: on


def _joints(distance: float, *, walking: bool) -> DoubleArray:
    """Return the joints (N, 3) of a person 1.78 m tall as right, up, forward in metres."""
    phase = 2 * math.pi * distance / _STRIDE_M
    swing = 0.46 if walking else 0.05
    bob = 0.02 * abs(math.cos(phase)) if walking else 0.0
    hip = 0.93 + bob
    joints = np.zeros((len(_JOINT_RADII), 3))
    joints[:5] = [
        (0.0, 1.685, 0.02),
        (0.0, 1.60, 0.045),
        (0.0, 1.46, 0.0),
        (-0.17, 1.40, 0.0),
        (0.17, 1.40, 0.0),
    ]
    joints[:5, 1] += bob
    joints[19], joints[20] = (0.0, 1.71 + bob, -0.015), (0.0, 1.66 + bob, -0.045)
    for side in (0, 1):
        sign = 2 * side - 1
        angle = swing * math.sin(phase + math.pi * side) if walking else swing * sign
        bend = 0.75 * max(math.cos(phase + math.pi * side), 0.0) if walking else 0.05
        _leg(joints, side, hip, angle, bend)
        _arm(joints, side, 1.40 + bob, -0.8 * angle)
    return joints


def _leg(joints: DoubleArray, side: int, hip: float, angle: float, bend: float) -> None:
    x = 0.085 * (2 * side - 1)
    knee = (x, hip - 0.43 * math.cos(angle), 0.43 * math.sin(angle))
    shin = angle - bend
    ankle = (x, knee[1] - 0.42 * math.cos(shin), knee[2] + 0.42 * math.sin(shin))
    joints[5 + side] = (x, hip, 0.0)
    joints[7 + side] = knee
    joints[9 + side] = ankle
    joints[11 + side] = (x, max(ankle[1] - 0.03, 0.04), ankle[2] + 0.15)
    joints[21 + side] = (1.3 * x, hip - 0.38 * math.cos(angle), 0.38 * math.sin(angle))


def _arm(joints: DoubleArray, side: int, shoulder: float, angle: float) -> None:
    sign = 2 * side - 1
    elbow = (sign * 0.225, shoulder - 0.29 * math.cos(angle), 0.29 * math.sin(angle))
    fore = angle + 0.35
    hand = (elbow[0], elbow[1] - 0.25 * math.cos(fore), elbow[2] + 0.25 * math.sin(fore))
    joints[13 + side] = elbow
    joints[15 + side] = hand
    joints[17 + side] = (hand[0], hand[1] - 0.06, hand[2] + 0.02)


# The side view of the car from the rear bumper over the roof to the front one:
# forward, up, half width, in metres.
_PROFILE = (
    (-2.05, 0.22, 0.82),
    (-2.15, 0.62, 0.87),
    (-2.05, 0.98, 0.84),
    (-1.65, 1.04, 0.80),
    (-0.95, 1.43, 0.62),
    (0.30, 1.46, 0.62),
    (1.05, 1.02, 0.80),
    (1.95, 0.86, 0.84),
    (2.14, 0.62, 0.87),
    (2.05, 0.22, 0.82),
)
_STRIPS = ("bumper", "tail", "trunk", "glass", "roof", "glass", "hood", "nose", "grille")
_TEMPERATURES = {
    "bumper": 3.0,
    "tail": 1.0,
    "trunk": 0.0,
    "glass": -3.0,
    "roof": -2.0,
    "hood": 27.0,
    "nose": 20.0,
    "grille": 24.0,
    "side": 1.5,
}
_SHADES = {"roof": 1.0, "trunk": 1.0, "hood": 1.0, "side": 0.45, "nose": 0.6, "tail": 0.6}
_AMBIENT_C = 8.0
_WHEEL_CORNERS = 14
FaceCorners = list[tuple[float, float, float]]


def _front_quad(left: float, right: float, low: float, high: float) -> FaceCorners:
    """Return a quad on the nose, clockwise as seen from ahead."""
    return [(right, high, 2.15), (left, high, 2.15), (left, low, 2.17), (right, low, 2.17)]


def _rear_quad(left: float, right: float, low: float, high: float) -> FaceCorners:
    """Return a quad on the tail, clockwise as seen from behind."""
    return [(left, high, -2.17), (right, high, -2.17), (right, low, -2.17), (left, low, -2.17)]


def _wheel(side: int, forward: float, radius: float) -> FaceCorners:
    turn = -side * np.linspace(0, 2 * np.pi, _WHEEL_CORNERS, endpoint=False)
    return [
        (side * 0.885, 0.33 + radius * math.sin(a), forward + radius * math.cos(a)) for a in turn
    ]


def _side_window(side: int, corners: list[tuple[float, float]]) -> FaceCorners:
    """Return a window; corners (forward, up) run clockwise as seen from the right."""
    ordered = corners if side > 0 else corners[::-1]
    return [(side * (0.83 - 0.45 * (up - 1.0) + 0.01), up, f) for f, up in ordered]


def _car_shapes() -> list[tuple[str, FaceCorners]]:
    """Name the faces of a car in drawing order, with their corners (right, up, forward)."""
    shapes: list[tuple[str, FaceCorners]] = [
        ("shadow", [(-1.0, 0.0, -2.3), (-1.0, 0.0, 2.3), (1.0, 0.0, 2.3), (1.0, 0.0, -2.3)]),
        ("under", [(-0.8, 0.02, -2.0), (-0.8, 0.02, 2.0), (0.8, 0.02, 2.0), (0.8, 0.02, -2.0)]),
    ]
    for left, right in ((-0.86, -0.64), (0.64, 0.86)):
        front, rear = _front_quad(left, right, 0.0, 0.35), _rear_quad(left, right, 0.0, 0.35)
        # Beneath the bumpers one sees the treads, half a metre further in.
        shapes.append(("tyre", [(x, y, z - 0.5) for x, y, z in front]))
        shapes.append(("tyre", [(x, y, z + 0.5) for x, y, z in rear]))
    for strip, (f0, u0, w0), (f1, u1, w1) in zip(_STRIPS, _PROFILE, _PROFILE[1:], strict=False):
        shapes.append((strip, [(-w0, u0, f0), (-w1, u1, f1), (w1, u1, f1), (w0, u0, f0)]))
    for side in (1, -1):
        outline = [(side * w, u, f) for f, u, w in _PROFILE]
        shapes.append(("side", outline[::side]))
        back = [(-1.45, 1.04), (-0.88, 1.38), (-0.35, 1.40), (-0.35, 1.04)]
        fore = [(-0.25, 1.04), (-0.25, 1.40), (0.28, 1.41), (0.88, 1.04)]
        shapes += [("glass", _side_window(side, back)), ("glass", _side_window(side, fore))]
        for forward in (-1.35, 1.35):
            shapes.append(("tyre", _wheel(side, forward, 0.33)))
            shapes.append(("rim", _wheel(side, forward, 0.19)))
    for left, right in ((-0.82, -0.50), (0.50, 0.82)):
        shapes.append(("headlight", _front_quad(left, right, 0.62, 0.76)))
        shapes.append(("taillight", _rear_quad(left, right, 0.68, 0.84)))
    shapes.append(("plate", _front_quad(-0.26, 0.26, 0.40, 0.51)))
    shapes.append(("plate", _rear_quad(-0.26, 0.26, 0.52, 0.64)))
    shapes.append(("exhaust", _rear_quad(0.42, 0.58, 0.26, 0.34)))
    return shapes


_CAR_SHAPES = _car_shapes()
_CAR_POINTS = np.array([corner for _, corners in _CAR_SHAPES for corner in corners])
_HEADLIGHTS = np.array([(-0.66, 0.69, 2.2), (0.66, 0.69, 2.2)])
_TAILLIGHTS = np.array([(-0.66, 0.76, -2.2), (0.66, 0.76, -2.2)])


def _car_parts(car: Car) -> tuple[Part, ...]:
    parts, first = [], 0
    for name, corners in _CAR_SHAPES:
        points = tuple(range(first, first + len(corners)))
        parts.append(Part(points, _car_material(name, car)))
        first += len(corners)
    return tuple(parts)


def _car_material(name: str, car: Car) -> Material:
    """Return the material of a face; a car that has stood long has nearly one temperature."""
    heat = 1.0 if car.warm else 0.0
    lit = 1.0 if car.lights_on else 0.0
    special = {
        "shadow": Material((0.0, 0.0, 0.0), _AMBIENT_C + 2 * heat, opacity=0.5),
        "under": Material((0.004, 0.004, 0.004), _AMBIENT_C + 4 * heat),
        "tyre": Material((0.012, 0.012, 0.013), _AMBIENT_C + 13 * heat),
        "rim": Material((0.25, 0.25, 0.27), _AMBIENT_C + 22 * heat),
        "headlight": Material(
            (0.5, 0.5, 0.5), _AMBIENT_C + 26 * lit, (6 * lit, 5.7 * lit, 5 * lit)
        ),
        "taillight": Material(
            (0.3, 0.01, 0.01), _AMBIENT_C + 8 * lit, (1.6 * lit, 0.05 * lit, 0.03 * lit)
        ),
        "plate": Material((0.7, 0.7, 0.65), _AMBIENT_C + 2 * heat, (0.03 * lit,) * 3),
        "exhaust": Material((0.05, 0.05, 0.05), _AMBIENT_C + 52 * heat),
        "glass": Material((0.012, 0.014, 0.02), _AMBIENT_C - 3),
        "grille": Material((0.01, 0.01, 0.012), _AMBIENT_C + 24 * heat),
    }
    if name in special:
        return special[name]
    shade = _SHADES.get(name, 0.5)
    red, green, blue = (shade * channel for channel in car.paint)
    warmth = _TEMPERATURES[name]
    return Material((red, green, blue), _AMBIENT_C + (warmth * heat if warmth > 0 else warmth))
