"""An executor that outlives errors out of callbacks: no message may end a node."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription

LOG_PERIOD_S = 1.0  # between two lines about one source
MAX_REASON = 500  # characters; what comes from outside may be of any length


class SurvivingExecutor(SingleThreadedExecutor):
    """Logs an exception out of a callback in one line, and goes on.

    rclpy itself raises for some messages: a ``/clock`` before 0, a parameter of an unknown type.
    A node may have ``callback_failed()``, which is called after each.
    """

    # rclpy's __del__ looks for it, also where a signal ended the context before __init__ set it.
    _sigint_gc = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._logged_s: dict[str, float] = {}  # by source

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and call it."""
        try:
            handler, entity, node = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (ShutdownException, TimeoutException):
            return
        handler()
        error = handler.exception()
        if error is not None and self.context.ok():  # else the node is being shut down
            self._report(error, entity, node)

    def _report(self, error: BaseException, entity: Any, node: Node | None) -> None:
        if not isinstance(error, Exception) or node is None:
            raise error
        getattr(node, "callback_failed", lambda: None)()
        source, now_s = _source(entity), time.monotonic()
        if now_s - self._logged_s.get(source, -LOG_PERIOD_S) < LOG_PERIOD_S:
            return
        self._logged_s[source] = now_s
        node.get_logger().error(f"{source} failed and is passed over: {describe(error)}")


def describe(error: BaseException) -> str:
    """An unforeseen error in one line of limited length, with the place where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {one_line(str(error))}{place}"


def one_line(text: str) -> str:
    """A text for the log, without its line breaks and not longer than a line should be."""
    words = " ".join(text[: 2 * MAX_REASON].split())
    return words if len(words) <= MAX_REASON else f"{words[:MAX_REASON]}…"


def _source(entity: Any) -> str:
    """What a callback was called for."""
    if isinstance(entity, Subscription):
        return f"a message on {entity.topic_name}"
    if isinstance(entity, Service):
        return f"a request of {entity.srv_name}"
    callback = getattr(entity, "callback", None)  # of a timer
    return f"{type(entity).__name__.lower()} {getattr(callback, '__qualname__', '')}".strip()
