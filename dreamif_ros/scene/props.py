"""Static things that stand before the facades: lamp posts, trees and signs."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.scene.painting import Body, Figure, Material, Part, fill, fixed_point, outlines
from dreamif_ros.scene.pinhole import DoubleArray, FloatArray, Pinhole
from dreamif_ros.scene.street import Lamp, Sign, Street, Tree

_METAL = Material((0.10, 0.10, 0.11), 7.4)
_BARK = Material((0.10, 0.07, 0.05), 7.6)
_SIGN_TEMPERATURE = 6.8
_TEXEL_M = 0.005
_GLOW_M = 6.5


def paint_props(street: Street, camera: Pinhole, image: FloatArray, depth: FloatArray) -> None:
    """Paint the props, from far to near, in place.

    `image` is radiance (H, W, 3) or temperature (H, W); `depth` is (H, W) in metres.
    """
    layers = _Layers(street, camera, image, depth)
    rng = np.random.default_rng([street.seed, 3])
    things: list[Lamp | Sign | Tree] = [
        *(lamp for lamp in street.lamps if lamp.post_x is not None),
        *street.signs,
        *street.trees,
    ]
    for thing in sorted(things, key=_distance, reverse=True):
        if isinstance(thing, Lamp):
            layers.paint(_lamp_post(thing))
        elif isinstance(thing, Tree):
            layers.paint(_trunk(thing))
            layers.paint(_crown(thing, rng))
        else:
            layers.paint_sign(thing)
    if image.ndim > depth.ndim:
        layers.add_lamp_glow()


def _distance(thing: Lamp | Sign | Tree) -> float:
    return thing.centre[2] if isinstance(thing, Sign) else thing.z


def sign_corners(sign: Sign) -> DoubleArray:
    """Return the corners (4, 3) of a sign: top left, top right, bottom right, bottom left."""
    ways = np.array([(-1, 1, 0), (1, 1, 0), (1, -1, 0), (-1, -1, 0)])
    return np.array(sign.centre) + ways * (sign.size[0] / 2, sign.size[1] / 2, 0.0)


class _Layers:
    """The image and the depth that props are painted into."""

    def __init__(
        self, street: Street, camera: Pinhole, image: FloatArray, depth: FloatArray
    ) -> None:
        self._street = street
        self._camera = camera
        self._image = image
        self._depth = depth
        self._thermal = image.ndim == depth.ndim

    def paint(self, figure: Figure) -> None:
        """Paint a figure lit by the lamps around it."""
        body = figure.body
        centres = figure.points[body.ends].mean(axis=1)
        depths = self._camera.to_camera(centres)[:, 2].tolist()
        if self._thermal:
            colors = body.temperature.tolist()
        else:
            colors = (body.albedo * self._street.light(centres) + body.emission).tolist()
        for shape in outlines(figure, self._camera):
            fill(self._image, shape.polygon, colors[shape.index])
            fill(self._depth, shape.polygon, depths[shape.index])

    def paint_sign(self, sign: Sign) -> None:
        """Paint a board with its text; its temperature is the same everywhere."""
        x, y, z = sign.centre
        self.paint(_rod((x, 0.0, z) if sign.post else (x - 1.0, y, z), sign.centre, 0.035))
        board, mask = _board(sign)
        height, width = mask.shape
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
        place = self._camera.project(sign_corners(sign)).astype(np.float32)
        warp = cv2.getPerspectiveTransform(corners, place)
        size = (self._camera.width, self._camera.height)
        scale = width / max(float(np.linalg.norm(place[1] - place[0])), 1.0)
        if scale > 1:  # else the text would alias
            board = cv2.GaussianBlur(board, (0, 0), 0.3 * scale).astype(np.float32)
        drawn = cv2.warpPerspective(board, warp, size, flags=cv2.INTER_LINEAR)
        inside = cv2.warpPerspective(mask, warp, size, flags=cv2.INTER_NEAREST) > 0
        self._image[inside] = _SIGN_TEMPERATURE if self._thermal else drawn[inside]
        self._depth[inside] = z

    def add_lamp_glow(self) -> None:
        """Add the halo of each lamp, and the cone of light that it throws into the damp air."""
        for lamp in self._street.lamps:
            if lamp.post_x is not None:
                point = self._camera.to_camera(np.array([[lamp.x, lamp.y - 0.1, lamp.z]]))
                scale = self._camera.focal / float(point[0, 2])
                centre = self._camera.to_pixels(point)[0]
                self._add_glow(lamp, centre, scale)

    def _add_glow(self, lamp: Lamp, centre: DoubleArray, scale: float) -> None:
        """Add the glow of a lamp at a pixel, `scale` pixels per metre."""
        limits = zip(centre, (self._camera.width, self._camera.height), strict=True)
        (left, right), (top, bottom) = (
            (max(int(c - _GLOW_M * scale), 0), min(int(c + _GLOW_M * scale), end))
            for c, end in limits
        )
        if right <= left or bottom <= top:
            return
        y, x = np.ogrid[top:bottom, left:right]
        squared = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2).astype(np.float32) / scale**2
        glow = 0.9 * np.exp(-squared / 0.05) + 0.12 / (1 + squared / 0.25) ** 1.5
        glow += self._cone(lamp, (left, top), (bottom - top, right - left), scale)
        edge = np.clip(3 - 3 * np.sqrt(squared) / _GLOW_M, 0, 1)
        window = self._image[top:bottom, left:right]
        window += (glow * edge)[..., None] * np.array(lamp.color, np.float32)

    def _cone(
        self, lamp: Lamp, corner: tuple[int, int], shape: tuple[int, int], scale: float
    ) -> FloatArray:
        cone: FloatArray = np.zeros(shape, dtype=np.float32)
        for step in range(24, 0, -1):
            drop = step / 24
            pixels = self._camera.project(_cone_outline(lamp, drop)) - corner
            fill(cone, fixed_point(pixels), 0.045 * (1 - drop) ** 1.6 + 0.003)
        return np.asarray(cv2.GaussianBlur(cone, (0, 0), max(0.2 * scale, 0.6)), dtype=np.float32)


def _cone_outline(lamp: Lamp, drop: float) -> DoubleArray:
    """Return the outline (3, 3) of a light cone down to a part `drop` of its height."""
    half, y = 2.6 * drop, lamp.y * (1 - drop)
    rim = ((0, 0.0, lamp.y), (1, half, y), (-1, half, y))
    return np.array([(lamp.x + side * reach, h, lamp.z) for side, reach, h in rim])


def _rod(start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Figure:
    return Figure(Body((Part((0, 1), _METAL),), np.full(2, radius)), np.array([start, end]))


def _lamp_post(lamp: Lamp) -> Figure:
    """Return a post with an arm over the road and a warm, glowing head."""
    post_x = lamp.post_x if lamp.post_x is not None else lamp.x
    inward = math.copysign(0.32, lamp.x)
    points = np.array(
        [
            (post_x, 0.0, lamp.z),
            (post_x, 1.0, lamp.z),
            (post_x, lamp.y - 0.2, lamp.z),
            (post_x - inward, lamp.y + 0.12, lamp.z),
            (lamp.x + inward, lamp.y + 0.12, lamp.z),
            (lamp.x - inward, lamp.y + 0.04, lamp.z),
            (lamp.x + 0.75 * inward, lamp.y - 0.02, lamp.z - 0.05),
            (lamp.x - 0.75 * inward, lamp.y - 0.04, lamp.z - 0.05),
        ]
    )
    radii = np.array([0.12, 0.10, 0.055, 0.05, 0.07, 0.06, 0.05, 0.05])
    red, green, blue = lamp.color
    bulb = Material((0.0, 0.0, 0.0), 52.0, (5 * red, 5 * green, 5 * blue))
    head = Material(_METAL.albedo, 34.0)
    parts = (
        Part((0, 1), _METAL),
        Part((1, 2), _METAL),
        Part((2, 3), _METAL),
        Part((3, 4), _METAL),
        Part((4, 5), head),
        Part((6, 7), bulb),
    )
    return Figure(Body(parts, radii), points)


def _trunk(tree: Tree) -> Figure:
    fork = 0.45 * tree.height
    points = [(tree.x, 0.0, tree.z), (tree.x, fork, tree.z)]
    radii = [0.05 * tree.crown + 0.08, 0.04 * tree.crown + 0.05]
    parts = [Part((0, 1), _BARK)]
    for turn in np.linspace(0.3, 5.6, 5):
        reach = 0.6 * tree.crown
        tip = (tree.x + reach * math.cos(turn), 0.8 * tree.height, tree.z + reach * math.sin(turn))
        points.append(tip)
        radii.append(0.035)
        parts.append(Part((1, len(points) - 1), _BARK))
    return Figure(Body(tuple(parts), np.array(radii)), np.array(points))


def _crown(tree: Tree, rng: np.random.Generator, leaves: int = 1500) -> Figure:
    """Return a crown of clumps of leaves, far ones first."""
    clumps = rng.normal(0, 0.42, (22, 3)) * tree.crown * np.array([1.0, 0.75, 1.0])
    centres = clumps[rng.integers(len(clumps), size=leaves)] + rng.normal(
        0, 0.20 * tree.crown, (leaves, 3)
    )
    centres += (tree.x, tree.height - 0.8 * tree.crown, tree.z)
    centres = centres[centres[:, 1] > 0.3 * tree.height]
    centres = centres[np.argsort(-centres[:, 2])]
    shades = rng.uniform(0.6, 1.3, len(centres))
    parts = tuple(
        Part((i,), Material((0.10 * s, 0.135 * s, 0.045 * s), 6.3 + 0.8 * s))
        for i, s in enumerate(shades)
    )
    return Figure(Body(parts, rng.uniform(0.035, 0.10, len(centres))), centres)


def _board(sign: Sign) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Return a sign's radiance (h, w, 3) and its shape (h, w), 255 inside."""
    width, height = (round(side / _TEXEL_M) for side in sign.size)
    board = np.empty((height, width, 3), dtype=np.float32)
    board[:] = np.array(sign.board) * sign.glow
    mask = np.full((height, width), 255, dtype=np.uint8)
    margin = max(height // 18, 2)
    outline = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    if sign.octagon:
        turn = np.arange(8) * np.pi / 4 + np.pi / 8
        middle, reach = np.array([width, height]) / 2, height / 2 / math.cos(math.pi / 8)
        outline = middle + reach * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        mask[:] = 0
        fill(mask, fixed_point(outline), 255)
    ink = tuple(sign.glow * channel for channel in sign.ink)
    middle = outline.mean(axis=0)
    inner = (outline - middle) * (1 - 2.2 * margin / np.array([width, height])) + middle
    cv2.polylines(board, [inner.astype(np.int32)], True, ink, margin)
    _write(board, sign.text, ink)
    return board, mask


def _write(board: FloatArray, text: str, ink: tuple[float, ...]) -> None:
    """Write a text as large as fits into the middle of a board, in place."""
    letters = _letters(text)
    height, width = board.shape[:2]
    scale = min(0.84 * width / letters.shape[1], 0.50 * height / letters.shape[0])
    size = (round(scale * letters.shape[1]), round(scale * letters.shape[0]))
    cover: FloatArray = np.asarray(
        cv2.resize(letters, size, interpolation=cv2.INTER_AREA), dtype=np.float32
    )
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    middle = board[top : top + size[1], left : left + size[0]]
    middle += (np.array(ink, dtype=np.float32) - middle) * (cover[..., None] / np.float32(255))


def _letters(text: str) -> NDArray[np.uint8]:
    """Return white letters on black, cropped; OpenCV's fonts differ in size between versions."""
    page = np.zeros((240, 160 * len(text)), dtype=np.uint8)
    cv2.putText(page, text, (40, 170), cv2.FONT_HERSHEY_DUPLEX, 4.0, (255,), 12, cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(page)
    return page[top : top + height, left : left + width]
