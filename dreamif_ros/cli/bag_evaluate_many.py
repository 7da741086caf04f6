"""``dreamif bag evaluate`` of several bags: on all cores or a Ray cluster, with one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from dreamif_model import ConfigError
from dreamif_model.device import cuda_is_here, usable_cores
from dreamif_model.output_files import write_whole
from dreamif_ros.cli.table import text_table
from dreamif_ros.detection.model_file import find_model
from dreamif_ros.evaluation.evaluate_bag import make_detector
from dreamif_ros.evaluation.evaluation_job import EvaluationJob
from dreamif_ros.evaluation.fleet import (
    BagTask,
    close_fleet,
    evaluate_task,
    evaluate_task_on_node,
    fleet_tasks,
    name_bags,
    open_fleet,
    plan_fleet,
    replace_file,
)
from dreamif_ros.evaluation.fleet_summary import (
    SHOWN_METRICS,
    FleetRow,
    fleet_row,
    score,
    summary_csv,
    summary_json,
)
from dreamif_ros.evaluation.process_workers import in_processes
from dreamif_ros.evaluation.ray_workers import on_ray
from dreamif_ros.evaluation.report.index import render_index
from dreamif_ros.evaluation.result_files import INDEX, SUMMARY, TABLE
from dreamif_ros.fusion.camera_infos import CameraInfos

HEADER = (
    *("bag", "length s", "fused", "pairs", "drops", "skew ms (p95)"),
    *("Qabf", "SSIM", "VIFF", "flicker", "warnings"),
)


def add_many_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for several bags."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue in DIR: bags that were evaluated there with the same settings are kept",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="bags at a time, each in its own process; with a single bag, threads that measure its "
        "frames (default: one per core); fewer need less memory",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run the bags on this Ray cluster, such as 10.0.0.1:6379 or auto; all its nodes must "
        "see BAG and DIR under the same paths; without ADDRESS, start a local Ray",
    )


def run_many(
    options: argparse.Namespace, job: EvaluationJob, command: Callable[[Path], str]
) -> int:
    """Evaluate every bag, write the tables, and name those that failed.

    job: with the settings of all bags. command: the command line for one bag.
    """
    _check(options)
    job = _checked(options, job)
    named = name_bags(options.bag)
    plan = plan_fleet(named, command(Path("BAG")))
    others = open_fleet(options.out, plan, force=options.force, resume=options.resume)
    try:
        failures = _evaluate(options, fleet_tasks(named, job, command, options.out))
        rows = _write(options, named, failures)
    finally:
        close_fleet(options.out)
    _print(rows, options.out, others)
    return 1 if any(row.failure for row in rows) else 0


def _check(options: argparse.Namespace) -> None:
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}, expected 1 or more")
    if options.ray and (Path(options.ray).exists() or "/" in options.ray.split("://")[-1]):
        raise ConfigError(f"--ray {options.ray} is no address: put the bags before --ray")
    if options.ray and options.jobs:
        raise ConfigError("--jobs is for this machine: leave it out with the address of a cluster")
    if options.force and options.resume:
        raise ConfigError("--resume goes on with what is in DIR, --force replaces it: give one")


def _checked(options: argparse.Namespace, job: EvaluationJob) -> EvaluationJob:
    """The job; refuses at once what would fail for every bag. On Ray all nodes use one device."""
    CameraInfos(job.settings.calibration)
    if job.settings.detector:
        find_model(job.settings.detector)
    if options.ray is None:
        make_detector(job.settings.detector, job.model.pipeline())
    elif job.model.device == "auto":
        device = "cuda" if cuda_is_here() and job.model.backend != "openvino" else "cpu"
        job = replace(job, model=replace(job.model, device=device))
    return job


def _evaluate(options: argparse.Namespace, tasks: Sequence[BagTask]) -> dict[str, str]:
    """Why each bag failed, by name; empty where it did not."""
    waiting = [task for task in tasks if not task.done]
    failures = dict.fromkeys((task.name for task in tasks), "")
    with (
        closing(_run(options, waiting)) as ended,
        tqdm(total=len(tasks), initial=len(tasks) - len(waiting), unit="bag", disable=None) as bar,
    ):
        for task, failure in ended:
            failures[task.name] = failure
            bar.update()
    return failures


def _run(
    options: argparse.Namespace, tasks: Sequence[BagTask]
) -> Generator[tuple[BagTask, str], None, None]:
    jobs = min(options.jobs or usable_cores(), max(len(tasks), 1))
    if options.ray is None:
        workers = max(1, usable_cores() // jobs)  # of each, where bags are fewer than cores
        tasks = [replace(task, job=replace(task.job, workers=workers)) for task in tasks]
        return in_processes(evaluate_task, tasks, jobs)
    return on_ray(
        evaluate_task_on_node,
        tasks,
        address=options.ray or None,
        jobs=jobs,
        cpus=options.cpu_threads,
        gpus=int(any(task.job.model.device.startswith("cuda") for task in tasks)),
    )


def _write(
    options: argparse.Namespace, named: dict[str, Path], failures: dict[str, str]
) -> list[FleetRow]:
    rows = [
        fleet_row(options.out, name, str(bag), failures[name])
        for name, bag in sorted(named.items())
    ]
    replace_file(options.out / SUMMARY, summary_json(rows))
    replace_file(options.out / TABLE, summary_csv(rows))
    replace_file(options.out / INDEX, render_index(rows, options.out.resolve().name))
    if options.json:
        write_whole(options.json, (options.out / SUMMARY).read_bytes())
    return rows


def _print(rows: Sequence[FleetRow], out: Path, others: Sequence[str]) -> None:
    print(text_table(HEADER, [_cells(row) for row in rows]), end="")
    if others:
        print(f"not in this table: {len(others)} evaluated before, of bags that were not given now")
    print(f"reports in {out / INDEX}, numbers in {out / SUMMARY} and {out / TABLE}")
    failed = [row for row in rows if row.failure]
    for row in failed:
        print(f"dreamif: {_printable(row.name)}: {_printable(row.failure)}", file=sys.stderr)
    if failed:
        print(f"dreamif: {len(failed)} of {len(rows)} bags failed", file=sys.stderr)


def _cells(row: FleetRow) -> list[str]:
    if row.folder is None:
        return [_printable(row.name), "failed", *[""] * (len(HEADER) - 2)]
    scores = [score(row, "fused", metric) for metric in (*SHOWN_METRICS, "flicker")]
    return [
        _printable(row.name),
        _number(row.duration_s, 1),
        str(row.fused),
        str(row.pairs),
        str(row.drops),
        _number(row.skew_p95_ms, 1),
        *(_number(value, 3) for value in scores),
        str(len(row.warnings)),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _printable(text: str) -> str:
    """The text without bytes that no terminal shows, which file names may have."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
