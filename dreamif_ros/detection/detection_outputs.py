"""The detector's publishers. What nobody subscribes to is neither drawn nor sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from dreamif_ros.codec.message_builder import DETECTIONS
from dreamif_ros.codec.ros_messages import ROS_MESSAGES, installed_class
from dreamif_ros.detection.detector import Detections
from dreamif_ros.detection.temperatures import OUTPUT
from dreamif_ros.node.publishing import JPEG, advertise, advertise_image, image_message

_IMAGES = {"detections/image": "rgb8", "detections/image/compressed": JPEG}


class DetectionOutputs:
    """Life-cycle publishers of the detections and of the image with their boxes.

    Without vision_msgs only the image is published. names: Class names by number.
    temperatures: The publisher of what infrared measured in the boxes; None unless asked for.
    """

    def __init__(
        self, node: LifecycleNode, names: Mapping[int, str], temperatures: bool = False
    ) -> None:
        self._node, self._names = node, names
        kind = installed_class(DETECTIONS)
        self._detections = advertise(node, kind, "detections") if kind else None
        self.temperatures = advertise(node, DiagnosticArray, OUTPUT) if temperatures else None
        self._images = {
            topic: advertise_image(node, topic, encoding) for topic, encoding in _IMAGES.items()
        }

    def wanted(self) -> bool:
        """Whether anybody subscribes."""
        return any(publisher.get_subscription_count() for publisher in self._publishers())

    def publish(
        self,
        detections: Detections,
        draw: Callable[[], NDArray[Any]],
        header: Header,
        quality: int,
    ) -> None:
        """Send what is wanted under ``header``; ``draw`` returns the image with boxes, RGB."""
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(ROS_MESSAGES.detections(detections, self._names, header))
        drawn = cache(draw)
        for topic, publisher in self._images.items():
            if publisher.get_subscription_count():
                publisher.publish(image_message(drawn(), _IMAGES[topic], header, quality))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers():
            self._node.destroy_lifecycle_publisher(publisher)

    def _publishers(self) -> list[Any]:
        optional = (self._detections, self.temperatures)
        return [p for p in optional if p is not None] + list(self._images.values())
