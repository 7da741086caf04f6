"""What the thermal camera measured in each box: detections and infrared/registered, joined."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_ros import codec
from dreamif_ros.detection.detector import UNTRACKED, Detections
from dreamif_ros.node.diagnostic_status import DiagnosticValue, status
from dreamif_ros.node.transport import FollowingSubscription

INPUT, OUTPUT = "infrared/registered", "detections/temperatures"
KEPT = 10  # images and detections that wait for the other
T = TypeVar("T")


def measured_in(image: NDArray[Any], box: NDArray[np.float32]) -> NDArray[Any]:
    """(n,) values of the pixels that a box touches and in which something was measured.

    image: (H, W) of infrared/registered. box: (4,) x1, y1, x2, y2 in its pixels.
    """
    left, top = np.floor(box[:2]).astype(int).clip(0)
    right, bottom = np.ceil(box[2:]).astype(int)
    values = image[top:bottom, left:right].ravel()
    known: NDArray[Any] = values[~np.isnan(values) if image.dtype == np.float32 else values != 0]
    return known


def describe_box(image: NDArray[Any], box: NDArray[np.float32]) -> dict[str, DiagnosticValue]:
    """Minimum, mean and maximum of a box, where anything was measured in it."""
    values = measured_in(image, box)
    unit = "°C" if image.dtype == np.float32 else "counts"
    found: dict[str, DiagnosticValue] = {"pixels": values.size}
    if values.size:
        figures = values.min(), values.mean(dtype=np.float64), values.max()
        for name, value in zip(("min", "mean", "max"), figures, strict=True):
            found[f"{name} ({unit})"] = float(value)
    return found


def temperatures_message(
    image: NDArray[Any], detections: Detections, names: Mapping[int, str], header: Header
) -> DiagnosticArray:
    """One status for each detection, in their order: its class, its track, its values."""
    tracks = detections.tracks
    if tracks is None:
        tracks = np.full(len(detections.scores), UNTRACKED)
    rows = zip(detections.boxes, detections.classes, tracks.tolist(), strict=True)
    return DiagnosticArray(
        header=header,
        status=[_status(image, box, names[int(key)], track) for box, key, track in rows],
    )


def _status(
    image: NDArray[Any], box: NDArray[np.float32], name: str, track: int
) -> DiagnosticStatus:
    values = describe_box(image, box)
    warnings = [] if values["pixels"] else ["nothing was measured"]
    known_track = "" if track == UNTRACKED else str(track)
    return status(name, values, warnings, hardware_id=known_track)


@dataclass(frozen=True)
class _Found:
    detections: Detections
    shape: tuple[int, ...]  # (H, W) of the image that they were found in


class Temperatures:
    """Joins detections and images of infrared/registered that have the same header.

    Whichever comes second publishes, in its thread.

    names: Class names by number. publish: Sends a message.
    """

    def __init__(
        self, node: Node, names: Mapping[int, str], publish: Callable[[DiagnosticArray], None]
    ) -> None:
        self._names, self._publish = names, publish
        self._lock = threading.Lock()
        self._found: dict[tuple[int, int, str], _Found] = {}
        self._images: dict[tuple[int, int, str], Image] = {}
        self.input = FollowingSubscription(node, Image, INPUT, self._on_image)

    def take(self, detections: Detections, shape: tuple[int, ...], header: Header) -> None:
        """Take what was found in an image of a shape (H, W, …)."""
        found = _Found(detections, tuple(shape[:2]))
        with self._lock:
            image = self._images.pop(_key(header), None)
            if image is None:
                _keep(self._found, _key(header), found)
        if image is not None:
            self._join(image, found)

    def _on_image(self, image: Image) -> None:
        with self._lock:
            found = self._found.pop(_key(image.header), None)
            if found is None:
                _keep(self._images, _key(image.header), image)
        if found is not None:
            self._join(image, found)

    def _join(self, image: Image, found: _Found) -> None:
        """Images of another size have other pixels: their boxes are not for this image."""
        if (image.height, image.width) == found.shape:
            pixels = codec.decode(image)
            self._publish(temperatures_message(pixels, found.detections, self._names, image.header))


def _key(header: Header) -> tuple[int, int, str]:
    return header.stamp.sec, header.stamp.nanosec, header.frame_id


def _keep(waiting: dict[tuple[int, int, str], T], key: tuple[int, int, str], item: T) -> None:
    """Add an item; the oldest one makes room for it."""
    waiting[key] = item
    if len(waiting) > KEPT:
        del waiting[next(iter(waiting))]
