"""Checks of the programs and the machine: Python, ROS, NumPy and OpenCV, disk, clock."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from dreamif_ros.codec.decode import cv_bridge_fault
from dreamif_ros.doctor.findings import Finding
from dreamif_ros.doctor.trial import run_trial, try_rclpy

PYTHONS = (3, 10), (3, 14)  # the first and the last that this package is made for
DISK_GB = 0.1, 5.0  # below these an error, a warning; a minute of both raw cameras takes about 3 GB
CLOCKS = ("chronyc", "tracking"), ("timedatectl", "show", "--property=NTPSynchronized")
SYNCHRONIZED = re.compile(r"Leap status\s*: Normal|NTPSynchronized=yes")  # their last lines
COMMAND_S = 5.0
INSTALL_ROS = (
    "source /opt/ros/DISTRIBUTION/setup.bash (a virtual environment needs "
    "--system-site-packages), or pip install 'dreamif_ros[ros]'"
)


def check_python(version: Sequence[int] = sys.version_info[:3]) -> Iterator[Finding]:
    """Whether this Python is one that the package is made for."""
    first, last = (".".join(map(str, python)) for python in PYTHONS)
    text = f"{'.'.join(map(str, version))}, {sys.executable}"
    if PYTHONS[0] <= tuple(version[:2]) <= PYTHONS[1]:
        yield Finding("Python", "ok", text)
    else:
        yield Finding("Python", "warning", text, f"use Python {first} to {last}")


def check_ros(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Where rclpy comes from, and whether that is the distribution that was sourced."""
    distribution = environment.get("ROS_DISTRO", "")
    spec = find_spec("rclpy")
    if spec is None or spec.origin is None:
        text = "there is no rclpy: files and bags work, nodes do not"
        yield Finding("ROS", "warning", text, INSTALL_ROS)
        return
    folder = Path(spec.origin).parent
    prefixes = filter(None, environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    if distribution and not any(folder.is_relative_to(prefix) for prefix in prefixes):
        yield Finding(
            "ROS",
            "warning",
            f"{distribution} is sourced, but rclpy is that of {folder}: two versions of ROS mix",
            "source no distribution, or pip uninstall the ROS wheels of this environment",
        )
    else:
        yield Finding("ROS", "ok", f"{distribution or 'not sourced'}, rclpy of {folder}")


def check_middleware(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether rclpy can be used, with which middleware, and how nodes will configure that."""
    used, fault = try_rclpy()
    if fault:
        given = environment.get("RMW_IMPLEMENTATION")
        advice = f"unset RMW_IMPLEMENTATION, or install {given}" if given else INSTALL_ROS
        yield Finding("middleware", "error", f"rclpy cannot be used: {fault}", advice)
        return
    from dreamif_ros.node.transport import choose_dds_settings

    domain = environment.get("ROS_DOMAIN_ID") or "0"
    text = f"{used}, domain {domain}; {choose_dds_settings(dict(environment))}"
    yield Finding("middleware", "ok", text)


def installed_opencv() -> list[str]:
    """The OpenCV packages that pip installed, and their versions."""
    named = ((str(found.metadata["Name"]), found.version) for found in distributions())
    return sorted({f"{name} {version}" for name, version in named if name.startswith("opencv")})


def check_numpy(copies: Iterable[str] | None = None) -> Iterator[Finding]:
    """Whether NumPy, OpenCV and cv_bridge work together."""
    copies = installed_opencv() if copies is None else list(copies)
    bridge = "" if find_spec("cv_bridge") else "; no cv_bridge, which only rare encodings need"
    text = f"NumPy {np.__version__}, OpenCV {cv2.__version__}{bridge}"
    fault = cv_bridge_fault()
    if fault:
        what, _, advice = fault.partition(": ")
        yield Finding("NumPy and OpenCV", "error", what, advice)
    elif len(copies) > 1:
        text = f"several copies of OpenCV: {', '.join(copies)}"
        advice = "pip uninstall all of them, then install one again: they overwrite each other"
        yield Finding("NumPy and OpenCV", "warning", text, advice)
    else:
        yield Finding("NumPy and OpenCV", "ok", text)


def check_disk(folder: Path | None = None, free: int | None = None) -> Iterator[Finding]:
    """Whether recordings and reports fit into the current folder; free: bytes."""
    folder = folder or Path.cwd()
    free_gb = (shutil.disk_usage(folder).free if free is None else free) / 1e9
    error_gb, warning_gb = DISK_GB
    text = f"{free_gb:.1f} GB free in {folder}"
    if free_gb >= warning_gb:
        yield Finding("disk", "ok", text)
    else:
        advice = "free some: a minute of two raw cameras (640x480, 30 Hz) takes about 3 GB"
        yield Finding("disk", "error" if free_gb < error_gb else "warning", text, advice)


def check_clock(commands: Iterable[Sequence[str]] = CLOCKS) -> Iterator[Finding]:
    """Whether this machine's clock is synchronized, by the first command that can tell."""
    answers = {command[0]: run_trial(command, COMMAND_S).answer for command in commands}
    known = {name: answer for name, answer in answers.items() if answer}
    if not known:
        advice = "if cameras are on other machines, install chrony on each of them"
        text = "not known: neither chronyc nor timedatectl can tell"
        yield Finding("clock", "warning", text, advice)
        return
    name, answer = next(iter(known.items()))
    if SYNCHRONIZED.fullmatch(answer):
        yield Finding("clock", "ok", f"synchronized, says {name}")
    else:
        advice = "start chrony or systemd-timesyncd: stamps of several machines would not fit"
        yield Finding("clock", "warning", f"not synchronized, says {name}", advice)
