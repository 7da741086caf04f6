"""The fused bag: what the fusion node and the detector would have published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamif_model import FusionResult
from dreamif_ros.bag.storage import BAG_VERSION, CAMERA_INFO, IMAGE, errors_of_rosbags
from dreamif_ros.bag.vision_msgs import DETECTIONS, register_vision_msgs

if TYPE_CHECKING:
    from dreamif_ros.detection.detector import Detections

FUSED_TOPIC = "/fused/image_raw"
INFO_TOPIC = "/fused/camera_info"
DOMINANCE_TOPICS = ("/dominance/infrared", "/dominance/visible")
DETECTIONS_TOPIC = "/detections"
_KINDS = {
    FUSED_TOPIC: IMAGE,
    INFO_TOPIC: CAMERA_INFO,
    **dict.fromkeys(DOMINANCE_TOPICS, IMAGE),
    DETECTIONS_TOPIC: DETECTIONS,
}


class FusedBag:
    """A rosbag2 folder (MCAP) that is written frame by frame, under the visible images' headers.

    detections: whether it has that topic. Frames are recorded at the times of the visible images,
    so the same frames give the same bytes.
    """

    def __init__(self, path: Path, detections: bool) -> None:
        self.path = path
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        register_vision_msgs(self._store)
        self._types: dict[str, Any] = dict(self._store.types)
        self._writer = Writer(path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections: dict[str, Connection] = {
            topic: self._writer.add_connection(topic, kind, typestore=self._store)
            for topic, kind in _KINDS.items()
            if detections or topic != DETECTIONS_TOPIC
        }

    def add(self, result: FusionResult, header: Any, recorded_ns: int, info: Any | None) -> None:
        """One fused frame; header and camera_info are messages of rosbags, info None if unknown."""
        messages = {FUSED_TOPIC: self._image(result.fused, "rgb8", header)}
        maps = (result.dominance_infrared, result.dominance_visible)
        for topic, dominance in zip(DOMINANCE_TOPICS, maps, strict=True):
            messages[topic] = self._image(dominance, "32FC1", header)
        if info is not None:
            info.header = header
            messages[INFO_TOPIC] = info
        for topic, message in messages.items():
            self._write(topic, message, recorded_ns)

    def add_detections(
        self, found: Detections, names: Mapping[int, str], header: Any, recorded_ns: int
    ) -> None:
        """What was found in the fused frame, in its pixels."""
        detections = [
            self._detection(box, names[int(key)], float(score), header)
            for box, key, score in zip(
                found.boxes.tolist(), found.classes, found.scores, strict=True
            )
        ]
        message = self._types[DETECTIONS](header=header, detections=detections)
        self._write(DETECTIONS_TOPIC, message, recorded_ns)

    def close(self) -> Path:
        """Finish the bag."""
        with errors_of_rosbags(f"cannot write the bag {self.path}"):
            self._writer.close()
        return self.path

    def abort(self) -> None:
        """Close an unfinished bag."""
        self._writer.abort()

    def _write(self, topic: str, message: Any, recorded_ns: int) -> None:
        with errors_of_rosbags(f"cannot write the bag {self.path}"):
            data = self._store.serialize_cdr(message, _KINDS[topic])
            self._writer.write(self._connections[topic], recorded_ns, data)

    def _image(self, pixels: NDArray[Any], encoding: str, header: Any) -> Any:
        stored: NDArray[Any] = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
        return self._types[IMAGE](
            header=header,
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=stored.strides[0],
            data=stored.reshape(-1).view(np.uint8),
        )

    def _detection(self, box: list[float], name: str, score: float, header: Any) -> Any:
        types = self._types
        x1, y1, x2, y2 = box
        position = types["vision_msgs/msg/Point2D"](x=(x1 + x2) / 2, y=(y1 + y2) / 2)
        pose = types["geometry_msgs/msg/PoseWithCovariance"](
            pose=types["geometry_msgs/msg/Pose"](
                position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
                orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )
        hypothesis = types["vision_msgs/msg/ObjectHypothesis"](class_id=name, score=score)
        return types["vision_msgs/msg/Detection2D"](
            header=header,
            results=[
                types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis=hypothesis, pose=pose)
            ],
            bbox=types["vision_msgs/msg/BoundingBox2D"](
                center=types["vision_msgs/msg/Pose2D"](position=position, theta=0.0),
                size_x=x2 - x1,
                size_y=y2 - y1,
            ),
            id="",
        )
