"""One image topic of the page: its newest message, subscribed to only while a page shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypedDict

from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from dreamif_ros import codec
from dreamif_ros.node.accounting import RECORDED_S
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.node.transport import FollowingSubscription, input_topic, subscribe_images
from dreamif_ros.stamps import to_ns, to_seconds

ADVICE = {
    "raw": "start with --compressed",
    "compressed": "start without --compressed",
}  # by transport
SILENT_S = 2.0  # after this time without an image the page shows the reason
LATENCY = "stamp to arrival"


class TopicReport(TypedDict):
    """What the page shows beside a stream; None if it is not known."""

    topic: str
    rate_hz: float | None
    age_s: float | None
    latency_ms: float | None
    kind: str
    problem: str


class ImageTopic:
    """The newest image of a topic, and how often and how late images come.

    Threads other than the executor's may only call :meth:`look` and read ``newest``.
    """

    def __init__(
        self, node: Node, name: str, transport: str, on_image: Callable[[], object]
    ) -> None:
        self._node, self._name, self._transport, self._on_image = node, name, transport, on_image
        validate_topic_name(name)
        self.topic: str = node.resolve_topic_name(input_topic(node, name, transport))
        self.newest: codec.ImageMessage | None = None
        self.refusal = ""  # why the newest image cannot be shown
        self._wanted = False
        self._subscription: FollowingSubscription | None = None
        self._statistics, self._since_s, self._publishers = Statistics(), 0.0, ""

    def look(self, wanted: bool) -> None:
        """Whether any page shows the topic; takes effect with the next :meth:`update`."""
        self._wanted = wanted

    def update(self) -> None:
        """Subscribe or unsubscribe as wanted."""
        if self._wanted and not self._subscription:
            self._statistics, self._since_s = Statistics(), time.monotonic()
            self._subscription = subscribe_images(
                self._node, self._name, self._transport, self._take, ADVICE[self._transport]
            )
            self.follow()
        elif self._subscription and not self._wanted:
            self._subscription.destroy()
            self._subscription = self.newest = None

    def follow(self) -> None:
        """Follow the publishers' reliability, and note which nodes they are."""
        if self._subscription:
            self._subscription.follow()
            self._publishers = self._subscription.describe_publishers()

    def report(self) -> TopicReport:
        """How the images come now."""
        age_s = self._statistics.seconds_since("images")
        newest, latency_ms = self.newest, self._statistics.percentile_ms(LATENCY, 0.5)
        heard = newest is not None and age_s is not None
        return TopicReport(
            topic=self.topic,
            rate_hz=round(self._statistics.rate_hz("images"), 1) if heard else None,
            age_s=None if age_s is None else round(age_s, 2),
            latency_ms=round(latency_ms, 1) if heard and latency_ms is not None else None,
            kind=_describe(newest) if newest is not None else "",
            problem=self._problem(age_s),
        )

    def nodes(self) -> set[str]:
        """Full names of the nodes that publish the topic."""
        return publishing_nodes(self._node, self.topic)

    def _take(self, message: Any) -> None:
        self._statistics.count("images")
        age_s = time.time() - to_seconds(to_ns(message.header.stamp))
        if 0 <= age_s < RECORDED_S:
            self._statistics.add_latencies({LATENCY: age_s})
        self.newest = message
        self._on_image()

    def _problem(self, age_s: float | None) -> str:
        if not self._subscription:
            return ""
        silent_s = time.monotonic() - self._since_s if age_s is None else age_s
        if silent_s > SILENT_S:
            return f"no image for {silent_s:.0f} s: {self._publishers}"
        return self.refusal


def publishing_nodes(node: Node, topic: str) -> set[str]:
    """Full names of the nodes that publish a resolved topic."""
    found = node.get_publishers_info_by_topic(topic)
    return {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found}


def _describe(message: codec.ImageMessage) -> str:
    """Size and encoding, from the message itself."""
    if hasattr(message, "format"):
        return str(message.format)
    return f"{message.width}×{message.height} {message.encoding}"
