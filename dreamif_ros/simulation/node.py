"""Two simulated cameras over a night street: what a newcomer fuses before owning any hardware.

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
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.images.ros_messages import ROS_MESSAGES
from dreamif_ros.node.parameters import declare
from dreamif_ros.node.runtime import run_nodes
from dreamif_ros.parameter_tables import SIMULATION_PARAMETERS
from dreamif_ros.scene import Scene, SceneConfig
from dreamif_ros.scene.camera import visible_camera

NANOSECONDS = 1_000_000_000
EARLY = 0.1  # of a period: a timer that fires this early still means the frame that is due

_RELIABILITIES = {
    "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
    "reliable": QoSReliabilityPolicy.RELIABLE,
}
Render = Callable[[float], NDArray[Any]]  # scene time in seconds to an image


@dataclass(frozen=True)
class _Timing:
    """When a camera takes frame k, and which stamp it gives it."""

    rate_hz: float
    clock_offset_s: float
    jitter_s: float  # standard deviation

    def capture_s(self, frame: int) -> float:
        """Seconds since the start at which frame ``frame`` is taken."""
        return frame / self.rate_hz

    def stamp_s(self, frame: int, rng: np.random.Generator) -> float:
        """Seconds since the start that the camera's own clock says."""
        jitter = rng.normal(0, self.jitter_s) if self.jitter_s else 0.0
        return self.capture_s(frame) + self.clock_offset_s + jitter


@dataclass(frozen=True)
class _Start:
    """The moment that both cameras count from, on two clocks."""

    monotonic_s: float
    stamp_ns: int


class _Camera:
    """Publishes one camera's frames at its rate; frames nobody would see are not rendered."""

    def __init__(
        self,
        node: Node,
        name: str,
        render: Render,
        encoding: str,
        timing: _Timing,
        qos: QoSProfile,
        info: CameraInfo,
        start: _Start,
    ) -> None:
        self._node, self._render, self._timing = node, render, timing
        self._encoding, self._info = encoding, info
        self._frame_id = f"{name}_optical"
        self._rng = np.random.default_rng(len(name))
        self._images = node.create_publisher(Image, f"{name}/image_raw", qos)
        self._infos = node.create_publisher(CameraInfo, f"{name}/camera_info", qos)
        self._last_frame = -1
        self._start = start
        node.create_timer(1 / timing.rate_hz, self._publish_due_frame)

    def _publish_due_frame(self) -> None:
        elapsed = time.monotonic() - self._start.monotonic_s
        frame = int(elapsed * self._timing.rate_hz + EARLY)
        if frame <= self._last_frame:
            return
        self._last_frame = frame
        header = self._header(frame)
        if self._images.get_subscription_count():
            image = self._render(self._timing.capture_s(frame))
            self._images.publish(ROS_MESSAGES.image(image, self._encoding, header))
        self._info.header = header
        self._infos.publish(self._info)

    def _header(self, frame: int) -> Header:
        header = Header(frame_id=self._frame_id)
        stamp_ns = self._start.stamp_ns + round(
            self._timing.stamp_s(frame, self._rng) * NANOSECONDS
        )
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NANOSECONDS)
        return header


class SimulatedCameras(Node):
    """A visible and an infrared camera that see the same moment of the same scene."""

    def __init__(self) -> None:
        super().__init__("simulated_cameras", automatically_declare_parameters_from_overrides=True)
        values = declare(self, SIMULATION_PARAMETERS, read_only=True)
        visible_size = (values["visible.width"], values["visible.height"])
        infrared_size = (values["infrared.width"], values["infrared.height"])
        scene = _make_scene(values, visible_size, infrared_size)
        qos = QoSProfile(depth=5, reliability=_RELIABILITIES[values["reliability"]])
        start = _Start(time.monotonic(), self.get_clock().now().nanoseconds)
        self._cameras = [
            _Camera(
                self,
                "visible",
                scene.visible,
                values["visible.encoding"],
                _Timing(values["visible.rate_hz"], 0.0, values["jitter_s"]),
                qos,
                _camera_info(visible_size),
                start,
            ),
            _Camera(
                self,
                "infrared",
                _infrared_render(scene, values["infrared.encoding"]),
                values["infrared.encoding"],
                _Timing(
                    values["infrared.rate_hz"],
                    values["infrared.clock_offset_s"],
                    values["jitter_s"],
                ),
                qos,
                _camera_info(infrared_size),
                start,
            ),
        ]
        self.get_logger().info(
            f"visible {visible_size[0]}×{visible_size[1]} {values['visible.encoding']} at "
            f"{values['visible.rate_hz']:g} Hz, infrared {infrared_size[0]}×{infrared_size[1]} "
            f"{values['infrared.encoding']} at {values['infrared.rate_hz']:g} Hz"
        )


def _make_scene(
    values: dict[str, Any], visible_size: tuple[int, int], infrared_size: tuple[int, int]
) -> Scene:
    try:
        config = SceneConfig(
            seed=values["seed"],
            visible_size=visible_size,
            infrared_size=infrared_size,
            noise=values["noise"],
            misalignment=values["misalignment"],
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Scene(config)


def _infrared_render(scene: Scene, encoding: str) -> Render:
    """Counts, or the 8-bit picture that a camera with automatic gain gives."""
    if encoding == "mono16":
        return scene.infrared
    gain = ThermalNormalizer()
    return lambda time_s: gain.normalize(scene.infrared(time_s))


def _camera_info(size: tuple[int, int]) -> CameraInfo:
    """The pinhole that the scene is drawn through, without distortion."""
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
