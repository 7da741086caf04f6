"""Builds messages from arrays: of ROS's message classes, or of those that rosbags has.

:mod:`dreamif_ros.codec.ros_messages` has the builder for ROS,
:mod:`dreamif_ros.bag.bag_messages` the one for bags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_ros.codec.compressed import encode_file
from dreamif_ros.stamps import split_ns

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
JPEG_QUALITY = 95  # of 100, the default of image_transport

Compression: TypeAlias = Literal["jpeg", "png"]


class MessageBuilder:
    """Builds messages of the classes that it is given; the same values give the same message.

    Args:
        message_class: returns the class of a name such as ``sensor_msgs/msg/Image``.
        as_bytes: turns (n,) uint8 into the type in which these classes hold bytes.
    """

    def __init__(
        self,
        message_class: Callable[[str], Any],
        as_bytes: Callable[[NDArray[np.uint8]], Any],
    ) -> None:
        self._class, self._as_bytes = message_class, as_bytes

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A ``std_msgs/Header`` that is stamped in nanoseconds."""
        sec, nanosec = split_ns(stamp_ns)
        stamp = self._class("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
        return self._class("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)

    def image(self, image: NDArray[Any], encoding: str, header: Any) -> Any:
        """An ``Image``; an RGB array is stored as BGR where ``bgr8`` is asked for.

        Args:
            image: (H, W, 3) uint8 RGB for ``rgb8`` and ``bgr8``; (H, W) uint8 for ``mono8``,
                uint16 for ``mono16`` and float32 for ``32FC1``.
            encoding: one of these.
            header: of the same message classes.
        """
        if encoding == "bgr8":
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        pixels: NDArray[Any] = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
        return self._class(IMAGE)(
            header=header,
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=self._as_bytes(pixels.reshape(-1).view(np.uint8)),
        )

    def compressed(
        self, image: NDArray[Any], codec: Compression, header: Any, quality: int = JPEG_QUALITY
    ) -> Any:
        """A ``CompressedImage`` as ``image_transport`` describes it.

        Args:
            image: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.
            codec: of the file; uint16 becomes PNG in either case, because JPEG keeps 8 bits.
            header: of the same message classes.
            quality: of a JPEG, 1 to 100.
        """
        codec = "png" if image.dtype == np.uint16 else codec
        stored = "bgr8" if image.ndim == 3 else ""
        return self._class(COMPRESSED_IMAGE)(
            header=header,
            format=f"{encoding_for(image)}; {codec} compressed {stored}",
            data=self._as_bytes(encode_file(image, codec, quality)),
        )

    def detections(self, found: Any, names: Mapping[int, str], header: Any) -> Any:
        """A ``vision_msgs/Detection2DArray`` under the header of the image.

        Args:
            found: :class:`~dreamif_ros.detection.detector.Detections`; boxes in image pixels.
            names: of the classes, which become ``class_id``; a track's number becomes ``id``.
            header: of the same message classes.
        """
        tracks = [-1] * len(found.scores) if found.tracks is None else found.tracks.tolist()
        return self._class(DETECTIONS)(
            header=header,
            detections=[
                self._detection(box, names[int(key)], float(score), track, header)
                for box, key, score, track in zip(
                    found.boxes.tolist(), found.classes, found.scores, tracks, strict=True
                )
            ],
        )

    def _detection(self, box: list[float], name: str, score: float, track: int, header: Any) -> Any:
        left, top, right, bottom = box
        center = self._vision("Pose2D")(
            position=self._vision("Point2D")(x=(left + right) / 2, y=(top + bottom) / 2), theta=0.0
        )
        hypothesis = self._vision("ObjectHypothesis")(class_id=name, score=score)
        return self._vision("Detection2D")(
            header=header,
            results=[
                self._vision("ObjectHypothesisWithPose")(
                    hypothesis=hypothesis, pose=self._unknown_pose()
                )
            ],
            bbox=self._vision("BoundingBox2D")(
                center=center, size_x=right - left, size_y=bottom - top
            ),
            id=str(track) if track >= 0 else "",
        )

    def _unknown_pose(self) -> Any:
        point = self._geometry("Point")(x=0.0, y=0.0, z=0.0)
        turn = self._geometry("Quaternion")(x=0.0, y=0.0, z=0.0, w=1.0)
        pose = self._geometry("Pose")(position=point, orientation=turn)
        return self._geometry("PoseWithCovariance")(pose=pose, covariance=np.zeros(36))

    def _vision(self, name: str) -> Any:
        return self._class(f"vision_msgs/msg/{name}")

    def _geometry(self, name: str) -> Any:
        return self._class(f"geometry_msgs/msg/{name}")


def encoding_for(image: NDArray[Any]) -> str:
    """How an ``Image`` names (H, W, 3) uint8 RGB, and (H, W) uint8, uint16 or float32."""
    if image.ndim == 3:
        return "rgb8"
    return {"uint8": "mono8", "uint16": "mono16", "float32": "32FC1"}[image.dtype.name]
