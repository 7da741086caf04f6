"""The fusion node's publishers: what nobody subscribes to is neither encoded nor sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dreamif_model import FusionResult
from dreamif_model.overlay import dominance_overlay
from dreamif_ros import codec

QOS = QoSProfile(depth=5)  # reliable: matches every subscriber
Make = Callable[[FusionResult, Header, int], Any]  # result, header, JPEG quality to message

_IMAGES: dict[str, tuple[type[Any], Make]] = {
    "fused/image_raw": (Image, lambda r, header, _: codec.encode(r.fused, "rgb8", header)),
    "fused/image_raw/compressed": (
        CompressedImage,
        lambda r, header, quality: codec.compress(r.fused, header, quality),
    ),
    "dominance/infrared": (
        Image,
        lambda r, header, _: codec.encode(r.dominance_infrared, "32FC1", header),
    ),
    "dominance/visible": (
        Image,
        lambda r, header, _: codec.encode(r.dominance_visible, "32FC1", header),
    ),
    "dominance/overlay": (
        Image,
        lambda r, header, _: codec.encode(_overlay(r), "bgr8", header),
    ),
    "dominance/overlay/compressed": (
        CompressedImage,
        lambda r, header, quality: codec.compress(_overlay(r), header, quality),
    ),
}


class Outputs:
    """Lifecycle publishers of the fused image, its camera_info and the dominance maps."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._images = {topic: self._advertise(kind, topic) for topic, (kind, _) in _IMAGES.items()}
        self._camera_info = self._advertise(CameraInfo, "fused/camera_info")

    def wanted(self) -> bool:
        """Whether somebody subscribes to an image."""
        return any(publisher.get_subscription_count() for publisher in self._images.values())

    def publish(
        self, result: FusionResult, header: Header, info: CameraInfo | None, quality: int
    ) -> dict[str, float]:
        """Send what is wanted under ``header``; returns the seconds of encode and publish."""
        seconds = {"encode": 0.0, "publish": 0.0}
        for topic, publisher in self._images.items():
            if publisher.get_subscription_count():
                started = time.perf_counter()
                message = _IMAGES[topic][1](result, header, quality)
                encoded = time.perf_counter()
                publisher.publish(message)
                seconds["encode"] += encoded - started
                seconds["publish"] += time.perf_counter() - encoded
        if info is not None:
            info.header = header
            self._camera_info.publish(info)
        return seconds

    def destroy(self) -> None:
        """Take the topics back."""
        for publisher in (*self._images.values(), self._camera_info):
            self._node.destroy_lifecycle_publisher(publisher)

    def _advertise(self, kind: type[Any], topic: str) -> Any:
        # image_transport's names: what follows the remapped base topic, not a remapping of its own
        base, compressed, _ = topic.partition("/compressed")
        return self._node.create_lifecycle_publisher(
            kind,
            self._node.resolve_topic_name(base) + compressed if compressed else topic,
            QOS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )


def _overlay(result: FusionResult) -> Any:
    return dominance_overlay(result.fused, result.dominance_infrared, result.dominance_visible)
