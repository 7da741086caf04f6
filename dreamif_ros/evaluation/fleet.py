"""Evaluates many bags, each into its own folder of a fleet's folder.

A task works in a temporary folder and renames it when all is written. So a bag has a whole result
or none, and a task that runs twice gives one result. A bag is done when its folder has metrics.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dreamif_model import DreamIFError
from dreamif_ros.bag.remote import (
    BagNotFoundError,
    absolute_bag,
    bag_files,
    is_remote,
    remote_errors,
)
from dreamif_ros.bag.storage import SUFFIXES, BagError
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings
from dreamif_ros.evaluation.evaluation_job import EvaluationJob, evaluate_into
from dreamif_ros.evaluation.result_files import INDEX, METRICS, PLAN, SUMMARY, TABLE

_UNFINISHED = ".unfinished"
_MAX_BYTES = 200  # of a folder's name; file systems take 255
_RESERVED = (INDEX, SUMMARY, TABLE, PLAN, _UNFINISHED)


@dataclass(frozen=True)
class BagTask:
    """One bag of a fleet. name: of its folder in ``fleet``, which is an absolute path."""

    name: str
    job: EvaluationJob
    fleet: Path

    @property
    def folder(self) -> Path:
        """The folder of its files when it is evaluated."""
        return self.fleet / self.name

    @property
    def done(self) -> bool:
        """Whether it is evaluated."""
        return (self.folder / METRICS).is_file()


@dataclass(frozen=True)
class FleetPlan:
    """The settings and bags of a fleet, so that the work can go on later.

    Attributes:
        settings: the command line for one bag.
        bags: by name, each with its path and its size in bytes.
    """

    settings: str
    bags: dict[str, dict[str, Any]]


def name_bags(bags: Iterable[Path]) -> dict[str, Path]:
    """Each bag once, by a name for its folder that does not depend on the order.

    The name is that of the file without its suffix. Where names are equal or differ only in case,
    the names of the folders above are put before it, then a part of the path's hash.
    """
    paths = list({absolute_bag(path): path.absolute() for path in bags}.values())
    names = [_stem(path) for path in paths]
    for depth in range(1, 4):
        taken = Counter(name.casefold() for name in names)
        names = [
            name if _free(name, taken) else _longer(path, depth)
            for name, path in zip(names, paths, strict=True)
        ]
    taken = Counter(name.casefold() for name in names)
    return {
        name
        if _free(name, taken) and len(os.fsencode(name)) <= _MAX_BYTES
        else f"{_stem(path)[: _MAX_BYTES // 4]}_{_digest(path)}": path
        for name, path in zip(names, paths, strict=True)
    }


def _stem(path: Path) -> str:
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return path.name.removesuffix(suffix)
    return path.name


def _free(name: str, taken: Counter[str]) -> bool:
    return taken[name.casefold()] == 1 and name.casefold() not in _RESERVED


def _longer(path: Path, depth: int) -> str:
    """The name with ``depth`` folders above."""
    above = [part for part in path.parent.parts if part != path.anchor]
    return "_".join([*above[len(above) - min(depth, len(above)) :], _stem(path)])


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(str(path))).hexdigest()[:8]


def plan_fleet(named: dict[str, Path], settings: str) -> FleetPlan:
    """The plan for these bags; a bag that does not exist has 0 bytes."""
    return FleetPlan(
        settings, {name: {"bag": str(bag), "bytes": _bytes(bag)} for name, bag in named.items()}
    )


def _bytes(bag: Path) -> int:
    if is_remote(bag):
        with suppress(BagNotFoundError), remote_errors(bag):
            return sum(path.stat().st_size for path in bag_files(bag))
        return 0
    files = bag.rglob("*") if bag.is_dir() else [bag]
    return sum(path.stat().st_size for path in files if path.is_file())


def open_fleet(out: Path, plan: FleetPlan, *, force: bool, resume: bool) -> list[str]:
    """Make the fleet's folder.

    Args:
        out: the folder.
        plan: the settings and bags.
        force: replace what is there.
        resume: keep bags that were evaluated with the same settings and have the same size.

    Returns:
        The names of evaluated bags in the folder that are not in ``plan``.

    Raises:
        BagError: the folder holds something, and neither ``force`` nor ``resume`` fits.
    """
    old = _plan_in(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        _check_old(out, old, plan, force, resume)
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)
    (out / _UNFINISHED).mkdir()
    bags = old.bags if old else {}
    for name in bags.keys() | plan.bags.keys() if force else plan.bags:
        if force or bags.get(name) != plan.bags[name]:
            _remove(out / name, out)
    for name in (INDEX, SUMMARY, TABLE):  # they are no longer true
        (out / name).unlink(missing_ok=True)
    others = {} if force else {name: bag for name, bag in bags.items() if name not in plan.bags}
    content = {"settings": plan.settings, "bags": plan.bags | others}
    replace_file(out / PLAN, json.dumps(content, indent=2) + "\n")
    return list(others)


def _plan_in(out: Path) -> FleetPlan | None:
    """The plan of an existing folder; None where none can be read."""
    try:
        content = json.loads((out / PLAN).read_text(encoding="utf-8"))
        return FleetPlan(str(content["settings"]), dict(content["bags"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_old(
    out: Path, old: FleetPlan | None, plan: FleetPlan, force: bool, resume: bool
) -> None:
    if old is None:
        raise BagError(f"{out} exists already and holds no bags' evaluation: write somewhere else")
    if force or not any((out / name / METRICS).is_file() for name in old.bags):
        return
    if not resume:
        raise BagError(
            f"{out} exists already: --resume goes on with it, --force replaces it, or write "
            "somewhere else"
        )
    if old.settings != plan.settings:
        raise BagError(
            f"{out} was begun with other settings, `{old.settings}`: go on with those, replace it "
            "with --force, or write somewhere else"
        )


def _remove(folder: Path, out: Path) -> None:
    """Move a result away at once, so that no part of it is taken for a whole one."""
    if folder.parent == out and (folder / METRICS).is_file():
        folder.rename(Path(tempfile.mkdtemp(dir=out / _UNFINISHED)) / "removed")


def close_fleet(out: Path) -> None:
    """Remove what unfinished tasks left."""
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)


def replace_file(path: Path, text: str) -> None:
    """Write a file of a fleet's folder, whole or not at all."""
    unfinished = path.parent / _UNFINISHED / path.name
    unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
    unfinished.replace(path)


