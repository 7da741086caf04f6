"""What a worker does with every frame: log and count its errors, record its age."""

from __future__ import annotations

from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.node import Node

from dreamif_model import DreamIFError
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.stamps import to_ns, to_seconds

RECORDED_S = 60.0  # older stamps come from a recording: their age is no latency


def survive(node: Node, statistics: Statistics, what: str, work: Callable[[], None]) -> None:
    """Do ``work``. Count an input that cannot be used as ``refused``, any error as ``failed``."""
    try:
        work()
    except DreamIFError as error:
        statistics.count("refused")
        node.get_logger().error(str(error), throttle_duration_sec=1.0)
    except Exception as error:  # the worker must survive every error
        if not node.context.ok():
            return  # the node is being shut down
        statistics.count("failed")
        node.get_logger().error(f"{what} failed: {error!r}", throttle_duration_sec=1.0)


def record_age(node: Node, statistics: Statistics, stamp: Time) -> None:
    """Record how old the image with this stamp is when its result has been published."""
    age_s = to_seconds(node.get_clock().now().nanoseconds - to_ns(stamp))
    if 0 <= age_s < RECORDED_S:
        statistics.add_latencies({"stamp_to_publish": age_s})
