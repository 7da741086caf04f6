"""The scene as two cameras see it, with the truth about who is in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.actors import Car, Pedestrian
from dreamif_ros.scene.backdrop import Backdrop, render_backdrop
from dreamif_ros.scene.glare import GlarePainter
from dreamif_ros.scene.motion import MOTIONS, STILL, TurningCamera
from dreamif_ros.scene.painting import Figure, Patch, blend, draw, extent
from dreamif_ros.scene.pinhole import (
    NEAR_M,
    DoubleArray,
    FloatArray,
    Pinhole,
    infrared_camera,
    infrared_to_visible,
    visible_camera,
)
from dreamif_ros.scene.props import sign_corners
from dreamif_ros.scene.sensors import NIGHT, InfraredSensor, VisibleSensor, counts, tone
from dreamif_ros.scene.street import LightMap, make_street

_MIN_SIZE, _MAX_SIZE = (64, 48), (4096, 2160)
_DARK_BODY = 42  # display value below which the visible camera hardly sees a body
_DARK_BACKGROUND = 32.0  # display value above which a dark body would show as a silhouette
_MAX_HIDDEN = 0.6  # a box more covered than this by nearer ones is left out
_MIN_BOX_PX = 3.0
_CHEST_M = 1.2  # where the light on a body is measured
_FADE_M = (88.0, 99.0)  # cars come out of the haze at the end of the street


@dataclass(frozen=True)
class SceneConfig:
    """What to simulate.

    Sizes are (width, height) in pixels. `noise` multiplies the sensor noise of both cameras, or is
    "night": strong noise as of sensors at high gain, with stripes in infrared that drift. `motion`
    is "still", or "pan": the cameras turn to and fro together, and roll.
    `misalignment` in [0, 1] turns, shifts and zooms the infrared camera: 1 is about 20 px,
    2 degrees and a factor of 1.05 at 640x480. `homography` (rows of 3x3, infrared pixel to visible
    pixel) places it freely instead.
    """

    seed: int = 0
    visible_size: tuple[int, int] = (640, 480)
    infrared_size: tuple[int, int] = (640, 480)
    noise: float | str = 1.0
    misalignment: float = 0.0
    homography: tuple[tuple[float, float, float], ...] | None = None
    motion: str = STILL

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected an integer of 0 or more")
        _check_size("visible_size", self.visible_size)
        _check_size("infrared_size", self.infrared_size)
        known = self.noise == NIGHT if isinstance(self.noise, str) else 0 <= self.noise < math.inf
        if not known:
            raise ValueError(
                f'noise is {self.noise!r}, expected a finite number of 0 or more, or "{NIGHT}"'
            )
        if self.motion not in MOTIONS:
            raise ValueError(f"motion is {self.motion!r}, expected one of {', '.join(MOTIONS)}")
        if not 0 <= self.misalignment <= 1:
            raise ValueError(f"misalignment is {self.misalignment}, expected 0 to 1")
        if self.homography is not None:
            _check_homography(self.homography)


@dataclass(frozen=True)
class Box:
    """Where something is in the visible image: left, top, width, height in pixels, clipped.

    `label` is "person", "car" or, for `Scene.signs`, "sign"; `dark` tells that the visible
    camera can hardly see it.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    dark: bool


@dataclass(frozen=True)
class _Shot:
    """An actor at an instant: its shape, its distance, and how far the haze lets it through."""

    actor: Pedestrian | Car
    figure: Figure
    depth: float
    clarity: float


class _ActorPainter:
    """Draws actors into the images of one camera; one who stands still is drawn only once."""

    def __init__(
        self,
        camera: Pinhole,
        depths: FloatArray,
        colors: Callable[[_Shot], NDArray[Any]],
        *,
        opaque: float,
    ) -> None:
        self._camera = camera
        self._depths = depths
        self._colors = colors
        self._opaque = opaque
        self._still: dict[Pedestrian | Car, Patch | None] = {}

    def add(self, image: NDArray[Any], shot: _Shot) -> None:
        """Draw an actor over an image (H, W[, C]), behind what is nearer."""
        if shot.actor in self._still:
            patch = self._still[shot.actor]
        else:
            patch = draw(shot.figure, self._camera, self._colors(shot))
            if not shot.actor.moves:
                self._still[shot.actor] = patch
        if patch is not None:
            blend(image, patch, (self._opaque, shot.clarity), self._depths, shot.depth)


