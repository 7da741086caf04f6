"""Publishers of our nodes: names as image_transport has them, images encoded as they say."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dreamif_ros import codec
from dreamif_ros.node.transport import QUIET_PUBLISHER

QOS = QoSProfile(depth=5)  # reliable: matches every subscriber
JPEG = "jpeg"


def advertise(node: LifecycleNode, kind: type[Any], topic: str) -> Any:
    """A lifecycle publisher; ``<base>/compressed`` follows the remapped base topic."""
    base, compressed, _ = topic.partition("/compressed")
    return node.create_lifecycle_publisher(
        kind,
        node.resolve_topic_name(base) + compressed if compressed else topic,
        QOS,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        event_callbacks=QUIET_PUBLISHER,
    )


def advertise_image(node: LifecycleNode, topic: str, encoding: str) -> Any:
    """A publisher of images in ``encoding``, or of CompressedImage for :data:`JPEG`."""
    return advertise(node, CompressedImage if encoding == JPEG else Image, topic)


def image_message(image: NDArray[Any], encoding: str, header: Header, quality: int) -> Any:
    """A message of an array as :func:`codec.encode` takes it; quality: of JPEG, 1 to 100."""
    if encoding == JPEG:
        return codec.compress(image, header, quality)
    return codec.encode(image, encoding, header)
