"""The detector node: a managed node around a detector and, while active, its stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import Header

from dreamif_model import ConfigError
from dreamif_model.arrays import RgbImage
from dreamif_model.device import free_memory, settle_memory
from dreamif_ros.codec.message_builder import DETECTIONS
from dreamif_ros.codec.ros_messages import installed_class
from dreamif_ros.detection.detection_outputs import DetectionOutputs
from dreamif_ros.detection.detection_stream import DetectionStream
from dreamif_ros.detection.detector import Detector
from dreamif_ros.detection.diagnostics import detector_diagnostics
from dreamif_ros.detection.parameters import DetectorSettings
from dreamif_ros.node.managed_node import ManagedNode
from dreamif_ros.node.runtime import run_nodes

FOLLOW_PERIOD_S = 0.5
SILENCE_PERIOD_S = 3.0  # between two log lines about a silent input
CLASS_NAMES = "class_names"  # read-only parameter: the model's classes, by number
NO_VISION_MSGS = (
    "vision_msgs is not installed, detections are not published (detections/image is): `make "
    "vision_msgs`, or the package vision_msgs of your ROS distribution"
)


class DetectorNode(ManagedNode[DetectorSettings]):
    """Subscribes to images, publishes what a YOLO model finds in them.

    While configured it holds the model, while active also the subscription and the worker's
    thread. A fusion node in this process may hand over its images, see :meth:`listen_to`.
    """

    def __init__(self, also_known: Sequence[str] = ()) -> None:
        super().__init__("detector_node", DetectorSettings, also_known)
        self._in_memory: Mapping[str, str] = {}  # topics of a fusion node in this process
        self._taken = ""  # the one of them that is taken while active
        self._detector: Detector | None = None
        self._outputs: DetectionOutputs | None = None
        self._stream: DetectionStream | None = None
        self.every(FOLLOW_PERIOD_S, self._follow_publishers)
        self.every(SILENCE_PERIOD_S, self._report_silence)

    def check(self, settings: DetectorSettings) -> None:
        """Refuse an image_topic that is no topic name."""
        try:
            validate_topic_name(settings.image_topic)
        except InvalidTopicNameException as error:
            raise ConfigError(
                f"parameter image_topic is {settings.image_topic!r}, expected the name of a "
                f"topic: {' '.join(str(error).split())}"
            ) from None

    def configure(self) -> None:
        """Load the model and warm it up."""
        settings = self.settings
        if not settings.model:
            raise ConfigError(
                "parameter model is empty: give the file or folder of a YOLO model, for example "
                "-p model:=/path/to/yolo11n_openvino_model; nothing is downloaded"
            )
        self._detector = Detector(settings.detector())
        self._detector.warm_up()
        names = self._detector.names
        self._outputs = DetectionOutputs(self, names, settings.thermal_statistics)
        self.declare_parameter(
            CLASS_NAMES,
            [names[number] for number in sorted(names)],
            ParameterDescriptor(
                description="Names of the classes that the model finds.", read_only=True
            ),
        )
        settle_memory()
        what = f"{len(names)} classes with {settings.model} on {self._detector.device}"
        self.get_logger().info(f"detecting {what}")
        if not installed_class(DETECTIONS):
            self.get_logger().warning(NO_VISION_MSGS)

    def activate(self) -> None:
        """Subscribe to the images, or take those of the fusion node in this process."""
        assert self._detector
        assert self._outputs
        topic = self.resolve_topic_name(self.settings.image_topic)
        self._taken = self._in_memory.get(topic, "")
        self._stream = DetectionStream(
            self, self._detector, self._outputs, self.settings, bool(self._taken)
        )

    def deactivate(self) -> None:
        """Unsubscribe and finish the image at work; the model stays loaded."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()

    def release(self) -> None:
        """Free the model."""
        if self._outputs:
            self._outputs.destroy()
        self._detector = self._outputs = None
        if self.has_parameter(CLASS_NAMES):
            self._undeclare_class_names()
        free_memory()

    def apply(self, settings: DetectorSettings) -> None:
        """Take the settings that are live."""
        assert self._detector
        self._detector.config = settings.detector()
        if self._stream:
            self._stream.apply(settings)

    def clock_jumped(self) -> None:
        """Forget the tracks of earlier images."""
        if self._stream:
            self._stream.begin_sequence()

    def describe(self) -> list[DiagnosticStatus]:
        """One status of the node."""
        name = self.get_fully_qualified_name()
        return [detector_diagnostics(name, self.state, self._detector, self._stream)]

    # -- As the listener of a fusion node; the last two run in its worker's thread.

    def listen_to(self, topics: Mapping[str, str]) -> None:
        """The fusion node hands over the images of these topics, by their resolved names."""
        self._in_memory = topics

    def wanted_topic(self) -> str:
        """The topic whose next image to take; empty: none."""
        stream = self._stream
        return self._taken if stream and not stream.input and stream.wants() else ""

    def take(self, image: RgbImage, header: Header) -> None:
        """Take the next image as it is in memory."""
        stream = self._stream
        if stream and not stream.input:
            stream.take(header, lambda: image)

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


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros detector_node``."""
    return run_nodes([DetectorNode], args)


if __name__ == "__main__":
    sys.exit(main())
