"""Boards drawn as cameras with known lenses see them."""

from functools import lru_cache

import cv2
import numpy as np

from dreamif_model.registration.board import Board
from dreamif_model.registration.geometry import CameraPair, Intrinsics

BOARD = Board(6, 5, spacing_m=0.03)
THERMAL = Intrinsics(
    (320, 256), np.array([[380.0, 0, 158], [0, 384, 130], [0, 0, 1]]), (-0.45, 0.2, 0.003, -0.001)
)
COLOR = Intrinsics(
    (400, 300), np.array([[390.0, 0, 203], [0, 388, 148], [0, 0, 1]]), (-0.1, 0.03, -0.001, 0.002)
)
RIG = CameraPair(
    THERMAL,
    COLOR,
    cv2.Rodrigues(np.array([0.02, -0.03, 0.04]))[0],
    np.array([0.02, -0.01, 0.005]),
    0.35,
)
TILTS = [(0, 0), (0.4, 0.1), (-0.4, 0.2), (0.1, 0.45), (-0.1, -0.45), (0.3, 0.3), (-0.3, -0.3)]
TILTS += [(0.35, -0.3), (-0.35, 0.25), (0.15, -0.15)]
SHADES = 60, 200  # dark and bright squares


def poses(count=10):
    """Rotations (3, 3) and places in metres of the board before the visible camera."""
    across = (0, 0), (-0.03, -0.02), (0.03, 0.02)
    places = [(x, y, z) for z in (0.33, 0.37) for x, y in across]
    for i, tilt in enumerate(TILTS[:count]):
        turned = cv2.Rodrigues(np.array([*tilt, 0.05 * (i % 3 - 1)]))[0]
        yield turned, np.array(places[i % len(places)])


def draw(camera, turned, place, board=BOARD, inverted=False):
    """(H, W) uint8: the board in a room of one shade; each pixel is looked up on the board."""
    width, height = camera.size
    scale = 2  # samples along each side of a pixel
    rays = _rays(camera, scale)
    normal = turned[:, 2]
    points = rays * ((normal @ place) / (rays @ normal))[:, None] - place
    on_board = (points @ turned)[:, :2] / board.spacing_m
    shades = (_circles if board.circles else _squares)(on_board, board)
    image = np.nan_to_num(shades, nan=1.0).reshape(scale * height, -1).astype(np.float32)
    image = 1 - image if inverted else image
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    gray = SHADES[0] + (SHADES[1] - SHADES[0]) * cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.rint(gray).astype(np.uint8)


def pairs(count=10, board=BOARD, rig=RIG):
    """Infrared images, in which the board is inverted, and visible ones."""
    infrared, visible = [], []
    for turned, place in poses(count):
        centre = board.points.mean(axis=0)
        moved = place - turned @ centre
        visible.append(draw(rig.visible, turned, moved, board))
        there = rig.rotation @ turned, rig.rotation @ moved + rig.translation
        infrared.append(draw(rig.infrared, *there, board, inverted=True))
    return infrared, visible


@lru_cache
def _rays(camera, scale):
    width, height = camera.size
    x, y = np.meshgrid(np.arange(scale * width), np.arange(scale * height))
    pixels = (np.column_stack((x.ravel(), y.ravel())) + 0.5) / scale - 0.5
    return np.column_stack((camera.rays(pixels), np.ones(len(pixels))))


def _squares(points, board):
    """Inner corners are at whole numbers from 0; one square and a margin around them."""
    inside = ((points >= -1) & (points <= (board.columns, board.rows))).all(axis=1)
    dark = np.floor(np.nan_to_num(points)).astype(int).sum(axis=1) % 2 == 0
    return np.where(inside & dark, 0.0, 1.0)


def _circles(points, board):
    centres = board.points[:, :2] / board.spacing_m
    white = np.ones(len(points))
    for centre in centres:
        white[((points - centre) ** 2).sum(axis=1) < 0.6**2] = 0
    return white
