"""Detections as ``vision_msgs``, where that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from std_msgs.msg import Header

from dreamif_ros.detection.detector import Detections

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:  # the wheels of ROS have none
    Detection2D = Detection2DArray = ObjectHypothesisWithPose = None

MISSING = (
    "vision_msgs is not installed, detections are not published (detections/image is): `make "
    "vision_msgs`, or the package vision_msgs of your ROS distribution"
)


def message_type() -> type[Any] | None:
    """``vision_msgs/Detection2DArray``, or None where that is not installed."""
    kind: type[Any] | None = Detection2DArray
    return kind


def detection_array(detections: Detections, names: Mapping[int, str], header: Header) -> Any:
    """A ``Detection2DArray`` under the header of the image.

    Boxes are in its pixels, ``class_id`` is the class's name and ``id`` the track's, if any.
    """
    tracks = detections.tracks
    message = Detection2DArray(header=header)
    for index, (x1, y1, x2, y2) in enumerate(detections.boxes.tolist()):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = names[int(detections.classes[index])]
        result.hypothesis.score = float(detections.scores[index])
        detection = Detection2D(header=header, results=[result])
        detection.bbox.center.position.x, detection.bbox.center.position.y = (
            (x1 + x2) / 2,
            (y1 + y2) / 2,
        )
        detection.bbox.size_x, detection.bbox.size_y = x2 - x1, y2 - y1
        if tracks is not None and tracks[index] >= 0:
            detection.id = str(int(tracks[index]))
        message.detections.append(detection)
    return message
