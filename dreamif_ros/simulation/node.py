"""Two simulated cameras over a night street, so that you can fuse before you own any hardware.

Publishes ``infrared/image_raw``, ``visible/image_raw`` and a ``camera_info`` beside each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dreamif_model import ConfigError
from dreamif_model.cameras import Both, Camera
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.node.parameters import declare
from dreamif_ros.node.runtime import run_nodes
from dreamif_ros.scene import Scene, SceneConfig
from dreamif_ros.scene.pinhole import visible_camera
from dreamif_ros.simulation.parameters import CameraSettings, SimulationSettings
from dreamif_ros.stamps import from_seconds, split_ns

EARLY = 0.1  # of a period: a timer that fires this early still means the frame that is due

_RELIABILITIES = {
    "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
    "reliable": QoSReliabilityPolicy.RELIABLE,
}
Render = Callable[[float], NDArray[Any]]  # scene time in seconds to an image


@dataclass(frozen=True)
class _CameraClock:
    """A camera's own clock; frame 0 is taken at the start, which both cameras share."""

    start_s: float  # of time.monotonic()
    start_ns: int  # of ROS time
    offset_s: float  # how far this clock is ahead
    jitter_s: float  # standard deviation

    def stamp_ns(self, seconds: float, rng: np.random.Generator) -> int:
        """The stamp of what is taken so many seconds after the start."""
        jitter = rng.normal(0, self.jitter_s) if self.jitter_s else 0.0
        return self.start_ns + from_seconds(seconds + self.offset_s + jitter)


class _CameraPublisher:
    """Publishes one camera's frames at its rate; frames that nobody sees are not rendered."""

    def __init__(
        self,
        node: Node,
        camera: Camera,
        render: Render,
        settings: CameraSettings,
        encoding: str,
        clock: _CameraClock,
        qos: QoSProfile,
    ) -> None:
        self._render, self._rate_hz, self._encoding = render, settings.rate_hz, encoding
        self._clock, self._info = clock, _camera_info(settings.size)
        self._frame_id = f"{camera}_optical"
        self._rng = np.random.default_rng(len(camera))
        self._images = node.create_publisher(Image, f"{camera}/image_raw", qos)
        self._infos = node.create_publisher(CameraInfo, f"{camera}/camera_info", qos)
        self._last_frame = -1
        node.create_timer(1 / settings.rate_hz, self._publish_due_frame)

    def _publish_due_frame(self) -> None:
        frame = int((time.monotonic() - self._clock.start_s) * self._rate_hz + EARLY)
        if frame <= self._last_frame:
            return
        self._last_frame = frame
        seconds = frame / self._rate_hz
        header = Header(frame_id=self._frame_id)
        stamp_ns = self._clock.stamp_ns(seconds, self._rng)
        header.stamp.sec, header.stamp.nanosec = split_ns(stamp_ns)
        if self._images.get_subscription_count():
            image = self._render(seconds)
            self._images.publish(ROS_MESSAGES.image(image, self._encoding, header))
        self._info.header = header
        self._infos.publish(self._info)


class SimulatedCameras(Node):
    """A visible and an infrared camera that see the same moment of the same scene."""

    def __init__(self) -> None:
        super().__init__("simulated_cameras", automatically_declare_parameters_from_overrides=True)
        settings = declare(self, SimulationSettings, read_only=True)
        visible, infrared = settings.visible, settings.infrared
        scene = _make_scene(settings)
        qos = QoSProfile(depth=5, reliability=_RELIABILITIES[settings.reliability])
        start_s, start_ns = time.monotonic(), self.get_clock().now().nanoseconds
        self._cameras = Both(
            _CameraPublisher(
                self,
                Camera.INFRARED,
                _infrared_render(scene, infrared.encoding),
                infrared,
                infrared.encoding,
                _CameraClock(start_s, start_ns, infrared.clock_offset_s, settings.jitter_s),
                qos,
            ),
            _CameraPublisher(
                self,
                Camera.VISIBLE,
                scene.visible,
                visible,
                visible.encoding,
                _CameraClock(start_s, start_ns, 0.0, settings.jitter_s),
                qos,
            ),
        )
        self.get_logger().info(
            f"visible {visible.width}×{visible.height} {visible.encoding} at "
            f"{visible.rate_hz:g} Hz, infrared {infrared.width}×{infrared.height} "
            f"{infrared.encoding} at {infrared.rate_hz:g} Hz"
        )


def _make_scene(settings: SimulationSettings) -> Scene:
    try:
        config = SceneConfig(
            seed=settings.seed,
            visible_size=settings.visible.size,
            infrared_size=settings.infrared.size,
            noise=settings.noise,
            misalignment=settings.misalignment,
            motion=settings.motion,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Scene(config)


def _infrared_render(scene: Scene, encoding: str) -> Render:
    """Renders counts, or the 8-bit picture of a camera with automatic gain."""
    if encoding == "mono16":
        return scene.infrared
    gain = ThermalNormalizer()
    return lambda time_s: gain.normalize(scene.infrared(time_s))


def _camera_info(size: tuple[int, int]) -> CameraInfo:
    """The pinhole camera that draws the scene, without distortion."""
    intrinsic = visible_camera(size).intrinsic
    projection = np.hstack((intrinsic, np.zeros((3, 1))))
    return CameraInfo(
        width=size[0],
        height=size[1],
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=intrinsic.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=projection.ravel().tolist(),
    )


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros simulated_cameras``."""
    return run_nodes([SimulatedCameras], args)


if __name__ == "__main__":
    sys.exit(main())
