"""The messages of detections, for bags: rosbags has no ``vision_msgs`` of its own."""

from __future__ import annotations

from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

DETECTIONS = "vision_msgs/msg/Detection2DArray"
DEFINITIONS = {  # as in interfaces/vision_msgs/msg
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}


def register_vision_msgs(store: Typestore) -> None:
    """Teach a type store these messages."""
    for name, definition in DEFINITIONS.items():
        store.register(get_types_from_msg(definition, f"vision_msgs/msg/{name}"))
