"""Messages of rosbags' own classes: built and read without an installation of ROS."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from dreamif_ros.codec.message_builder import CAMERA_INFO, MessageBuilder

_VISION_MSGS = {  # which rosbags lacks; as in interfaces/vision_msgs/msg
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


class BagMessages(MessageBuilder):
    """Builds messages, writes them as CDR and reads them; the same values give the same bytes."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        for name, definition in _VISION_MSGS.items():
            self.store.register(get_types_from_msg(definition, f"vision_msgs/msg/{name}"))
        super().__init__(dict[str, Any](self.store.types).__getitem__, lambda values: values)

    def serialize(self, message: Any) -> memoryview:
        """The message as CDR."""
        return self.store.serialize_cdr(message, message.__msgtype__)

    def deserialize(self, data: bytes, type_name: str) -> Any:
        """The message of CDR bytes; damaged bytes raise errors of any kind."""
        return self.store.deserialize_cdr(data, type_name)

    def camera_info(self, height: int, width: int, header: Any) -> Any:
        """The ``CameraInfo`` of an uncalibrated camera: K is zero, as its definition says."""
        roi = self._class("sensor_msgs/msg/RegionOfInterest")(
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._class(CAMERA_INFO)(
            header=header,
            height=height,
            width=width,
            distortion_model="",
            d=np.zeros(0),
            k=np.zeros(9),
            r=np.zeros(9),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )


MESSAGES = BagMessages()
