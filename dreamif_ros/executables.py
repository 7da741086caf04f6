"""The commands ``fusion_node`` and ``simulated_cameras``, which a signal ends cleanly at any time.

Importing ROS and torch takes seconds, in which Ctrl-C would leave Python's traceback: so nothing
but the standard library is imported before the signals are taken care of.
"""

from __future__ import annotations

import importlib
import os
import signal
from types import FrameType


def fusion_node() -> int:
    """Run the fusion node; returns the exit status."""
    return _run("dreamif_ros.fusion_node")


def simulated_cameras() -> int:
    """Run the simulated cameras; returns the exit status."""
    return _run("dreamif_ros.simulated_cameras")


def _run(module: str) -> int:
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    node = importlib.import_module(module)
    for number, handler in handlers.items():  # rclpy chains its own to these
        signal.signal(number, handler)
    status: int = node.main()
    return status


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)  # nothing has begun: there is nothing to clean up, and no import to unwind