class Scene:
    """A night street with people and cars, seen by a visible and an infrared camera.

    The same configuration and time always give the same bytes.
    """

    def __init__(self, config: SceneConfig | None = None) -> None:
        self._config = config = config or SceneConfig()
        if config.homography is None:
            self._homography = infrared_to_visible(
                config.infrared_size, config.visible_size, config.misalignment
            )
        else:
            self._homography = np.array(config.homography, np.float64)
        at_rest = visible_camera(config.visible_size)
        beside = infrared_camera(at_rest, config.infrared_size, self._homography)
        self._visible_camera = TurningCamera(at_rest, config.motion)
        self._infrared_camera = TurningCamera(beside, config.motion)
        self._street = make_street(config.seed)
        self._last_shots: tuple[float, list[_Shot]] = (-1.0, [])
        self._light = LightMap(self._street, _CHEST_M)
        wide, wide_infrared = self._visible_camera.wide, self._infrared_camera.wide
        visible = render_backdrop(self._street, wide, thermal=False)
        infrared = render_backdrop(self._street, wide_infrared, thermal=True)
        self._visible_depth = visible.depth
        self._visible_actors = _ActorPainter(wide, visible.depth, self._colors, opaque=255.0)
        self._infrared_actors = _ActorPainter(wide_infrared, infrared.depth, _heat, opaque=1.0)
        self._visible_backdrop = _dithered(visible, config.seed)
        self._infrared_backdrop = np.rint(counts(infrared.image)).astype(np.uint16)
        self._glare = GlarePainter(wide, at_rest.height)
        self._visible_sensor = VisibleSensor(config.visible_size, config.noise, config.seed)
        self._infrared_sensor = InfraredSensor(config.infrared_size, config.noise, config.seed)

    @property
    def config(self) -> SceneConfig:
        """What is simulated."""
        return self._config

    @property
    def homography(self) -> DoubleArray:
        """The matrix (3, 3) that maps an infrared pixel to the visible pixel."""
        return self._homography.copy()

    @property
    def signs(self) -> list[Box]:
        """The boards with text, at 0 s: seen by the visible camera, of one temperature."""
        camera = self._visible_camera.now(0.0)
        boxes = (
            _clipped("sign", camera.project(sign_corners(sign)), camera)
            for sign in self._street.signs
        )
        return [box for box in boxes if box is not None]

    def visible(self, time_s: float) -> NDArray[np.uint8]:
        """Return the visible image (H, W, 3), RGB, at a time of 0 s or later."""
        shots = self._shots(time_s)
        image = self._visible_backdrop.copy()
        for shot in shots:
            if isinstance(shot.actor, Car):
                self._glare.add_pool(image, shot.actor, time_s, shot.clarity)
        for shot in shots:
            self._visible_actors.add(image, shot)
            if isinstance(shot.actor, Car):
                self._glare.add_lights(image, shot.actor, time_s, shot.clarity)
        return self._visible_sensor.capture(self._visible_camera.cut(image, time_s), time_s)

    def infrared(self, time_s: float) -> NDArray[np.uint16]:
        """Return the infrared image (h, w) of thermal counts, 0.01 K each, at a time."""
        image = self._infrared_backdrop.copy()
        for shot in self._shots(time_s):
            self._infrared_actors.add(image, shot)
        return self._infrared_sensor.capture(self._infrared_camera.cut(image, time_s), time_s)

    def boxes(self, time_s: float) -> list[Box]:
        """Return who can be seen by at least one of the cameras, from near to far."""
        camera = self._visible_camera.now(time_s)
        depths = self._visible_camera.cut(self._visible_depth, time_s, cv2.INTER_NEAREST)
        behind = self._visible_camera.cut(self._visible_backdrop, time_s)
        boxes: list[Box] = []
        for shot in reversed(self._shots(time_s)):
            box = self._box(shot, camera, depths, behind)
            if box is not None and _hidden_part(box, boxes) <= _MAX_HIDDEN:
                boxes.append(box)
        return boxes

    def _shots(self, time_s: float) -> list[_Shot]:
        """Return the actors at a time, from far to near; the last time asked for is kept."""
        if not (math.isfinite(time_s) and time_s >= 0):
            raise ValueError(f"time_s is {time_s}, expected a finite number of 0 or more")
        kept_time, kept = self._last_shots
        if kept_time == time_s:
            return kept
        actors: tuple[Pedestrian | Car, ...] = (*self._street.pedestrians, *self._street.cars)
        shots = [_shot(actor, time_s, self._visible_camera.wide) for actor in actors]
        shown = sorted((s for s in shots if s.clarity > 0), key=lambda shot: -shot.depth)
        self._last_shots = (time_s, shown)
        return shown

    def _colors(self, shot: _Shot) -> NDArray[np.uint8]:
        """Return the premultiplied RGBA (parts, 4) of an actor in the light where it stands."""
        body = shot.figure.body
        rgba = np.empty((len(body.parts), 4), dtype=np.float32)
        rgba[:, :3] = tone(body.albedo * self._light_on(shot) + body.emission)
        rgba[:, 3] = 255.0
        return np.rint(rgba * body.opacity[:, None]).astype(np.uint8)

    def _light_on(self, shot: _Shot) -> FloatArray:
        x, _, z = shot.figure.points.mean(axis=0).tolist()
        return self._light.at(x, z)

    def _box(
        self, shot: _Shot, camera: Pinhole, depths: FloatArray, backdrop: NDArray[np.uint8]
    ) -> Box | None:
        """depths, backdrop: (H, W[, 3]) as the camera sees them."""
        corners = extent(shot.figure, camera)
        if corners is None:
            return None
        label = "car" if isinstance(shot.actor, Car) else "person"
        box = _clipped(label, np.stack(corners), camera)
        if box is None:
            return None
        window = _window(box)
        if (depths[window] < shot.depth).mean() > _MAX_HIDDEN:
            return None
        dark = self._is_dark(shot, backdrop[window])
        return Box(label, box.x, box.y, box.width, box.height, dark)

    def _is_dark(self, shot: _Shot, behind: NDArray[np.uint8]) -> bool:
        body = self._colors(shot)[:, :3]
        # Each channel of each part: one bright jacket, or a lamp that is on, can be seen.
        return bool(body.max() < _DARK_BODY and behind.mean() < _DARK_BACKGROUND)


