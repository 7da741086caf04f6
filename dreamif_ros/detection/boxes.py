"""Detections drawn into the picture, for people."""

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
_GOLDEN_RATIO = 0.618034  # steps of the hue by which neighbours differ most

Color = tuple[int, int, int]


def draw_boxes(
    image: NDArray[np.uint8], detections: Detections, names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """A copy of the picture with a box, class, score and track of each detection.

    image: (H, W, 3) RGB uint8 of any size; lines and letters grow with it. names: of the classes,
    as :attr:`Detector.names`. The best detection lies on top; a label that is larger than the
    picture is left out. Raises ImageError for other shapes and types.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(f"boxes are drawn into (H, W, 3) uint8, got {image.shape} {image.dtype}")
    picture = np.array(image, order="C")
    for index in reversed(range(len(detections.boxes))):
        color = class_color(int(detections.classes[index]))
        box = _pixels(detections.boxes[index], picture.shape)
        _draw_frame(picture, box, color)
        _draw_label(picture, box, _label(detections, index, names), color)
    return picture


@cache
def class_color(key: int) -> Color:
    """The bright RGB colour of a class, the same in every picture."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + key * _GOLDEN_RATIO) % 1, 0.8, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def _label(detections: Detections, index: int, names: Mapping[int, str]) -> str:
    key = int(detections.classes[index])
    text = f"{names.get(key, key)} {detections.scores[index]:.2f}"
    if detections.tracks is None or detections.tracks[index] == UNTRACKED:
        return text
    return f"{text} #{detections.tracks[index]}"


def _pixels(box: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    left, top, right, bottom = (round(float(side)) for side in box)
    return max(left, 0), max(top, 0), min(right, width) - 1, min(bottom, height) - 1


def _draw_frame(picture: NDArray[np.uint8], box: tuple[int, int, int, int], color: Color) -> None:
    thickness = max(1, round(min(picture.shape[:2]) / 320))
    for line, width in ((_BLACK, thickness + 2), (color, thickness)):  # seen on any background
        cv2.rectangle(picture, box[:2], box[2:], line, width)


def _draw_label(
    picture: NDArray[np.uint8], box: tuple[int, int, int, int], text: str, color: Color
) -> None:
    """Above the box, in it where there is no room above."""
    height, width = picture.shape[:2]
    size = float(np.clip(min(height, width) / 1000, 0.35, 3))
    thickness = max(1, round(1.5 * size))
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, size, thickness)
    label_width, label_height = text_width + 2 * below, text_height + 2 * below
    if label_width > width or label_height > height:
        return
    left = min(box[0], width - label_width)
    top = box[1] - label_height if box[1] >= label_height else box[1]
    top = min(top, height - label_height)
    corner = left + label_width - 1, top + label_height - 1
    cv2.rectangle(picture, (left, top), corner, color, cv2.FILLED)
    letters = _BLACK if np.dot(color, (0.299, 0.587, 0.114)) > 128 else _WHITE
    where = left + below, top + below + text_height
    cv2.putText(picture, text, where, _FONT, size, letters, thickness, cv2.LINE_AA)
