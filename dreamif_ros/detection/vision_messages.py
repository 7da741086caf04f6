"""Detections as ``vision_msgs``, where that package is installed."""

from __future__ import annotations

from dreamif_ros.codec.message_builder import DETECTIONS
from dreamif_ros.codec.ros_messages import installed_class

MISSING = (
    "vision_msgs is not installed, detections are not published (detections/image is): `make "
    "vision_msgs`, or the package vision_msgs of your ROS distribution"
)


def message_type() -> type | None:
    """``vision_msgs/Detection2DArray``, or None where that is not installed."""
    return installed_class(DETECTIONS)
