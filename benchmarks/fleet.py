"""What it costs to evaluate a fleet's bags, and what is left of the work when machines fail.

    make benchmark-fleet
    .venv/bin/python benchmarks/fleet.py --only failures --bags 40

First `dreamif bag evaluate` runs on bags of 640×480 images (mono16 and rgb8, 30 Hz) of two lengths,
in one process with one thread. From their CPU time follow the cost of a recorded second and that of
a bag; the core hours of 1,000 recorded hours are computed from them.

Then many small bags are evaluated twice: by processes of this machine, and on a local Ray cluster
of three nodes with one CPU each, of which two workers are killed and one node is removed while they
work. Exits with 1 if a bag was lost, or has other numbers than without the failures.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from helpers.bag_files import Street, street_messages, write_bag  # noqa: E402

from dreamif_ros.cli.table import text_table  # noqa: E402
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings  # noqa: E402
from dreamif_ros.evaluation.evaluation_job import EvaluationJob, ModelOptions  # noqa: E402
from dreamif_ros.evaluation.fleet import (  # noqa: E402
    BagTask,
    evaluate_task,
    evaluate_task_on_node,
    fleet_tasks,
    name_bags,
    open_fleet,
    plan_fleet,
)
from dreamif_ros.evaluation.process_workers import in_processes  # noqa: E402
from dreamif_ros.evaluation.ray_workers import on_ray  # noqa: E402

SIZE, RATE_HZ = (640, 480), 30.0
LENGTHS_S = 5.0, 20.0
WAYS = {
    "defaults (nano)": (),
    "--no-check --no-video": ("--no-check", "--no-video"),
    "--variant average, both": ("--variant", "average", "--no-check", "--no-video"),
}
HOURS = 1000.0  # recorded
BAG_MINUTES = 10.0  # each, for the computed figure
JOBS = 2  # of the processes
NODES = 3
WAIT_S = 60.0


class Cost(NamedTuple):
    """CPU seconds of one way to evaluate."""

    per_second: float  # of a recording
    per_bag: float  # whatever its length

    def core_hours(self, hours: float) -> float:
        """Core hours that ``hours`` of recordings cost, in bags of BAG_MINUTES each."""
        return hours * (self.per_second + self.per_bag / (60 * BAG_MINUTES))


class Outcome(NamedTuple):
    """What became of a fleet."""

    seconds: float
    failures: dict[str, str]  # why, by the name of the bag
    numbers: dict[str, bytes]  # metrics and frames, by their path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bags", type=int, default=200, help="small ones (default: %(default)s)")
    parser.add_argument("--only", choices=("costs", "failures"), help="one of both measurements")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="fleet_") as folder:
        if options.only != "failures":
            print_costs(Path(folder))
        return 0 if options.only == "costs" else print_failures(Path(folder), options.bags)


def print_costs(folder: Path) -> None:
    """Measure the ways to evaluate, and print a row for each."""
    street = Street(SIZE)
    bags = [
        write_bag(folder / f"long{s:g}", street_messages(s, RATE_HZ, street)) for s in LENGTHS_S
    ]
    rows = []
    for name, arguments in WAYS.items():
        cost = measured_cost(bags, arguments, folder / "out")
        rate, hours = 60 / BAG_MINUTES / cost.core_hours(1.0), cost.core_hours(HOURS)
        rows.append([name, *(f"{value:.3g}" for value in (*cost, rate)), f"{hours:.0f}"])
    header = "options", "CPU s per recorded s", "CPU s per bag", "bags/h/core", "core hours"
    print(text_table(header, rows), end="")
    print(
        f"computed for bags of {BAG_MINUTES:g} minutes: bags per hour and core, and the core hours "
        f"of {HOURS:g} recorded hours"
    )


def measured_cost(bags: Sequence[Path], arguments: Sequence[str], out: Path) -> Cost:
    """A line through the CPU times of a short and a long bag."""
    short, long = (cpu_seconds(bag, arguments, out) for bag in bags)
    per_second = (long - short) / (LENGTHS_S[1] - LENGTHS_S[0])
    return Cost(per_second, short - per_second * LENGTHS_S[0])


def cpu_seconds(bag: Path, arguments: Sequence[str], out: Path) -> float:
    """CPU time of one run of the command, including the start of Python."""
    command = ["-m", "dreamif_ros.cli", "bag", "evaluate", str(bag), "--out", str(out), "--force"]
    before = os.times()
    subprocess.run(
        [sys.executable, *command, "--device", "cpu", "--jobs", "1", *arguments],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    spent = (after.children_user, after.children_system)
    return sum(spent) - before.children_user - before.children_system


def print_failures(folder: Path, count: int) -> int:
    """Evaluate small bags without and with failures; 1 if the results differ."""
    bags = [
        write_bag(folder / "bags" / f"drive{n:03}", street_messages(1, street=Street(seed=n)))
        for n in range(count)
    ]
    processes = evaluated(
        bags, folder / "processes", lambda tasks: in_processes(evaluate_task, tasks, JOBS)
    )
    with FailingCluster(folder / "ray") as cluster:
        ray = evaluated(bags, folder / "ray", cluster.run)
    outcomes = ("processes", processes, 0), ("Ray, with failures", ray, len(cluster.broken_off))
    rows = [[name, *row(outcome, count), str(n)] for name, outcome, n in outcomes]
    header = f"{count} bags", "seconds", "finished", "lost", "broken off and retried"
    print(text_table(header, rows), end="")
    for failure in filter(None, ray.failures.values()):
        print(f"failed: {failure}")
    is_same = ray.numbers == processes.numbers
    print(f"{len(ray.numbers)} files of numbers: {'the same' if is_same else 'DIFFERENT'}")
    return 0 if is_same and len(ray.numbers) == 2 * count else 1


def evaluated(
    bags: Sequence[Path],
    out: Path,
    run: Callable[[Sequence[BagTask]], Iterator[tuple[BagTask, str]]],
) -> Outcome:
    """Evaluate small bags into a new fleet's folder."""
    named = name_bags(bags)
    open_fleet(out, plan_fleet(named, ""), force=False, resume=False)
    settings = EvaluationSettings(check=False, metric_frames=2, film_frames=0)
    model = ModelOptions("average", "cpu", None, "auto", "auto")
    job = EvaluationJob(bags[0], model, settings, write_video=False)
    started = time.monotonic()
    failures = {task.name: why for task, why in run(fleet_tasks(named, job, str, out))}
    seconds = time.monotonic() - started
    numbers = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for name in ("metrics.json", "frames.csv")
        for path in sorted(out.glob(f"*/{name}"))
    }
    return Outcome(seconds, failures, numbers)


