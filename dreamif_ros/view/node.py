"""The ROS side of the page: one node that spins in its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.context import Context
from rclpy.exceptions import (
    InvalidNamespaceException,
    InvalidTopicNameException,
    ParameterException,
)
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from dreamif_model.errors import ConfigError
from dreamif_ros.node.distributions import ClockType
from dreamif_ros.node.executor import SurvivingExecutor
from dreamif_ros.node.transport import QUIET_SUBSCRIPTION, choose_dds_settings
from dreamif_ros.view.image_topic import ImageTopic, publishing_nodes
from dreamif_ros.view.node_health import Health, HealthLine, NodeStatus

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
DIAGNOSTICS_QOS = QoSProfile(depth=10)
UPDATE_PERIOD_S = 0.1
FOLLOW_PERIOD_S = 0.5
REFUSALS = (InvalidNamespaceException, InvalidTopicNameException, ParameterException)
SPIN_S = 0.2  # a request to stop is noticed within this time


class ViewNode(Node):
    """The image topics, the fusion mode, and the health of the nodes that publish them.

    on_image: Called with a topic's index in ``names`` for each of its images, in the thread that
    spins.
    """

    def __init__(
        self,
        context: Context,
        names: Sequence[str],
        transport: str,
        namespace: str,
        on_image: Callable[[int], object],
    ) -> None:
        super().__init__(
            "dreamif_view",
            context=context,
            namespace=namespace,
            start_parameter_services=False,
            automatically_declare_parameters_from_overrides=True,
        )
        self.get_logger().set_level(LoggingSeverity.WARN)
        self.topics = [
            ImageTopic(self, name, transport, partial(on_image, index))
            for index, name in enumerate(names)
        ]
        self._health, self._lock = Health(), threading.Lock()
        self._mode, self._mode_nodes = "", frozenset[str]()
        self._modes = self.create_subscription(
            String, "fusion_mode", self._on_mode, LATCHED, event_callbacks=QUIET_SUBSCRIPTION
        )
        self.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            self._on_diagnostics,
            DIAGNOSTICS_QOS,
            event_callbacks=QUIET_SUBSCRIPTION,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # ROS time stops with a bag
        self.create_timer(UPDATE_PERIOD_S, self._update, clock=steady)
        self.create_timer(FOLLOW_PERIOD_S, self._follow, clock=steady)

    def mode(self) -> str:
        """What the fused image is made of now; empty if no node reports it any more."""
        levels = {line["level"] for line in self.health() if line["name"] in self._mode_nodes}
        return self._mode if self._mode_nodes and levels != {"stale"} else ""

    def health(self) -> list[HealthLine]:
        """What the nodes that publish these topics report about themselves."""
        with self._lock:
            return self._health.lines(time.monotonic())

    @property
    def mode_topic(self) -> str:
        """The full name of the topic ``fusion_mode``."""
        name: str = self._modes.topic_name
        return name

    def _on_mode(self, message: String) -> None:
        self._mode = message.data[:100]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now_s = time.monotonic()
        with self._lock:
            for status in message.status:
                self._health.take(_plain(status, now_s))

    def _update(self) -> None:
        for topic in self.topics:
            topic.update()

    def _follow(self) -> None:
        self._mode_nodes = frozenset(publishing_nodes(self, self.mode_topic))
        with self._lock:
            self._health.follow(self._mode_nodes.union(*(t.nodes() for t in self.topics)))
        for topic in self.topics:
            topic.follow()


@contextmanager
def spinning_node(
    names: Sequence[str],
    transport: str,
    namespace: str,
    ros_args: Sequence[str],
    on_image: Callable[[int], object],
    on_failure: Callable[[Exception], object],
) -> Iterator[ViewNode]:
    """A :class:`ViewNode` that spins in a thread until the block ends.

    ``on_failure`` is called in that thread if it ends early; the other arguments are those of the
    node. ConfigError for ROS arguments, a namespace or topic names that ROS refuses.
    """
    choose_dds_settings()
    context, stop = Context(), threading.Event()
    _initialize(context, ros_args)
    node: ViewNode | None = None
    try:
        try:
            node = ViewNode(context, names, transport, namespace, on_image)
        except REFUSALS as error:
            raise ConfigError(_one_line(error)) from None
        thread = threading.Thread(target=_spin, args=(node, stop, on_failure), name="view-node")
        thread.start()
        try:
            yield node
        finally:
            stop.set()
            thread.join()
    finally:
        if node is not None:
            node.destroy_node()
        context.try_shutdown()


def _initialize(context: Context, ros_args: Sequence[str]) -> None:
    arguments = ["--ros-args", *ros_args] if ros_args else []
    try:
        rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has no common base class for malformed arguments
        raise ConfigError(f"ROS refuses these arguments: {_one_line(error)}") from None


def _spin(node: ViewNode, stop: threading.Event, on_failure: Callable[[Exception], object]) -> None:
    executor = SurvivingExecutor(context=node.context)
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=SPIN_S)
    except Exception as error:
        on_failure(error)
    finally:
        executor.shutdown()


def _plain(status: DiagnosticStatus, now_s: float) -> NodeStatus:
    topics = [item.value for item in status.values if item.key == "topic"]
    return NodeStatus(
        name=status.name,
        level=int.from_bytes(status.level, "little"),
        text=status.message,
        topic=topics[0] if topics else "",
        received_s=now_s,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(" ^")  # the ^ pointed to a letter in the line above