def fleet_tasks(
    named: dict[str, Path], job: EvaluationJob, command: Callable[[Path], str], out: Path
) -> list[BagTask]:
    """A task for each bag, all with the settings of ``job``; paths become absolute.

    command: the command line that the report of a bag shows.
    """
    settings, model = job.settings, job.model
    if settings.calibration:
        settings = replace(settings, calibration=settings.calibration.absolute())
    if settings.detector and Path(settings.detector).exists():
        settings = replace(settings, detector=str(Path(settings.detector).absolute()))
    if model.weights:
        model = replace(model, weights=model.weights.absolute())
    job = replace(job, model=model)
    return [
        BagTask(
            name,
            replace(job, bag=bag, settings=_told(settings, command(bag))),
            out.absolute(),
        )
        for name, bag in named.items()
    ]


def _told(settings: EvaluationSettings, command: str) -> EvaluationSettings:
    return replace(settings, told=settings.told | {"command": command})


def evaluate_task(task: BagTask) -> str:
    """Evaluate a bag unless it is done; return why it failed, in one line, or nothing."""
    try:
        if not task.done:
            _evaluate(task)
    except (DreamIFError, OSError) as error:
        return _line(error)
    except Exception as error:  # whatever happens to one bag, the others go on
        return f"{type(error).__name__}: {_line(error)}"
    return ""


def evaluate_task_on_node(task: BagTask) -> str:
    """The same on one of many machines, which may lack the files."""
    for path in (task.job.bag, task.fleet):
        if not is_remote(path) and not path.exists():
            return (
                f"node {platform.node()} does not see {path}: put it on storage that all nodes "
                "share under one path"
            )
    return evaluate_task(task)


def _evaluate(task: BagTask) -> None:
    with tempfile.TemporaryDirectory(
        prefix=f"{task.name[: _MAX_BYTES // 4]}.{os.getpid()}.", dir=task.fleet / _UNFINISHED
    ) as unfinished:
        folder = Path(unfinished) / task.name
        folder.mkdir()
        evaluate_into(task.job, folder)
        try:
            folder.rename(task.folder)
        except OSError:
            if not task.done:  # otherwise another attempt was first, and its result is kept
                raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