def _check_size(name: str, size: tuple[int, int]) -> None:
    fits = len(size) == 2 and all(
        isinstance(s, int) and low <= s <= high
        for s, low, high in zip(size, _MIN_SIZE, _MAX_SIZE, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} is {size}, expected (width, height) in pixels"
            f" from {_MIN_SIZE[0]}x{_MIN_SIZE[1]} to {_MAX_SIZE[0]}x{_MAX_SIZE[1]}"
        )


def _check_homography(homography: tuple[tuple[float, float, float], ...]) -> None:
    matrix = np.array(homography, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise ValueError(f"homography is {homography}, expected an invertible 3x3 matrix")


def _shot(actor: Pedestrian | Car, time_s: float, camera: Pinhole) -> _Shot:
    figure = actor.figure(time_s)
    depths = camera.to_camera(figure.points)[:, 2]
    if depths.max() <= NEAR_M:
        return _Shot(actor, figure, 0.0, 0.0)
    depth = float(depths.min())
    clarity = min(max((_FADE_M[1] - depth) / (_FADE_M[1] - _FADE_M[0]), 0.0), 1.0)
    return _Shot(actor, figure, depth, clarity)


def _dithered(backdrop: Backdrop, seed: int) -> NDArray[np.uint8]:
    """Tone map to bytes (H, W, 3); a fixed dither keeps the dark gradients free of bands."""
    rng = np.random.default_rng([seed, 7])
    display = tone(backdrop.image)
    display += rng.random(display.shape, dtype=np.float32)
    return np.clip(display, 0, 255).astype(np.uint8)


def _heat(shot: _Shot) -> FloatArray:
    """Return the premultiplied thermal counts and opacity (parts, 2) of an actor."""
    body = shot.figure.body
    premultiplied = counts(body.temperature) * body.opacity
    return np.stack([premultiplied, body.opacity], axis=1).astype(np.float32)


def _clipped(label: str, corners: DoubleArray, camera: Pinhole) -> Box | None:
    """Return the box around pixels (N, 2), clipped to the image; None if little is left."""
    left, top = np.maximum(corners.min(axis=0), 0)
    right, bottom = np.minimum(corners.max(axis=0), (camera.width - 1, camera.height - 1))
    width, height = float(right - left), float(bottom - top)
    if width < _MIN_BOX_PX or height < _MIN_BOX_PX:
        return None
    return Box(label, float(left), float(top), width, height, dark=False)


def _window(box: Box) -> tuple[slice, slice]:
    return (
        slice(int(box.y), int(box.y + box.height) + 1),
        slice(int(box.x), int(box.x + box.width) + 1),
    )


def _hidden_part(box: Box, nearer: list[Box]) -> float:
    """Return the largest part of a box that one nearer box covers."""
    covered = [
        max(min(box.x + box.width, n.x + n.width) - max(box.x, n.x), 0.0)
        * max(min(box.y + box.height, n.y + n.height) - max(box.y, n.y), 0.0)
        for n in nearer
    ]
    return max(covered, default=0.0) / (box.width * box.height)
