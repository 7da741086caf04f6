"""Draws detections into the picture, for people."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError
from dreamif_ros.detection.detector import UNTRACKED, Detections

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_GOLDEN_RATIO = 0.618034  # hue steps that make neighbouring classes differ most

RGB = tuple[int, int, int]
PixelBox = tuple[int, int, int, int]  # left, top, right, bottom


def draw_boxes(
    image: NDArray[np.uint8], detections: Detections, names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """A copy of the picture with a box, class, score and track of each detection.

    The best detection's box lies on top. A label that is larger than the picture is left out.

    Args:
        image: (H, W, 3) RGB or (H, W) gray, uint8, of any size; lines and letters grow with it.
        detections: What was found in it.
        names: Class names by number, as :attr:`Detector.names`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: For other shapes and types.
    """
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(f"boxes are drawn into (H, W[, 3]) uint8, got {image.shape} {image.dtype}")
    picture = np.array(image, order="C")
    boxes = [_pixels(box, picture.shape) for box in detections.boxes]
    colors = [class_color(int(key)) for key in detections.classes]
    for box, color in zip(reversed(boxes), reversed(colors), strict=True):
        _draw_frame(picture, box, color)
    taken: list[PixelBox] = []
    for index, (box, color) in enumerate(zip(boxes, colors, strict=True)):
        _draw_label(picture, box, _label(detections, index, names), color, taken)
    return picture


@cache
def class_color(key: int) -> RGB:
    """The bright RGB colour of a class, the same in every picture."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + key * _GOLDEN_RATIO) % 1, 0.8, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def _label(detections: Detections, index: int, names: Mapping[int, str]) -> str:
    key = int(detections.classes[index])
    text = f"{names.get(key, key)} {detections.scores[index]:.2f}"
    if detections.tracks is None or detections.tracks[index] == UNTRACKED:
        return text
    return f"{text} #{detections.tracks[index]}"


def _pixels(box: NDArray[np.float32], shape: tuple[int, ...]) -> PixelBox:
    height, width = shape[:2]
    left, top, right, bottom = (round(float(side)) for side in box)
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def _draw_frame(picture: NDArray[np.uint8], box: PixelBox, color: RGB) -> None:
    left, top, right, bottom = box
    thickness = max(1, round(min(picture.shape[:2]) / 320))
    for line, width in ((_BLACK, thickness + 2), (color, thickness)):  # visible on every background
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), line, width)


def _draw_label(
    picture: NDArray[np.uint8], box: PixelBox, text: str, color: RGB, taken: list[PixelBox]
) -> None:
    """Draw a label where it covers none of the ``taken`` places; its own is added to them."""
    height, width = picture.shape[:2]
    size = float(np.clip(min(height, width) / 1400, 0.35, 3))
    thickness = max(1, round(1.5 * size))
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, size, thickness)
    label = text_width + 2 * below, text_height + 2 * below
    if label[0] > width or label[1] > height:
        return
    places = [_inside(place, label, (width, height)) for place in _places(box, label)]
    left, top, right, bottom = next((p for p in places if not _overlaps(p, taken)), places[0])
    taken.append((left, top, right, bottom))
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    letters = _BLACK if np.dot(color, (0.299, 0.587, 0.114)) > 128 else _WHITE
    where = left + below, top + below + text_height
    cv2.putText(picture, text, where, _FONT, size, letters, thickness, cv2.LINE_AA)


def _places(box: PixelBox, label: tuple[int, int]) -> list[tuple[int, int]]:
    """Left and top of a label above, below and inside the box; the best place first."""
    left, top, right, bottom = box
    columns = left, right - label[0]
    return [(x, y) for y in (top - label[1], bottom, top) for x in columns]


def _inside(place: tuple[int, int], label: tuple[int, int], picture: tuple[int, int]) -> PixelBox:
    left, top = (
        min(max(at, 0), side - size) for at, size, side in zip(place, label, picture, strict=True)
    )
    return left, top, left + label[0], top + label[1]


def _overlaps(box: PixelBox, others: list[PixelBox]) -> bool:
    left, top, right, bottom = box
    return any(left < r and x < right and top < b and y < bottom for x, y, r, b in others)