def row(outcome: Outcome, count: int) -> list[str]:
    """Seconds, and how many of ``count`` bags were finished and lost."""
    lost = sum(map(bool, outcome.failures.values()))
    return [f"{outcome.seconds:.0f}", str(count - lost), str(lost)]


def at_work(out: Path) -> dict[int, str]:
    """The bags that are evaluated at the moment, by the id of the process that does it."""
    names = (path.name.split(".") for path in (out / ".unfinished").iterdir())
    return {int(pid): bag for bag, pid, _ in names if Path(f"/proc/{pid}").exists()}


class FailingCluster:
    """A local Ray cluster that loses workers and a node during its run.

    broken_off: The bags that were being evaluated by what it lost.
    """

    def __init__(self, out: Path) -> None:
        self.broken_off: list[str] = []
        self._out, self._stack = out, ExitStack()

    def __enter__(self) -> FailingCluster:
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # What Ray's workers import.
        os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "test")))
        quiet = {"include_dashboard": False, "object_store_memory": 80 << 20}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
        self._stack.callback(self._cluster.shutdown)
        self._nodes: list[Any] = [
            self._cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(NODES)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, tasks: Sequence[BagTask]) -> Iterator[tuple[BagTask, str]]:
        """Run tasks; the failures come when a quarter, a half and three quarters are done."""
        events = {len(tasks) // 4: self.kill, len(tasks) // 2: self.remove_node}
        events[3 * len(tasks) // 4] = self.kill
        address = self._cluster.address
        ended = on_ray(evaluate_task_on_node, tasks, address=address, jobs=NODES, cpus=1)
        for done, answer in enumerate(ended, 1):
            yield answer
            if done in events:
                events[done]()

    def kill(self) -> None:
        """Kill a worker in the middle of a bag."""
        pid, bag = self._wait_for_work(lambda _: True)
        os.kill(pid, signal.SIGKILL)
        print(f"killed the worker that evaluated {bag}", flush=True)

    def remove_node(self) -> None:
        """Take a node away in the middle of a bag."""
        node = self._nodes.pop()
        raylet = node.all_processes["raylet"][0].process.pid
        _, bag = self._wait_for_work(lambda pid: parent_of(pid) == raylet)
        self._cluster.remove_node(node, allow_graceful=False)
        print(f"removed a node that evaluated {bag}: {len(self._nodes)} are left", flush=True)

    def _wait_for_work(self, is_wanted: Callable[[int], bool]) -> tuple[int, str]:
        """A process, and the bag that it evaluates."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            for pid, bag in at_work(self._out).items():
                if is_wanted(pid):
                    self.broken_off.append(bag)
                    return pid, bag
            time.sleep(0.005)
        raise TimeoutError(f"no worker began a bag within {WAIT_S:g} s")


def parent_of(pid: int) -> int:
    """The id of the parent of a process; 0 where the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
