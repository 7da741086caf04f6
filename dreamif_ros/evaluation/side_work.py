"""Work on frames beside the fusion of the next ones: in threads, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SideWork:
    """Calls functions in up to ``workers`` threads, and hands on what they give in order.

    They wait for no more than what was given before them, and few wait: what they hold is memory.
    OpenCV and numpy, which do the work, let other threads run meanwhile. With one worker all is
    done at once, in the thread that gives it.
    """

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, "frames") if workers > 1 else None
        self._most = 2 * workers
        self._waiting: deque[Callable[[], None]] = deque()

    def give(
        self,
        then: Callable[[Result], None],
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """``then`` gets the result in the thread that gives work, in the order of the calls."""
        if self._pool is None:
            future: Future[Result] = Future()
            future.set_result(function(*args, **kwargs))
        else:
            future = self._pool.submit(function, *args, **kwargs)
        self._waiting.append(lambda: then(future.result()))
        self._hand_on(0 if self._pool is None else self._most)
        return future

    def finish(self) -> None:
        """Wait for all of it."""
        self._hand_on(0)

    def close(self) -> None:
        """End the threads; what has not begun is left out."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _hand_on(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft()()
