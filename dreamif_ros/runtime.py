"""Starts and stops a node process: DDS settings, one-line errors, clean exit on a signal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node

from dreamif_model import DreamIFError
from dreamif_ros.transport import choose_dds_settings


class StoppableNode(Protocol):
    """A node with work of its own to end before it is destroyed."""

    def stop(self) -> None:
        """End threads; called once, after the last callback."""
        ...


def run_node(create: Callable[[], Node], args: list[str] | None = None) -> int:
    """Create a node and spin it until SIGINT or SIGTERM; returns the exit status.

    0 after a signal, 1 when the node refused to start: one line on stderr says why.
    """
    dds = choose_dds_settings()
    try:
        rclpy.init(args=args)
    except Exception as error:  # rclpy has no common base for malformed ROS arguments
        print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    node: Node | None = None
    executor = SingleThreadedExecutor()
    try:
        node = create()
        node.get_logger().info(dds)
        executor.add_node(node)
        executor.spin()
    except (DreamIFError, ParameterException) as error:
        get_logger("dreamif_ros").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            if hasattr(node, "stop"):
                node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
