"""What nodes report in their diagnostics, for people. Knows nothing of ROS.

The statuses of the node ``/name`` are called ``/name`` and ``/name: part``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypedDict

LEVELS = ("ok", "warn", "error", "stale")  # levels of diagnostic_msgs, by number
STALE_S = 3.0  # nodes report once a second
MAX_LENGTH = 300  # characters of one message that are shown


class HealthLine(TypedDict):
    """One status as the page shows it; ``topic`` is the topic that it is about, or empty."""

    name: str
    level: str
    text: str
    topic: str


@dataclass(frozen=True)
class NodeStatus:
    """One status of a node."""

    name: str
    level: int
    text: str
    topic: str
    received_s: float

    @property
    def node(self) -> str:
        """Full name of the node."""
        return self.name.partition(":")[0]

    def line(self, now_s: float) -> HealthLine:
        """What is shown: the last message, or for how long there was none."""
        age_s = now_s - self.received_s
        level = LEVELS[self.level] if 0 <= self.level < len(LEVELS) else "stale"
        text = self.text[:MAX_LENGTH]
        if age_s > STALE_S:
            level, text = "stale", f"no diagnostics for {age_s:.0f} s"
        return HealthLine(name=self.name[:MAX_LENGTH], level=level, text=text, topic=self.topic)


class Health:
    """The newest statuses of the nodes that are shown."""

    def __init__(self) -> None:
        self._nodes: frozenset[str] = frozenset()
        self._statuses: dict[str, NodeStatus] = {}

    def follow(self, nodes: Collection[str]) -> None:
        """Show these nodes; forget the others."""
        self._nodes = frozenset(nodes)
        self._statuses = {n: s for n, s in self._statuses.items() if s.node in self._nodes}

    def take(self, status: NodeStatus) -> None:
        """Take a status; a status of another node is ignored."""
        if status.node in self._nodes:
            self._statuses[status.name] = status

    def lines(self, now_s: float) -> list[HealthLine]:
        """One line per status; a node that went silent has only one line."""
        lines = []
        for node in sorted(self._nodes):
            own = [s.line(now_s) for _, s in sorted(self._statuses.items()) if s.node == node]
            fresh = [line for line in own if line["level"] != "stale"]
            lines += fresh or own[:1]
        return lines
