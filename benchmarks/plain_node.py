"""Fusion in a plain rclpy node, as people often write it, for comparison in benchmarks/node.py.

It copies with `bytes`, converts with OpenCV, works in the callback and keeps images by their stamp.
"""

from __future__ import annotations

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

HOMOGRAPHY = np.array([[1.02, 0.03, -8.0], [-0.03, 1.01, 5.0], [1e-5, 2e-5, 1.0]])
KEPT = 10  # images of a camera that wait for the other's
Waiting = dict[tuple[int, int], Image]


def _stretch_range(gray: NDArray) -> NDArray:
    return cv2.normalize(gray.astype(np.float32), None, 0, 1, cv2.NORM_MINMAX)


def _stretch_percentiles(gray: NDArray) -> NDArray:
    low, high = np.percentile(gray, (1, 99.5)).astype(np.float32)
    return np.clip((gray.astype(np.float32) - low) / (high - low), 0, 1)


NORMALIZE = {"minmax": _stretch_range, "percentile": _stretch_percentiles}


class PlainNode(Node):
    """Publishes the average of both cameras' images, with infrared stretched and registered.

    normalize: minmax stretches from the coldest to the hottest pixel, in one call of OpenCV;
    percentile does the same as the fusion node, without its memory of earlier frames.
    """

    def __init__(self) -> None:
        super().__init__("plain_node")
        name = self.declare_parameter("normalize", "minmax").value
        self._stretch = NORMALIZE[name]
        self._infrared: Waiting = {}
        self._visible: Waiting = {}
        self._fused = self.create_publisher(Image, "plain/image_raw", 5)
        qos = qos_profile_sensor_data
        self.create_subscription(Image, "infrared/image_raw", self._on_infrared, qos)
        self.create_subscription(Image, "visible/image_raw", self._on_visible, qos)

    def _on_infrared(self, message: Image) -> None:
        self._pair(message, self._infrared, self._visible)

    def _on_visible(self, message: Image) -> None:
        self._pair(message, self._visible, self._infrared)

    def _pair(self, message: Image, own: Waiting, others: Waiting) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        own[stamp] = message
        if stamp in others:
            self._process(self._infrared.pop(stamp), self._visible.pop(stamp))
        while len(own) > KEPT:
            del own[min(own)]

    def _process(self, infrared: Image, visible: Image) -> None:
        gray, rgb = self._decode(infrared, visible)
        registered = self._warp(self._normalize(gray))
        self._fused.publish(self._encode(self._fuse(registered, rgb), visible))

    def _decode(self, infrared: Image, visible: Image) -> tuple[NDArray, NDArray]:
        gray = np.frombuffer(bytes(infrared.data), np.uint16)
        bgr = np.frombuffer(bytes(visible.data), np.uint8)
        return (
            gray.reshape(infrared.height, infrared.width),
            cv2.cvtColor(bgr.reshape(visible.height, visible.width, 3), cv2.COLOR_BGR2RGB),
        )

    def _normalize(self, gray: NDArray) -> NDArray:
        return self._stretch(gray)

    def _warp(self, gray: NDArray) -> NDArray:
        return cv2.warpPerspective(gray, HOMOGRAPHY, (gray.shape[1], gray.shape[0]))

    def _fuse(self, gray: NDArray, rgb: NDArray) -> NDArray:
        """The model, which is not counted."""
        infrared = cv2.cvtColor((gray * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(infrared, 0.5, rgb, 0.5, 0)

    def _encode(self, image: NDArray, visible: Image) -> Image:
        message = Image()
        message.header = visible.header
        message.height, message.width = image.shape[:2]
        message.encoding = "rgb8"
        message.step = image.shape[1] * 3
        message.data = image.tobytes()
        return message


def main(args: list[str] | None = None) -> int:
    rclpy.init(args=args)
    try:
        rclpy.spin(PlainNode())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    main()
