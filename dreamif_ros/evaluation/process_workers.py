"""Runs a function for many tasks in processes; a process that is killed loses only its own task.

:class:`concurrent.futures.ProcessPoolExecutor` gives up all tasks when one process ends. The
processes are started anew, not forked, because torch's threads do not survive a fork.
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
TaskFunction = Callable[[Task], str]


def in_processes(
    function: TaskFunction[Task], tasks: Sequence[Task], count: int
) -> Generator[tuple[Task, str], None, None]:
    """Run tasks, and yield each with its text as it ends.

    All processes have ended when the iteration ends, is closed or is interrupted.

    Args:
        function: returns why a task failed, or an empty text; picklable.
        tasks: picklable. A task whose process ends without an answer is tried once more, at the
            end; if that fails too, its text says so.
        count: max number of processes at a time.
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
    """One process, which ends when this process ends."""

    def __init__(self, function: TaskFunction[Task]) -> None:
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
        """Can be read when there is an answer, or the process has ended."""
        return self._pipe

    def give(self, task: Task, attempts: int) -> None:
        """Give it a task; ``attempts`` are left, this one included."""
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
        """Clean up after a process that ended by itself; how it ended."""
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
    function: TaskFunction[Task],
    count: int,
) -> None:
    idle = [worker for worker in workers if not worker.busy]
    while waiting and (idle or len(workers) < count):
        if not idle:
            workers.append(_Worker(function))
            idle.append(workers[-1])
        idle.pop().give(*waiting.popleft())


def _ready(workers: list[_Worker[Task]]) -> list[_Worker[Task]]:
    """Wait until a worker has ended its task or itself; all that have."""
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
    """Processes started inside ignore Ctrl-C, which reaches all processes of a terminal."""
    resource_tracker.ensure_running()  # which would let interrupts through when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection[Any, Any], function: Callable[[Any], str]) -> None:
    """Run in a process: take tasks until the pipe ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            pipe.send(function(pipe.recv()))


def _end_with_parent() -> None:
    """End this process with its parent, also where the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
