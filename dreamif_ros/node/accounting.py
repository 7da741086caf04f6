"""What becomes of a frame in a worker: errors are said and counted, its age is recorded."""

from __future__ import annotations

from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.node import Node

from dreamif_model import DreamIFError
from dreamif_ros.node.statistics import Statistics

NANOSECONDS = 1_000_000_000
RECORDED_S = 60.0  # stamps older than this are a recording's: their age is no latency


def survive(node: Node, statistics: Statistics, what: str, work: Callable[[], None]) -> None:
    """Do ``work``; an input that cannot be used counts as ``refused``, anything else ``failed``."""
    try:
        work()
    except DreamIFError as error:
        statistics.count("refused")
        node.get_logger().error(str(error), throttle_duration_sec=1.0)
    except Exception as error:  # the worker must outlive what nobody thought of
        if not node.context.ok():
            return  # the node is being shut down
        statistics.count("failed")
        node.get_logger().error(f"{what} failed: {error!r}", throttle_duration_sec=1.0)


def record_age(node: Node, statistics: Statistics, stamp: Time) -> None:
    """How old the image of this stamp is as its result goes out."""
    stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
    age_s = (node.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS
    if 0 <= age_s < RECORDED_S:
        statistics.add_latencies({"stamp_to_publish": age_s})
