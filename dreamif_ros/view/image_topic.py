"""One image topic of the page: subscribed to only while somebody looks, newest message only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypedDict

from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from dreamif_ros.images import codec
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.node.transport import FollowingSubscription, input_topic, subscribe_images

HINTS = ("set image_transport to compressed", "start with --compressed")  # a node's, and ours
SILENT_S = 2.0  # without an image for so long, the page says why
OLDEST_S = 60.0  # stamps older than this are a recording's: their age is no latency
LATENCY = "stamp to here"


class TopicReport(TypedDict):
    """What the page says beside a stream; None where nothing is known."""

    topic: str
    rate_hz: float | None
    age_s: float | None
    latency_ms: float | None
    kind: str
    problem: str


class ImageTopic:
    """The newest image of a topic, and how they come.

    Only :meth:`look` and the reading of ``newest`` are for other threads than the executor's.
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
        """Somebody looks, or nobody any more; takes effect with the next :meth:`update`."""
        self._wanted = wanted

    def update(self) -> None:
        """Subscribe or unsubscribe as wanted."""
        if self._wanted and not self._subscription:
            self._statistics, self._since_s = Statistics(), time.monotonic()
            self._subscription = subscribe_images(
                self._node, self._name, self._transport, self._take
            )
            self.follow()
        elif self._subscription and not self._wanted:
            self._subscription.destroy()
            self._subscription = self.newest = None

    def follow(self) -> None:
        """Follow the publishers' quality of service; find out who they are, if none is heard."""
        if self._subscription:
            self._subscription.follow()
            self._publishers = self._subscription.describe_publishers().replace(*HINTS)

    def report(self) -> TopicReport:
        """How the images come now."""
        age_s = self._statistics.seconds_since("images")
        newest, latency = self.newest, self._statistics.percentiles_ms().get(LATENCY)
        heard = newest is not None and age_s is not None
        return TopicReport(
            topic=self.topic,
            rate_hz=round(self._statistics.rate_hz("images"), 1) if heard else None,
            age_s=None if age_s is None else round(age_s, 2),
            latency_ms=round(latency[0], 1) if heard and latency else None,
            kind=_describe(newest) if newest is not None else "",
            problem=self._problem(age_s),
        )

    def nodes(self) -> set[str]:
        """Full names of the nodes that publish the topic."""
        return publishing_nodes(self._node, self.topic)

    def _take(self, message: Any) -> None:
        self._statistics.count("images")
        age_s = time.time() - codec.stamp_ns(message) / 1e9
        if 0 <= age_s < OLDEST_S:
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
    """Size and encoding, as the message says them itself."""
    if hasattr(message, "format"):
        return str(message.format)
    return f"{message.width}×{message.height} {message.encoding}"
