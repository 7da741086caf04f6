"""A function for many tasks, in processes that may be killed: only the task at work is lost.

Unlike :class:`concurrent.futures.ProcessPoolExecutor`, which gives up all tasks when one process
ends. The processes are started anew, not forked: torch's threads do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

ATTEMPTS = 2  # of a task whose process was killed
Task = TypeVar("Task")
Function = Callable[[Task], str]


def in_processes(
    function: Function[Task], tasks: Sequence[Task], count: int
) -> Generator[tuple[Task, str], None, None]:
    """Yield (task, what ``function`` gave for it) as they end, at most ``count`` at a time.

    function, tasks: picklable. function tells by a text whether it failed; a task whose process
    ends without telling is tried once more, at the end, and then has that as its text. All
    processes have ended when the iteration ends, is closed or is interrupted.
    """
    waiting = deque((task, ATTEMPTS) for task in tasks)
    workers: list[_Worker[Task]] = []
    try:
        while waiting or any(worker.busy for worker in workers):
            _distribute(waiting, workers, function, count)
            for worker in _ready(workers):
                task, attempts, answer = worker.answer()
                if answer is not None:
                    yield task, answer
                    continue
                workers.remove(worker)
                reason = worker.bury()
                if attempts > 1:
                    waiting.append((task, attempts - 1))
                else:
                    yield task, f"{reason}, {ATTEMPTS} times"
    finally:
        for worker in workers:
            worker.end()


class _Worker(Generic[Task]):
    """One process; it ends with this one."""

    def __init__(self, function: Function[Task]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, function), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()  # so that its end is the end of the pipe
        self._work: tuple[Task, int] | None = None

    @property
    def busy(self) -> bool:
        """Whether it has a task."""
        return self._work is not None

    @property
    def pipe(self) -> Connection[Any, Any]:
        """Ready when there is an answer, or the process has ended."""
        return self._pipe

    def give(self, task: Task, attempts: int) -> None:
        """Let it begin; ``attempts`` are left, this one included."""
        self._work = task, attempts
        with suppress(OSError):  # it was killed meanwhile: there will be no answer
            self._pipe.send(task)

    def answer(self) -> tuple[Task, int, str | None]:
        """(task, attempts, answer); None where the process ended without one."""
        assert self._work is not None
        (task, attempts), self._work = self._work, None
        try:
            return task, attempts, str(self._pipe.recv())
        except (EOFError, OSError):
            return task, attempts, None

    def bury(self) -> str:
        """Of a process that ended by itself: how."""
        self._process.join(1.0)  # its pipe is closed a little earlier
        reason = _reason(self._process.exitcode)
        self.end()
        return reason

    def end(self) -> None:
        """End the process now, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _distribute(
    waiting: deque[tuple[Task, int]],
    workers: list[_Worker[Task]],
    function: Function[Task],
    count: int,
) -> None:
    idle = [worker for worker in workers if not worker.busy]
    while waiting and (idle or len(workers) < count):
        if not idle:
            workers.append(_Worker(function))
            idle.append(workers[-1])
        idle.pop().give(*waiting.popleft())


def _ready(workers: list[_Worker[Task]]) -> list[_Worker[Task]]:
    """Those that ended their task, or ended; waits for the first."""
    busy = {worker.pipe: worker for worker in workers if worker.busy}
    return [busy[pipe] for pipe in wait(list(busy))]  # type: ignore[index]


def _reason(exitcode: int | None) -> str:
    if exitcode is None:
        return "its process did not answer"
    if exitcode >= 0:
        return f"its process ended with status {exitcode}"
    name = signal.Signals(-exitcode).name
    memory = " (out of memory? fewer --jobs need less)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: those started inside leave it to this one."""
    resource_tracker.ensure_running()  # which would let interrupts through when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection[Any, Any], function: Callable[[Any], str]) -> None:
    """The life of a process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            pipe.send(function(pipe.recv()))


def _end_with_parent() -> None:
    """Also where the parent was killed and could tell nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
