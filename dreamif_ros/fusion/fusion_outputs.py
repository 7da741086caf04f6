"""Where fused images go: to publishers, and to a listener in this process.

What nobody subscribes to is neither encoded nor sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dreamif_model import FusionResult
from dreamif_model.arrays import RgbImage
from dreamif_model.dominance.overlay import dominance_overlay
from dreamif_ros.node.publishing import JPEG, OWN, advertise, advertise_image, image_message

TOPIC, DETECTION_TOPIC = "fused/image_raw", "fused/detection_image"
Draw = Callable[[FusionResult], NDArray[Any] | None]  # None: there is no such image now


class Listener(Protocol):
    """Takes fused images in memory."""

    def listen_to(self, topics: Mapping[str, str]) -> None:
        """Called once, before the first image: the topics of the images, by their resolved name."""

    def wanted_topic(self) -> str:
        """The topic whose next image it can use, or nothing; called in the worker's thread."""

    def take(self, image: RgbImage, header: Header) -> None:
        """Take an image that it wanted, in the worker's thread; must return at once."""


def _fused(result: FusionResult) -> NDArray[Any]:
    return result.fused


def _detection_image(result: FusionResult) -> NDArray[Any] | None:
    return result.detection_image


def _overlay(result: FusionResult) -> NDArray[Any]:
    return dominance_overlay(result.fused, result.dominance_infrared, result.dominance_visible)


_IMAGES: dict[str, tuple[Draw, str]] = {  # by topic: the image and its encoding
    TOPIC: (_fused, "rgb8"),
    f"{TOPIC}/compressed": (_fused, JPEG),
    DETECTION_TOPIC: (_detection_image, "rgb8"),
    f"{DETECTION_TOPIC}/compressed": (_detection_image, JPEG),
    "dominance/infrared": (lambda result: result.dominance_infrared, "32FC1"),
    "dominance/visible": (lambda result: result.dominance_visible, "32FC1"),
    "dominance/overlay": (_overlay, "bgr8"),
    "dominance/overlay/compressed": (_overlay, JPEG),
    "infrared/registered": (lambda result: result.measured() if result.measured else None, OWN),
}


def picture(topic: str, result: FusionResult) -> RgbImage:
    """The image of a topic, as it is in memory."""
    draw, _ = _IMAGES[topic]
    image = draw(result)
    assert image is not None  # a listener takes fused images, which there always are
    return image


class FusionOutputs:
    """Lifecycle publishers of the fused image, its camera_info, the dominance maps and infrared."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._images = {
            topic: advertise_image(node, topic, encoding)
            for topic, (_, encoding) in _IMAGES.items()
        }
        self._camera_info = advertise(node, CameraInfo, "fused/camera_info")

    def wanted(self) -> list[str]:
        """The topics of the images that anybody subscribes to."""
        return [topic for topic, images in self._images.items() if images.get_subscription_count()]

    def publish(
        self,
        topics: Sequence[str],
        result: FusionResult,
        header: Header,
        info: CameraInfo | None,
        quality: int,
    ) -> dict[str, float]:
        """Send these images under ``header``; returns the seconds of encode and publish."""
        seconds = {"encode": 0.0, "publish": 0.0}
        drawn = cache(lambda draw: draw(result))  # once, however many encodings are wanted
        for topic in topics:
            started = time.perf_counter()
            draw, encoding = _IMAGES[topic]
            image = drawn(draw)
            if image is None:
                continue
            message = image_message(image, encoding, header, quality)
            encoded = time.perf_counter()
            self._images[topic].publish(message)
            seconds["encode"] += encoded - started
            seconds["publish"] += time.perf_counter() - encoded
        if info is not None:
            info.header = header
            self._camera_info.publish(info)
        return seconds

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (*self._images.values(), self._camera_info):
            self._node.destroy_lifecycle_publisher(publisher)
