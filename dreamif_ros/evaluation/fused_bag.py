"""Writes the fused bag: what the fusion node and the detector would have published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from dreamif_model import FusionResult
from dreamif_model.cameras import Both
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.storage import BAG_VERSION, errors_of_rosbags
from dreamif_ros.codec.message_builder import CAMERA_INFO, DETECTIONS, IMAGE
from dreamif_ros.detection.detector import Detections

FUSED_TOPIC = "/fused/image_raw"
DETECTION_TOPIC = "/fused/detection_image"
INFO_TOPIC = "/fused/camera_info"
DOMINANCE_TOPICS = Both("/dominance/infrared", "/dominance/visible")
DETECTIONS_TOPIC = "/detections"
_KINDS = {
    FUSED_TOPIC: IMAGE,
    INFO_TOPIC: CAMERA_INFO,
    **dict.fromkeys(DOMINANCE_TOPICS, IMAGE),
    DETECTION_TOPIC: IMAGE,
    DETECTIONS_TOPIC: DETECTIONS,
}


class FusedBag:
    """A rosbag2 folder (MCAP) that is written frame by frame, under the visible images' headers.

    Frames have the recording times of the visible images, so the same frames give the same bytes.
    detections: whether it has that topic, and the detection images.
    """

    def __init__(self, path: Path, detections: bool) -> None:
        self.path = path
        self._writer = Writer(path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections: dict[str, Connection] = {
            topic: self._writer.add_connection(topic, kind, typestore=MESSAGES.store)
            for topic, kind in _KINDS.items()
            if detections or topic not in (DETECTION_TOPIC, DETECTIONS_TOPIC)
        }

    def add(self, result: FusionResult, header: Any, recorded_ns: int, info: Any | None) -> None:
        """Write one fused frame; header and info: messages of rosbags, info None if unknown."""
        messages = {FUSED_TOPIC: MESSAGES.image(result.fused, "rgb8", header)}
        maps = Both(result.dominance_infrared, result.dominance_visible)
        for topic, dominance in zip(DOMINANCE_TOPICS, maps, strict=True):
            messages[topic] = MESSAGES.image(dominance, "32FC1", header)
        if result.detection_image is not None:
            messages[DETECTION_TOPIC] = MESSAGES.image(result.detection_image, "rgb8", header)
        if info is not None:
            info.header = header
            messages[INFO_TOPIC] = info
        for topic, message in messages.items():
            self._write(topic, message, recorded_ns)

    def add_detections(
        self, found: Detections, names: Mapping[int, str], header: Any, recorded_ns: int
    ) -> None:
        """Write what was found in the detection image, in its pixels."""
        self._write(DETECTIONS_TOPIC, MESSAGES.detections(found, names, header), recorded_ns)

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
            data = MESSAGES.serialize(message)
            self._writer.write(self._connections[topic], recorded_ns, data)
