"""What the diagnostics of some nodes say, for people. Knows nothing of ROS.

A node is known by its full name; its statuses are ``/name`` and ``/name: part``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypedDict

LEVELS = ("ok", "warn", "error", "stale")  # of diagnostic_msgs, by number
STALE_S = 3.0  # nodes report once a second
LONGEST = 300  # characters of one message that are shown


class HealthLine(TypedDict):
    """One status as the page shows it; ``topic`` is the one it is about, or empty."""

    name: str
    level: str
    text: str
    topic: str


@dataclass(frozen=True)
class Status:
    """One status of a node."""

    name: str
    level: int
    text: str
    topic: str
    received_s: float

    @property
    def node(self) -> str:
        """The full name of the node that it is of."""
        return self.name.partition(":")[0]

    def line(self, now_s: float) -> HealthLine:
        """What is shown: silence, where it lasts, instead of what was said before."""
        age_s = now_s - self.received_s
        level = LEVELS[self.level] if 0 <= self.level < len(LEVELS) else "stale"
        text = self.text[:LONGEST]
        if age_s > STALE_S:
            level, text = "stale", f"no diagnostics for {age_s:.0f} s"
        return HealthLine(name=self.name[:LONGEST], level=level, text=text, topic=self.topic)


class Health:
    """The newest statuses of the nodes that are looked at."""

    def __init__(self) -> None:
        self._nodes: frozenset[str] = frozenset()
        self._statuses: dict[str, Status] = {}

    def follow(self, nodes: Collection[str]) -> None:
        """Look at these nodes; others are forgotten."""
        self._nodes = frozenset(nodes)
        self._statuses = {n: s for n, s in self._statuses.items() if s.node in self._nodes}

    def take(self, status: Status) -> None:
        """A status came; those of other nodes are passed over."""
        if status.node in self._nodes:
            self._statuses[status.name] = status

    def lines(self, now_s: float) -> list[HealthLine]:
        """One per status; of a node that says nothing any more, only that."""
        lines = []
        for node in sorted(self._nodes):
            own = [s.line(now_s) for _, s in sorted(self._statuses.items()) if s.node == node]
            said = [line for line in own if line["level"] != "stale"]
            lines += said or own[:1]
        return lines
