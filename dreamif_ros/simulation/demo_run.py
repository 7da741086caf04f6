"""Runs the demo: simulated cameras and the fusion node, each a process, and a listener.

All messages go over real DDS, in an own namespace, so that no other node takes part.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image

from dreamif_model.cameras import Camera
from dreamif_model.errors import DreamIFError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros import codec
from dreamif_ros.node.transport import choose_dds_settings
from dreamif_ros.pictures import Picture, gray_to_rgb
from dreamif_ros.stamps import to_ns

NAMESPACE = f"/dreamif_demo_{os.getpid()}"  # two demos on one network stay apart
START_TIMEOUT_S = 60.0  # until the first fused frame: imports, weights, the scene
LAST_REPORTS_S = 10.0  # maximum wait for two equal reports; there is one a second
STOP_TIMEOUT_S = 10.0


@dataclass
class DemoRecording:
    """What the listener received, by stamp in nanoseconds."""

    infrared: dict[int, Image] = field(default_factory=dict)
    visible: dict[int, Image] = field(default_factory=dict)
    overlay: dict[int, Image] = field(default_factory=dict)
    fused: dict[int, Image] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)  # the node's last diagnostics

    def fused_frames(self) -> list[Picture]:
        """Fused frames in order of time, RGB."""
        return [codec.decode_visible(self.fused[stamp]) for stamp in sorted(self.fused)]

    def moments(self, count: int) -> list[list[Picture]]:
        """Up to ``count`` moments, evenly spread: infrared, visible, fused, overlay of each."""
        complete = sorted(
            self.fused.keys() & self.infrared.keys() & self.visible.keys() & self.overlay.keys()
        )
        step = max(1, len(complete) // count)
        return [self._moment(stamp) for stamp in complete[step // 2 :: step][:count]]

    def _moment(self, stamp: int) -> list[Picture]:
        thermal = ThermalNormalizer().normalize(codec.decode_infrared(self.infrared[stamp]))
        colored = (self.visible[stamp], self.fused[stamp], self.overlay[stamp])
        return [gray_to_rgb(thermal), *(codec.decode_visible(image) for image in colored)]


@dataclass(frozen=True)
class DemoSettings:
    """What is fused, and how: parameters of the simulated cameras and of the fusion node."""

    variant: str
    device: str
    noise: float | str = 1.0
    motion: str = "still"
    temporal_mode: str = "off"
    rate_hz: float = 30.0

    def camera_arguments(self) -> list[str]:
        """ROS arguments of the simulated cameras."""
        values = {f"{camera}.rate_hz": float(self.rate_hz) for camera in Camera}
        return _arguments(values | {"noise": self.noise, "motion": self.motion})

    def node_arguments(self) -> list[str]:
        """ROS arguments of the fusion node."""
        values = {"variant": self.variant, "device": self.device}
        return _arguments(values | {"temporal.mode": self.temporal_mode})


def _arguments(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]


def run_demo(seconds: float, settings: DemoSettings, log: Path) -> DemoRecording:
    """Run both nodes until ``seconds`` of fused frames are recorded; their output goes to ``log``.

    DreamIFError if a node ends early, or if nothing is fused.
    """
    environment = dict(os.environ)  # for the nodes, which choose their own DDS settings
    choose_dds_settings()
    node, cameras_node = settings.node_arguments(), settings.camera_arguments()
    with (
        log.open("w") as output,
        _listener() as listener,
        _node("dreamif_ros.fusion.node", node, output, environment) as fusion,
        _node("dreamif_ros.simulation.node", cameras_node, output, environment) as cameras,
    ):
        _wait_for_first_frame(listener, (fusion, cameras), log)
        listener.listen(seconds)
        _stop(cameras)
        listener.listen_until_counts_rest(LAST_REPORTS_S)
    return listener.recording


class _Listener:
    """Records inputs, outputs and diagnostics."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.recording = DemoRecording()
        self._node, self._executor = node, executor
        self._record("infrared/image_raw", self.recording.infrared, qos_profile_sensor_data)
        self._record("visible/image_raw", self.recording.visible, qos_profile_sensor_data)
        self._record("fused/image_raw", self.recording.fused, QoSProfile(depth=10))
        self._record("dominance/overlay", self.recording.overlay, QoSProfile(depth=10))
        node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )

    def listen(self, seconds: float) -> None:
        """Take messages for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def listen_until_counts_rest(self, max_s: float) -> None:
        """Take messages until two reports of the node in a row have the same counts."""
        end, before = time.monotonic() + max_s, None
        while time.monotonic() < end:
            state = self.recording.state
            counts = {key: value for key, value in state.items() if value.isdigit()}
            if counts == before:
                return
            before = counts
            while self.recording.state is state and time.monotonic() < end:
                self.listen(0.1)

    def _record(self, topic: str, images: dict[int, Image], qos: QoSProfile) -> None:
        def store(message: Image) -> None:
            images[to_ns(message.header.stamp)] = message

        self._node.create_subscription(Image, topic, store, qos)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{NAMESPACE}/fusion_node":
                self.recording.state = {item.key: item.value for item in status.values}


@contextmanager
def _listener() -> Iterator[_Listener]:
    context = Context()
    rclpy.init(context=context)
    node = Node("demo_listener", namespace=NAMESPACE, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield _Listener(node, executor)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


@contextmanager
def _node(
    module: str, arguments: list[str], output: Any, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A node of this package as a process that ends with the block."""
    command = [sys.executable, "-m", module, "--ros-args"]
    command += ["-r", f"__ns:={NAMESPACE}", *arguments]
    process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_first_frame(
    listener: _Listener, processes: tuple[subprocess.Popen[bytes], ...], log: Path
) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not listener.recording.fused:
        if any(process.poll() is not None for process in processes):
            raise DreamIFError(f"a node ended early: {_last_line(log)} (all of it: {log})")
        if time.monotonic() > end:
            raise DreamIFError(f"nothing was fused within {START_TIMEOUT_S:.0f} s, see {log}")
        listener.listen(0.2)


def _last_line(log: Path) -> str:
    return (log.read_text().strip().splitlines() or ["it logged nothing"])[-1]
