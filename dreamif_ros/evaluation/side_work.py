"""Works on frames in threads while the next ones are fused; the results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SideWork:
    """Calls functions in up to ``workers`` threads, and hands on their results in order.

    At most twice as many calls as workers are pending, because each holds memory. OpenCV and numpy,
    which do the work, let other threads run meanwhile. With one worker each function is called at
    once, in the thread that gives it.
    """

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, "frames") if workers > 1 else None
        self._max_pending = 2 * workers
        self._waiting: deque[Callable[[], None]] = deque()

    def give(
        self,
        then: Callable[[Result], None],
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """Call ``function``; ``then`` gets its result in this thread, in the order of the calls."""
        if self._pool is None:
            future: Future[Result] = Future()
            future.set_result(function(*args, **kwargs))
        else:
            future = self._pool.submit(function, *args, **kwargs)
        self._waiting.append(lambda: then(future.result()))
        self._hand_on(0 if self._pool is None else self._max_pending)
        return future

    def finish(self) -> None:
        """Wait for all calls."""
        self._hand_on(0)

    def close(self) -> None:
        """End the threads; calls that have not begun are left out."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _hand_on(self, pending: int) -> None:
        while len(self._waiting) > pending:
            self._waiting.popleft()()
