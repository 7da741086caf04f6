"""Messages that were published and never came. Knows nothing of ROS."""

from __future__ import annotations


class LostMessages:
    """Counts them by the gaps in the numbers that each publisher gives its messages."""

    def __init__(self) -> None:
        self.count: int | None = None  # None while no message had a number
        self._newest: dict[bytes, int] = {}  # number by publisher

    def take(self, publisher: bytes, number: int) -> None:
        """A message came. Those before a publisher's first one count for nothing."""
        missing = number - self._newest.get(publisher, number) - 1
        self.count = (self.count or 0) + max(0, missing)
        self._newest[publisher] = number
