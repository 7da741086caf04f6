"""Counts messages that were published and never came. Knows nothing of ROS."""

from __future__ import annotations


class LostMessages:
    """Counts lost messages by the gaps in the sequence numbers of each publisher."""

    def __init__(self) -> None:
        self.count: int | None = None  # None while no message had a number
        self._newest: dict[bytes, int] = {}  # number by publisher

    def take(self, publisher: bytes, number: int) -> None:
        """A message came. Messages before a publisher's first one are not counted as lost."""
        missing = number - self._newest.get(publisher, number) - 1
        self.count = (self.count or 0) + max(0, missing)
        self._newest[publisher] = number
