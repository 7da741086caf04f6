"""Runs nodes as a process: DDS settings, one-line errors, clean exit on a signal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from dreamif_model import DreamIFError
from dreamif_ros.node.executor import SurvivingExecutor
from dreamif_ros.node.transport import choose_dds_settings

HELP = (
    "a ROS 2 node: give parameters as --ros-args -p name:=value or --params-file FILE; "
    "while it runs, ros2 param describe explains each of them"
)


class RefusedError(Exception):
    """A node cannot start, and has logged the reason."""


def run_nodes(create: Sequence[Callable[[], Node]], args: list[str] | None = None) -> int:
    """Create nodes in one process and spin them until SIGINT or SIGTERM.

    A node may have ``start()``, which is called before they spin, and ``stop()``, which must end
    its threads. Returns the exit status: 0 after a signal, 1 if a node refused to start, with the
    reason in one line on stderr, 2 for unknown arguments.
    """
    given = sys.argv[1:] if args is None else args
    if {"-h", "--help"} & set(given):
        print(HELP)
        return 0
    dds = choose_dds_settings()
    try:
        rclpy.init(args=args)
    except Exception as error:  # rclpy has no common base class for malformed arguments
        print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    unknown = remove_ros_args(["", *given])[1:]
    if unknown:
        rclpy.try_shutdown()
        print(f"unknown arguments: {' '.join(unknown)}; {HELP}", file=sys.stderr)
        return 2
    nodes: list[Node] = []
    executor = SurvivingExecutor()
    try:
        get_logger("dreamif_ros").info(dds)
        for make in create:
            nodes.append(make())
            executor.add_node(nodes[-1])
        for node in nodes:
            if hasattr(node, "start"):
                node.start()
        executor.spin()  # until the context ends: it raises, or returns if a callback was at work
    except RefusedError:
        return 1 if rclpy.ok() else 0  # a signal during the start is no refusal
    except (DreamIFError, ParameterException) as error:
        get_logger("dreamif_ros").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise
        # A signal came while the nodes were being created: their context is gone, nothing is wrong.
    finally:
        for node in nodes:
            if hasattr(node, "stop"):
                node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
