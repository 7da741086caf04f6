"""Makes publishers, with topic names like those of image_transport, and encodes images."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dreamif_ros.codec.message_builder import encoding_for
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.node.qos_overrides import qos_overrides
from dreamif_ros.node.transport import QUIET_PUBLISHER

DEPTH = 5  # messages
JPEG = "jpeg"
OWN = ""  # the encoding of the array's own type


def advertise(node: LifecycleNode, kind: type[Any], topic: str) -> Any:
    """A life-cycle publisher; ``<base>/compressed`` follows the remapped base topic.

    It is reliable, which matches every subscriber, unless ``qos_overrides`` of the user change it.
    """
    base, compressed, _ = topic.partition("/compressed")
    name = node.resolve_topic_name(base) + compressed if compressed else topic
    overrides = qos_overrides(node, node.resolve_topic_name(name), "publisher")
    qos = QoSProfile(**({"depth": DEPTH} | overrides))
    return node.create_lifecycle_publisher(kind, name, qos, event_callbacks=QUIET_PUBLISHER)


def advertise_image(node: LifecycleNode, topic: str, encoding: str) -> Any:
    """A publisher of images in ``encoding``, or of CompressedImage for :data:`JPEG`."""
    return advertise(node, CompressedImage if encoding == JPEG else Image, topic)


def image_message(image: NDArray[Any], encoding: str, header: Header, quality: int) -> Any:
    """A message of an array, see :meth:`MessageBuilder.image`, in ``encoding``, JPEG or OWN.

    quality: of a JPEG, 1 to 100.
    """
    if encoding == JPEG:
        return ROS_MESSAGES.compressed(image, "jpeg", header, quality)
    return ROS_MESSAGES.image(image, encoding or encoding_for(image), header)
