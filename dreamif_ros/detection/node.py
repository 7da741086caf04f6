"""The detector node: a managed node around a detector and, while active, its stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import Header

from dreamif_model import ConfigError, FusionResult
from dreamif_model.device import free_memory, settle_memory
from dreamif_ros.detection.config import DetectorConfig
from dreamif_ros.detection.detector import Detector
from dreamif_ros.detection.outputs import DetectionOutputs
from dreamif_ros.detection.stream import DetectionStream
from dreamif_ros.detection.vision_messages import MISSING, message_type
from dreamif_ros.diagnostics import detector_diagnostics
from dreamif_ros.node.managed_node import ManagedNode
from dreamif_ros.node.runtime import run_nodes
from dreamif_ros.parameter_tables import DETECTOR_PARAMETERS

FOLLOW_PERIOD_S = 0.5
SILENCE_PERIOD_S = 3.0  # between two log lines about a silent input
CLASS_NAMES = "class_names"  # read-only parameter: what the model can find, by class number


class DetectorNode(ManagedNode):
    """Subscribes to images, publishes what a YOLO model finds in them.

    Configured it holds the model, active also the subscription and the worker's thread. A fusion
    node in this process may hand over its images: the topic of :meth:`listen_to` is theirs.
    """

    def __init__(self, also_known: Sequence[str] = ()) -> None:
        super().__init__("detector_node", DETECTOR_PARAMETERS, also_known)
        self._fused_topic = ""
        self._detector: Detector | None = None
        self._outputs: DetectionOutputs | None = None
        self._stream: DetectionStream | None = None
        self.every(FOLLOW_PERIOD_S, self._follow_publishers)
        self.every(SILENCE_PERIOD_S, self._report_silence)

    def check(self, values: dict[str, Any]) -> None:
        """Refuse what is no topic."""
        try:
            validate_topic_name(values["image_topic"])
        except InvalidTopicNameException as error:
            raise ConfigError(
                f"parameter image_topic is {values['image_topic']!r}, expected the name of a "
                f"topic: {' '.join(str(error).split())}"
            ) from None

    def configure(self) -> None:
        """Load the model and warm it up."""
        if not self._values["model"]:
            raise ConfigError(
                "parameter model is empty: give the file or folder of a YOLO model, for example "
                "-p model:=/path/to/yolo11n_openvino_model; nothing is downloaded"
            )
        self._detector = Detector(_config(self._values))
        self._detector.warm_up()
        names = self._detector.names
        self._outputs = DetectionOutputs(self, names)
        self.declare_parameter(
            CLASS_NAMES,
            [names[number] for number in sorted(names)],
            ParameterDescriptor(description="What the model can find.", read_only=True),
        )
        settle_memory()
        what = f"{len(names)} classes with {self._values['model']} on {self._detector.device}"
        self.get_logger().info(f"detecting {what}")
        if not message_type():
            self.get_logger().warning(MISSING)

    def activate(self) -> None:
        """Subscribe to the images, or take those of the fusion node in this process."""
        assert self._detector
        assert self._outputs
        topic = self.resolve_topic_name(self._values["image_topic"])
        in_memory = topic == self._fused_topic
        self._stream = DetectionStream(self, self._detector, self._outputs, self._values, in_memory)

    def deactivate(self) -> None:
        """Unsubscribe, finish the image at work; the model stays loaded."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()

    def release(self) -> None:
        """Let go of the model."""
        if self._outputs:
            self._outputs.destroy()
        self._detector = self._outputs = None
        if self.has_parameter(CLASS_NAMES):
            self._undeclare_class_names()
        free_memory()

    def apply(self, values: dict[str, Any]) -> None:
        """Take the live parameters."""
        assert self._detector
        self._detector.config = _config(values)
        if self._stream:
            self._stream.apply(values)

    def clock_jumped(self) -> None:
        """Tracks of the images before are forgotten."""
        if self._stream:
            self._stream.begin_sequence()

    def describe(self) -> DiagnosticArray:
        """One status of the node."""
        return detector_diagnostics(
            self.get_fully_qualified_name(),
            self.get_clock().now().to_msg(),
            self.state,
            self._detector,
            self._stream,
        )

    # -- As the listener of a fusion node; the last two in its worker's thread.

    def listen_to(self, topic: str) -> None:
        """Images of this topic, resolved, are handed over."""
        self._fused_topic = topic

    def wants_fused(self) -> bool:
        """Whether the next fused image is to be looked at."""
        stream = self._stream
        return stream is not None and stream.input is None and stream.wants()

    def take_fused(self, result: FusionResult, header: Header) -> None:
        """The next image, as it lies in memory."""
        stream = self._stream
        if stream and not stream.input:
            stream.take(header, lambda: result.fused)

    # -- Timers.

    def _follow_publishers(self) -> None:
        if self._stream:
            self._stream.follow_publishers()

    def _report_silence(self) -> None:
        stream = self._stream
        if not stream or not stream.input or time.monotonic() - stream.heard_s < SILENCE_PERIOD_S:
            return
        source = stream.input
        self.get_logger().warning(f"no image on {source.topic}: {source.describe_silence()}")

    def _undeclare_class_names(self) -> None:
        self.set_descriptor(CLASS_NAMES, ParameterDescriptor(read_only=False))
        self.undeclare_parameter(CLASS_NAMES)


def _config(values: dict[str, Any]) -> DetectorConfig:
    classes = tuple(name.strip() for name in values["classes"].split(",") if name.strip())
    return DetectorConfig(
        model=values["model"],
        device=values["device"],
        half=values["half"],
        confidence=values["confidence"],
        iou=values["iou"],
        classes=classes,
        image_size=values["image_size"],
        max_detections=values["max_detections"],
        tracker=values["tracker"],
    )


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros detector_node``."""
    return run_nodes([DetectorNode], args)


if __name__ == "__main__":
    sys.exit(main())
