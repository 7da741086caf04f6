"""Draw figures, made of parts in the world, into the image of a camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.pinhole import NEAR_M, DoubleArray, FloatArray, Pinhole

LinearColor = tuple[float, float, float]

_FRACTION_BITS = 4
_MAX_COORDINATE = 20_000  # keeps fixed-point coordinates far from overflow
_SMALL_PATCH_PX = 110
_TURN = np.linspace(0, 2 * np.pi, 12)[:-1]
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass(frozen=True)
class Material:
    """What both cameras see of a surface.

    `albedo` is linear RGB in [0, 1]; `temperature` in degrees Celsius; `emission` is linear RGB
    radiance that does not depend on the light around; `opacity` is in [0, 1].
    """

    albedo: LinearColor
    temperature: float
    emission: LinearColor = (0.0, 0.0, 0.0)
    opacity: float = 1.0


@dataclass(frozen=True)
class Part:
    """A piece of a body: the hull of the balls at some of its points, or a polygon."""

    points: tuple[int, ...]
    material: Material


@dataclass(frozen=True, eq=False)
class Body:
    """How the points of something are joined and what it is made of; all that never moves.

    With `radii` (N,) in metres, parts are hulls of balls and drawn from far to near. Without,
    they are polygons, drawn in their order when they run clockwise in the image.
    """

    parts: tuple[Part, ...]
    radii: DoubleArray | None = None

    @cached_property
    def albedo(self) -> DoubleArray:
        """Linear RGB (parts, 3)."""
        return np.array([part.material.albedo for part in self.parts])

    @cached_property
    def emission(self) -> DoubleArray:
        """Linear RGB radiance (parts, 3)."""
        return np.array([part.material.emission for part in self.parts])

    @cached_property
    def temperature(self) -> DoubleArray:
        """Degrees Celsius (parts,)."""
        return np.array([part.material.temperature for part in self.parts])

    @cached_property
    def opacity(self) -> DoubleArray:
        """Opacity (parts,) in [0, 1]."""
        return np.array([part.material.opacity for part in self.parts])

    @cached_property
    def indices(self) -> list[NDArray[np.intp]]:
        """The points of each part."""
        return [np.array(part.points) for part in self.parts]

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """The first and last point of each part (parts, 2)."""
        return np.array([(part.points[0], part.points[-1]) for part in self.parts])

    @cached_property
    def corners(self) -> NDArray[np.intp]:
        """Three points far apart on each polygon (parts, 3): they tell which side we see."""
        return np.array([_far_apart(part.points) for part in self.parts])


@dataclass(frozen=True)
class Figure:
    """A body at an instant: `points` (N, 3) in metres in the world."""

    body: Body
    points: DoubleArray


@dataclass(frozen=True)
class Outline:
    """A part in the image: its place in `Body.parts`, and a polygon (M, 2) in fixed point."""

    index: int
    polygon: NDArray[np.int32]


@dataclass(frozen=True)
class Patch:
    """A drawn figure: premultiplied channels (h, w, C), the last of them the coverage."""

    left: int
    top: int
    pixels: NDArray[Any]


def extent(figure: Figure, camera: Pinhole) -> tuple[DoubleArray, DoubleArray] | None:
    """Return the corners (x, y) around a figure in pixels; None when it is behind the camera."""
    points = camera.to_camera(figure.points)
    ahead = points[:, 2] > NEAR_M
    if not ahead.any():
        return None
    if not ahead.all():
        points = np.concatenate([_clip_near(points[chosen]) for chosen in figure.body.indices])
    pixels = camera.to_pixels(points)
    if figure.body.radii is None:
        return pixels.min(axis=0), pixels.max(axis=0)
    reach = (figure.body.radii * camera.focal / points[:, 2])[:, None]
    return (pixels - reach).min(axis=0), (pixels + reach).max(axis=0)


def outlines(
    figure: Figure, camera: Pinhole, shift: tuple[int, int] = (0, 0), factor: int = 1
) -> Iterator[Outline]:
    """Yield the visible parts in drawing order, moved by -`shift` and enlarged by `factor`."""
    points = camera.to_camera(figure.points)
    if figure.body.radii is not None:
        return _hulls(figure.body, figure.body.radii, points, camera, (shift, factor))
    return _polygons(figure.body, points, camera, (shift, factor))


def draw(figure: Figure, camera: Pinhole, colors: NDArray[Any]) -> Patch | None:
    """Draw a figure, antialiased, on a transparent patch; None when it is out of sight.

    `colors` (parts, C) are premultiplied, the last channel is the opacity; the patch has the
    same data type.
    """
    corners = extent(figure, camera)
    if corners is None:
        return None
    left, top = (max(int(c) - 1, 0) for c in corners[0])
    width = min(int(corners[1][0]) + 2, camera.width) - left
    height = min(int(corners[1][1]) + 2, camera.height) - top
    if width <= 0 or height <= 0:
        return None
    factor = 4 if max(width, height) < _SMALL_PATCH_PX else 2
    canvas = np.zeros((height * factor, width * factor, colors.shape[1]), dtype=colors.dtype)
    palette = colors.tolist()
    for shape in outlines(figure, camera, (left, top), factor):
        fill(canvas, shape.polygon, palette[shape.index])
    return Patch(left, top, cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA))


def fill(image: NDArray[Any], polygon: NDArray[np.int32], color: Any) -> None:
    """Fill a polygon (N, 2) of fixed-point pixels, of any shape."""
    cv2.fillPoly(image, [polygon], color, shift=_FRACTION_BITS)


def fixed_point(pixels: DoubleArray) -> NDArray[np.int32]:
    """Turn pixel coordinates into those that `fill` takes."""
    limited = np.clip(pixels, -_MAX_COORDINATE, _MAX_COORDINATE)
    return np.rint(limited * (1 << _FRACTION_BITS)).astype(np.int32)


def blend(
    image: NDArray[Any], patch: Patch, scale: tuple[float, float], depths: FloatArray, depth: float
) -> None:
    """Put a patch over an image (H, W[, C]), behind what is nearer than `depth` metres.

    `scale` is the coverage of an opaque pixel of the patch, and the opacity of the whole;
    `depths` (H, W) are those of the static foreground.
    """
    opaque, opacity = scale
    rows = slice(patch.top, patch.top + patch.pixels.shape[0])
    columns = slice(patch.left, patch.left + patch.pixels.shape[1])
    under = image[rows, columns]
    shown = (depths[rows, columns] > depth) * np.float32(opacity)
    pixels = patch.pixels * shown[..., None]
    kept = 1.0 - pixels[..., -1:] * np.float32(1.0 / opaque)
    over = under.reshape(*kept.shape[:2], -1) * kept
    over += pixels[..., :-1]
    over += np.float32(0.5)
    under[...] = over.reshape(under.shape)


def _hulls(
    body: Body,
    radii: DoubleArray,
    points: DoubleArray,
    camera: Pinhole,
    window: tuple[tuple[int, int], int],
) -> Iterator[Outline]:
    depths = points[:, 2]
    if depths.min() <= NEAR_M:  # nobody walks into the camera
        return
    reach = (radii * camera.focal / depths)[:, None, None]
    circles = fixed_point(_in_window(camera.to_pixels(points)[:, None] + reach * _CIRCLE, window))
    order = np.argsort(-depths[body.ends].sum(axis=1), kind="stable")
    for index in order.tolist():
        hull = cv2.convexHull(circles[body.indices[index]].reshape(-1, 2))
        yield Outline(index, np.asarray(hull, dtype=np.int32))


def _polygons(
    body: Body, points: DoubleArray, camera: Pinhole, window: tuple[tuple[int, int], int]
) -> Iterator[Outline]:
    if points[:, 2].min() > NEAR_M:
        pixels = _in_window(camera.to_pixels(points), window)
        fixed = fixed_point(pixels)
        for index in np.flatnonzero(_clockwise(pixels[body.corners])).tolist():
            yield Outline(index, fixed[body.indices[index]])
        return
    for index, chosen in enumerate(body.indices):
        clipped = _clip_near(points[chosen])
        if len(clipped):
            pixels = _in_window(camera.to_pixels(clipped), window)
            if _clockwise(pixels[None, _far_apart(range(len(pixels)))])[0]:
                yield Outline(index, fixed_point(pixels))


def _in_window(pixels: DoubleArray, window: tuple[tuple[int, int], int]) -> DoubleArray:
    shift, factor = window
    return (pixels - shift) * factor + (factor - 1) / 2


def _far_apart(points: Sequence[int]) -> list[int]:
    return [points[len(points) * third // 3] for third in range(3)]


def _clockwise(corners: DoubleArray) -> NDArray[np.bool_]:
    """Tell whether triangles (N, 3, 2) run clockwise in the image."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0])


def _clip_near(polygon: DoubleArray) -> DoubleArray:
    """Cut away what lies nearer than NEAR_M of a polygon (N, 3) in camera coordinates."""
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if start[2] > NEAR_M:
            kept.append(start)
        if (start[2] > NEAR_M) != (end[2] > NEAR_M):
            kept.append(start + (end - start) * (NEAR_M - start[2]) / (end[2] - start[2]))
    return np.array(kept).reshape(-1, 3)
