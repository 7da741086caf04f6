"""Where fused images go: to publishers, and to a listener in this process.

What nobody subscribes to is neither encoded nor sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dreamif_model import FusionResult
from dreamif_model.dominance.overlay import dominance_overlay
from dreamif_ros.node.publishing import JPEG, OWN, advertise, advertise_image, image_message

TOPIC = "fused/image_raw"
Draw = Callable[[FusionResult], NDArray[Any] | None]  # None: there is no such image now


class Listener(Protocol):
    """Takes fused images in memory."""

    def listen_to(self, topic: str) -> None:
        """Called once, before the first image, with the resolved topic of the same images."""

    def wants_fused(self) -> bool:
        """Whether it can use the next image; called for each image, in the worker's thread."""

    def take_fused(self, result: FusionResult, header: Header) -> None:
        """Take an image that it wanted, in the worker's thread; must return at once."""


def _fused(result: FusionResult) -> NDArray[Any]:
    return result.fused


def _dominance_infrared(result: FusionResult) -> NDArray[Any]:
    return result.dominance_infrared


def _dominance_visible(result: FusionResult) -> NDArray[Any]:
    return result.dominance_visible


def _overlay(result: FusionResult) -> NDArray[Any]:
    return dominance_overlay(result.fused, result.dominance_infrared, result.dominance_visible)


def _registered(result: FusionResult) -> NDArray[Any] | None:
    return result.measured() if result.measured else None


_IMAGES: dict[str, tuple[Draw, str]] = {  # by topic: the image and its encoding
    TOPIC: (_fused, "rgb8"),
    f"{TOPIC}/compressed": (_fused, JPEG),
    "dominance/infrared": (_dominance_infrared, "32FC1"),
    "dominance/visible": (_dominance_visible, "32FC1"),
    "dominance/overlay": (_overlay, "bgr8"),
    "dominance/overlay/compressed": (_overlay, JPEG),
    "infrared/registered": (_registered, OWN),
}


class FusionOutputs:
    """Lifecycle publishers of the fused image, its camera_info, the dominance maps and infrared."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._images = {
            topic: advertise_image(node, topic, encoding)
            for topic, (_, encoding) in _IMAGES.items()
        }
        self._camera_info = advertise(node, CameraInfo, "fused/camera_info")

    def wanted(self) -> bool:
        """Whether anybody subscribes to an image."""
        return any(publisher.get_subscription_count() for publisher in self._images.values())

    def publish(
        self, result: FusionResult, header: Header, info: CameraInfo | None, quality: int
    ) -> dict[str, float]:
        """Send what is wanted under ``header``; returns the seconds of encode and publish."""
        seconds = {"encode": 0.0, "publish": 0.0}
        drawn = cache(lambda draw: draw(result))  # once, however many encodings are wanted
        for topic, publisher in self._images.items():
            if publisher.get_subscription_count():
                started = time.perf_counter()
                draw, encoding = _IMAGES[topic]
                image = drawn(draw)
                if image is None:
                    continue
                message = image_message(image, encoding, header, quality)
                encoded = time.perf_counter()
                publisher.publish(message)
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
