"""Runs nodes as a process: DDS settings, one-line errors, clean exit on a signal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

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

STDERR = 2
END_S = 10  # for the end of deaf nodes; then SIGALRM ends the process, and launch may respawn it


class RefusedError(Exception):
    """A node cannot start, and has logged the reason."""


def run_nodes(create: Sequence[Callable[[], Node]], args: list[str] | None = None) -> int:
    """Create nodes in one process and spin them until SIGINT or SIGTERM.

    A node may have ``start()``, which is called before they spin, and ``stop()``, which must end
    its threads. Once a node has an ``is_deaf`` that is true, the process starts anew. Returns the
    exit status: 0 after a signal, 1 if a node refused to start, with the reason in one line on
    stderr, 2 for unknown arguments.
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
    get_logger("dreamif_ros").info(dds)
    nodes: list[Node] = []
    try:
        _spin(create, nodes)
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
        starts_anew = _end(nodes)
    if starts_anew:
        _start_anew()
    return 0


def _spin(create: Sequence[Callable[[], Node]], nodes: list[Node]) -> None:
    """Create the nodes one after the other and spin them until the context ends or one is deaf."""
    executor = SurvivingExecutor()
    for make in create:
        nodes.append(make())
        executor.add_node(nodes[-1])
    for node in nodes:
        if hasattr(node, "start"):
            node.start()
    while executor.context.ok() and not any(map(_is_deaf, nodes)):
        executor.spin_once()  # raises when the context ends, unless a callback was at work


def _end(nodes: list[Node]) -> bool:
    """End the nodes and their context; returns whether the process has to start anew."""
    is_deaf = any(map(_is_deaf, nodes))
    if is_deaf:
        signal.alarm(END_S)
    for node in nodes:
        if hasattr(node, "stop"):
            node.stop()
        node.destroy_node()
    starts_anew = is_deaf and rclpy.ok()  # else a signal came
    rclpy.try_shutdown()
    if is_deaf:
        signal.alarm(0)
    return starts_anew


def _is_deaf(node: Node) -> bool:
    return getattr(node, "is_deaf", False)


def _start_anew() -> None:
    """Replace the program in this process by itself; whoever started it sees the same process.

    New nodes in the same program would not do: Fast DDS keeps the shared memory that is lost, and
    they are deaf as well.
    """
    for link in Path("/proc/self/fd").iterdir():
        descriptor = int(link.name)
        with suppress(OSError):  # that of the folder is closed by now
            os.set_inheritable(descriptor, descriptor <= STDERR)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
