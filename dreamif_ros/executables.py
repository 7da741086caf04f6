"""The commands that run nodes; a signal ends them cleanly at any time.

Importing ROS and torch takes seconds, during which Ctrl-C would print a traceback. So only the
standard library is imported before the signals are handled.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any


def fusion_node() -> int:
    """Run the fusion node; returns the exit status."""
    return _run("dreamif_ros.fusion.node")


def detector_node() -> int:
    """Run the detector node; returns the exit status."""
    return _run("dreamif_ros.detection.node")


def pipeline_node() -> int:
    """Run fusion and detection in one process; returns the exit status."""
    return _run("dreamif_ros.detection.pipeline_node")


def simulated_cameras() -> int:
    """Run the simulated cameras; returns the exit status."""
    return _run("dreamif_ros.simulation.node")


def _run(module: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        status: int = importlib.import_module(module).main()
    finally:
        ignore_signals()
    return status


def ignore_signals() -> None:
    """The process ends: a second signal would end Python with a signal's status meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _leave(_number: int, _frame: FrameType | None) -> None:
    if not _rclpy_handles_signals():
        os._exit(0)  # nothing has begun, so there is nothing to clean up


def _rclpy_handles_signals() -> bool:
    """Whether rclpy's handlers are installed: they end the node, and call ours as well."""
    signals: Any = sys.modules.get("rclpy.signals")
    options = getattr(signals, "get_current_signal_handlers_options", None)
    return options is not None and options() != signals.SignalHandlerOptions.NO
