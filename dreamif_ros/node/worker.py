"""One thread that always works on the newest item."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestWorker(Generic[T]):
    """Calls ``process`` with the newest item offered, one at a time, off the caller's thread.

    ``process`` must handle its own errors: an exception ends the thread.
    name: Name of the thread, as debuggers show it.
    """

    def __init__(self, process: Callable[[T], None], name: str) -> None:
        self._process = process
        self._condition = threading.Condition()
        self._item: T | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: T) -> bool:
        """Put ``item`` next in line; True if it replaced one that was not yet begun."""
        with self._condition:
            superseded = self._item is not None
            self._item = item
            self._condition.notify()
        return superseded

    def stop(self) -> None:
        """Finish the item at work, drop the one in line, end the thread."""
        with self._condition:
            self._stopping, self._item = True, None
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._item is not None)
                if self._stopping or self._item is None:
                    return
                item, self._item = self._item, None
            self._process(item)
