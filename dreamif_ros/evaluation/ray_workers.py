"""Runs a function for many tasks on a Ray cluster, or on a local Ray that it starts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamif_model import DreamIFError
from dreamif_ros.evaluation.process_workers import Task, TaskFunction

RETRIES = 3  # of a task whose process or machine is lost
INSTALL = "--ray needs Ray: pip install 'dreamif_ros[ray]'"
_OBJECT_STORE_BYTES = 80 << 20  # tasks and answers are a few kB; Ray takes at least 75 MB
_KNOCK_S = 5.0
_LONGEST_FOLDER = 40  # characters: sockets lie below it, and their paths may have 107
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send no statistics
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; unset, Ray prints a warning
}


def on_ray(
    function: TaskFunction[Task],
    tasks: Sequence[Task],
    *,
    address: str | None,
    jobs: int,
    cpus: int,
    gpus: int = 0,
) -> Generator[tuple[Task, str], None, None]:
    """Run tasks, and yield each with its text as it ends.

    Args:
        function: returns why a task failed, or an empty text; picklable and importable on every
            node. It may run more than once for one task.
        tasks: picklable. A task whose process or node is lost runs again, up to RETRIES times;
            then its text says so.
        address: of a cluster; None starts a local Ray for the time of the iteration.
        jobs: tasks that run at a time on a local Ray.
        cpus: of each task.
        gpus: of each task.

    Raises:
        DreamIFError: Ray is not installed, or the cluster does not answer or has too few CPUs or
            GPUs for one task.
    """
    ray = _ray()
    with _connection(ray, address, jobs * cpus):
        _check_room(ray, cpus, gpus)
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(function)
        running = {remote.remote(task): task for task in tasks}
        try:
            while running:
                ended, _ = ray.wait(list(running), num_returns=1)
                for reference in ended:
                    yield running.pop(reference), _answer(ray, reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _ray() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # Ray's own processes inherit them
    try:
        import ray
    except ModuleNotFoundError as error:
        raise DreamIFError(f"{INSTALL} (there is no {error.name})") from None
    return ray


@contextmanager
def _connection(ray: Any, address: str | None, cpus: int) -> Iterator[None]:
    folder = None if address else _session_folder()
    try:
        try:
            _connect(ray, address, cpus, folder)
        except Exception as error:  # of many kinds, none of them Ray's own
            where = (
                f"no Ray answers at {address}" if address else "Ray does not start on this machine"
            )
            raise DreamIFError(f"{where}: {_line(error)}") from error
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: Any, address: str | None, cpus: int, folder: Path | None) -> None:
    quiet = {"logging_level": "error", "log_to_driver": False}
    if address:
        _knock(address)
        ray.init(address=address, **quiet)
        return
    ray.init(
        address="local",  # else one that runs here already would be taken
        num_cpus=cpus,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
        **quiet,
    )


def _knock(address: str) -> None:
    """OSError where nothing listens. Ray itself would try for minutes."""
    place = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if place:
        with socket.create_connection((place[1].strip("[]"), int(place[2])), _KNOCK_S):
            pass
    elif address != "auto":
        raise ValueError("expected HOST:PORT, ray://HOST:PORT or auto")


def _session_folder() -> Path:
    """A new folder; in /tmp where the folder for temporary files has too long a path."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > _LONGEST_FOLDER:
        base = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="ray_", dir=base))


def _check_room(ray: Any, cpus: int, gpus: int) -> None:
    """DreamIFError where a task fits no node: it would wait for ever."""
    needed = {"CPU": cpus, "GPU": gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0) >= n for kind, n in needed.items()) for node in nodes):
        raise DreamIFError(
            f"no node of the Ray cluster has the {cpus} CPUs and {gpus} GPUs that one bag takes: "
            "give fewer --cpu-threads, or --device cpu, which needs no GPU"
        )


def _answer(ray: Any, reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except Exception as error:  # of Ray: the process or the node was lost, memory ran out, …
        return f"Ray: {_line(error)}"


def _line(error: Exception) -> str:
    """The first line of an error, which may have many."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
