"""ROS's own message classes, by name, and the builder of messages of these classes."""

from __future__ import annotations

import importlib
import re
from array import array
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_ros.codec.message_builder import MessageBuilder


def installed_class(name: str) -> type[Any] | None:
    """The class of a message such as ``sensor_msgs/msg/Image``; None where it is not installed."""
    parts = re.fullmatch(r"([a-z][a-z0-9_]*)/msg/([A-Za-z0-9]+)", name)
    try:
        return _class(parts[1], parts[2]) if parts else None
    except (ImportError, AttributeError):
        return None


@cache
def _class(package: str, name: str) -> type[Any]:
    found: type[Any] = getattr(importlib.import_module(f"{package}.msg"), name)
    return found


def _as_bytes(values: NDArray[np.uint8]) -> array[int]:
    """The one type that the messages' setters take without a copy byte by byte."""
    data = array("B")
    data.frombytes(values.data)
    return data


ROS_MESSAGES = MessageBuilder(installed_class, _as_bytes)
