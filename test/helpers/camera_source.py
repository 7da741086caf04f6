"""A camera as a process of its own, which its test tells what is wrong with it.

`python camera_source.py visible` publishes `visible/image_raw`, reliably. Each line on stdin is
a JSON object of settings to change, answered by a line with the number of images sent so far.
The stamps of two cameras with one rate are equal. The process ends with its stdin.
"""

import json
import select
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.node.transport import choose_dds_settings
from dreamif_ros.stamps import from_seconds, split_ns


@dataclass(frozen=True)
class Settings:
    """What a camera sends; nothing is wrong with the defaults."""

    encoding: str = "mono8"
    width: int = 64
    height: int = 48
    rate_hz: float = 30.0  # 0 is silence
    pictures: int = 3  # that follow one another over and over; 1 is a frozen camera
    blank: bool = False  # nothing but a little noise
    nan: bool = False  # 32FC1 of nothing else; otherwise only some rows are NaN and ±Inf
    stamps: str = "now"  # or zero, stopped, backwards
    ahead_s: float = 0.0  # of the true time
    step: int | None = None  # instead of the right one
    data_bytes: int | None = None  # that are left of the data
    told_encoding: str | None = None  # instead of the right one


def picture(camera, number, settings):
    """Picture 0, 1 ... of a camera, RGB where it has colour: noise that a test can draw as well."""
    rng = np.random.default_rng([number, *camera.encode()])
    colours = (3,) if settings.encoding in ("bgr8", "rgb8") else ()
    shape = (settings.height, settings.width, *colours)
    if settings.blank:
        return rng.integers(50, 52, shape, np.uint8)
    if settings.encoding == "mono16":
        return rng.integers(29_000, 31_000, shape, np.uint16)
    if settings.encoding == "32FC1":
        return _with_holes(rng.uniform(10, 40, shape).astype(np.float32), settings.nan)
    return rng.integers(0, 256, shape, np.uint8)


def _with_holes(degrees, nan):
    degrees[:: 1 if nan else 5] = np.nan
    degrees[1::7], degrees[2::7] = (np.nan, np.nan) if nan else (np.inf, -np.inf)
    return degrees


def message(camera, number, settings):
    """Picture 0, 1 ... as it is sent, but for the stamp."""
    header = Header(frame_id=camera)
    result = ROS_MESSAGES.image(picture(camera, number, settings), settings.encoding, header)
    if settings.step is not None:
        result.step = settings.step
    if settings.data_bytes is not None:
        result.data = result.data[: settings.data_bytes]
    if settings.told_encoding is not None:
        result.encoding = settings.told_encoding
    return result


class CameraSource:
    def __init__(self, camera, arguments):
        choose_dds_settings()
        rclpy.init(args=arguments)
        self._node = rclpy.create_node(f"{camera}_camera")
        self._publisher = self._node.create_publisher(
            Image, f"{camera}/image_raw", QoSProfile(depth=10)
        )
        self._camera, self._settings, self._frame, self._sent = camera, Settings(), 0, 0
        self._change({})

    def run(self):
        """Publish frame after frame until stdin ends."""
        while True:
            told, _, _ = select.select([sys.stdin], [], [], self._seconds_to_next())
            if not told:
                self._publish()
                continue
            line = sys.stdin.readline()
            if not line:
                return
            self._change(json.loads(line))
            print(self._sent, flush=True)

    def _change(self, changes):
        self._settings = replace(self._settings, **changes)
        numbers = range(self._settings.pictures)
        self._messages = [message(self._camera, k, self._settings) for k in numbers]
        self._changed_ns = time.time_ns()

    def _seconds_to_next(self):
        """To the next moment of the grid that cameras of one rate share; None while silent."""
        rate_hz = self._settings.rate_hz
        if not rate_hz:
            return None
        now_s = time.time()
        self._frame = int(now_s * rate_hz) + 1
        return self._frame / rate_hz - now_s

    def _publish(self):
        image = self._messages[self._frame % len(self._messages)]
        stamp = image.header.stamp
        stamp.sec, stamp.nanosec = split_ns(self._stamp_ns())
        self._publisher.publish(image)
        self._sent += 1

    def _stamp_ns(self):
        if self._settings.stamps == "zero":
            return 0
        stamp_ns = from_seconds(self._frame / self._settings.rate_hz)
        if self._settings.stamps == "stopped":
            stamp_ns = self._changed_ns
        if self._settings.stamps == "backwards":
            stamp_ns = 2 * self._changed_ns - stamp_ns
        return stamp_ns + from_seconds(self._settings.ahead_s)


if __name__ == "__main__":
    CameraSource(sys.argv[1], sys.argv[2:]).run()
