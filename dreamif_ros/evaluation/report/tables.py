"""The tables of the report: metrics beside baselines, the cameras, the settings."""

from __future__ import annotations

import inspect
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dreamif_model import metrics
from dreamif_model.metrics import METRICS
from dreamif_model.metrics.flicker import flicker
from dreamif_ros.evaluation.evaluation_results import CameraRecord, Evaluation, MeanInterval, Spell
from dreamif_ros.evaluation.report.charts import Chart, metric_dots
from dreamif_ros.evaluation.report.numbers import NOT_KNOWN, count, number, seconds, whole

# Their docstrings have the formula and its source.
DEFINED_BY: dict[str, Callable[..., Any]] = {
    "AG": metrics.average_gradient,
    "SF": metrics.spatial_frequency,
    "Qabf": metrics.qabf,
    "SSIM": metrics.ssim,
    "VIFF": metrics.viff,
    "EN": metrics.entropy,
    "SD": metrics.standard_deviation,
    "MI": metrics.mutual_information,
    "SCD": metrics.sum_of_correlations_of_differences,
    "CC": metrics.correlation_coefficient,
    "PSNR": metrics.fusion_psnr,
    "Nabf": metrics.nabf,
    "flicker": flicker,
}


@dataclass(frozen=True)
class MethodCell:
    """One method's mean of a metric, with its interval."""

    method: str
    mean: str
    interval: str
    best: bool


@dataclass(frozen=True)
class MetricRow:
    """One metric, for all methods."""

    name: str
    arrow: str
    range: str
    meaning: str
    cells: list[MethodCell]
    chart: Chart


@dataclass(frozen=True)
class Definition:
    """Formula and source of a metric."""

    name: str
    text: str


def metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Every metric that was measured, in the order of :data:`METRICS`, then others."""
    measured = {name for found in evaluation.metrics.values() for name in found}
    known = [name for name in METRICS if name in measured]
    return [
        _metric_row(name, evaluation.metrics) for name in [*known, *sorted(measured - {*known})]
    ]


def definitions(evaluation: Evaluation) -> list[Definition]:
    """Formula and source of the metrics that were measured, flicker included."""
    measured = {name for found in evaluation.metrics.values() for name in found}
    measured |= {"flicker"} if evaluation.flicker else set()
    return [
        Definition(name, text)
        for name in METRICS
        if name in measured and (text := _documented(DEFINED_BY.get(name)))
    ]


def camera_rows(infrared: CameraRecord, visible: CameraRecord) -> list[tuple[str, str, str]]:
    """What is known of each camera's topic: (what, infrared, visible)."""
    return [
        (what, tell(infrared), tell(visible))
        for what, tell in _CAMERA_FACTS
        if what not in _ONLY_IF_ANY or tell(infrared) != "0" or tell(visible) != "0"
    ]


def drop_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(reason, how many), the largest number first."""
    lost = sorted(evaluation.drops.items(), key=lambda item: -item[1])
    return [(reason, whole(amount)) for reason, amount in lost if amount]


def detection_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """(picture, objects, mean confidence)."""
    return [
        (name, whole(found.get("objects", 0)), number(found.get("confidence"), 2))
        for name, found in evaluation.detections.items()
    ]


def homography_rows(evaluation: Evaluation) -> list[list[str]]:
    """The nine numbers of the homography; empty without one."""
    rows = evaluation.alignment.homography or ()
    return [[f"{value:.6g}".replace("-", "−") for value in row] for row in rows]


def setting_rows(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of all but the command."""
    return [(name, _setting(value)) for name, value in settings.items() if name != "command"]


def command(evaluation: Evaluation) -> str:
    """The command line for the same report: settings["command"], or else one with the defaults."""
    told = evaluation.settings.get("command")
    return str(told) if told else f"dreamif bag evaluate {shlex.quote(evaluation.bag)}"


def _metric_row(name: str, methods: dict[str, dict[str, MeanInterval]]) -> MetricRow:
    metric = METRICS.get(name)
    means = {
        method: found[name].mean
        for method, found in methods.items()
        if name in found and math.isfinite(found[name].mean)
    }
    best = None
    if metric and len(means) > 1:
        best = (max if metric.higher_is_better else min)(means.values())
    cells = [
        _cell(method, found.get(name), best is not None and means.get(method) == best)
        for method, found in methods.items()
    ]
    return MetricRow(
        name=name,
        arrow=metric.arrow if metric else "",
        range=metric.range.replace("-", "−") if metric else "",
        meaning=metric.meaning if metric else "",
        cells=cells,
        chart=metric_dots(name, methods),
    )


def _cell(method: str, interval: MeanInterval | None, best: bool) -> MethodCell:
    if interval is None:
        return MethodCell(method, NOT_KNOWN, "", best=False)
    bounds = (interval.low, interval.high)
    known = all(math.isfinite(bound) for bound in bounds) and bounds[0] < bounds[1]
    text = f"{number(bounds[0])} to {number(bounds[1])}" if known else ""
    return MethodCell(method, number(interval.mean), text, best)


def _documented(function: Callable[..., Any] | None) -> str:
    """The function's docstring without arguments and without marks of reStructuredText."""
    text = (inspect.getdoc(function) or "").partition("\n\nArgs:")[0]
    return re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("::\n", ":\n")


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"


def _spells(spells: tuple[Spell, ...]) -> str:
    if not spells:
        return "0"
    longest = max(spells, key=lambda spell: spell.duration_s)
    start = f"{seconds(longest.duration_s)} at {seconds(longest.start_s)}"
    return f"1: {start}" if len(spells) == 1 else f"{whole(len(spells))}, longest {start}"


def _size(camera: CameraRecord) -> str:
    if camera.size is None:
        return "no image was read"
    return f"{camera.size[0]} × {camera.size[1]} pixels"


def _refused(camera: CameraRecord) -> str:
    return f"{whole(camera.refused)}: {camera.refusal}" if camera.refusal else whole(camera.refused)


def _span(camera: CameraRecord) -> str:
    if camera.messages == 0:
        return NOT_KNOWN
    return f"{seconds(camera.first_s)} to {seconds(camera.last_s)}"


_CAMERA_FACTS: tuple[tuple[str, Callable[[CameraRecord], str]], ...] = (
    ("topic", lambda camera: camera.topic),
    ("type", lambda camera: camera.type_name),
    ("encoding", lambda camera: ", ".join(camera.encodings) or NOT_KNOWN),
    ("size", _size),
    ("messages", lambda camera: whole(camera.recorded)),
    ("rate", lambda camera: f"{camera.rate_hz:.2f} Hz" if camera.messages > 1 else NOT_KNOWN),
    ("from, to", _span),
    ("refused", _refused),
    ("without a stamp", lambda camera: whole(camera.unstamped)),
    ("out of order", lambda camera: whole(camera.disordered)),
    ("silent", lambda camera: _spells(camera.gaps)),
    ("frozen", lambda camera: _spells(camera.freezes)),
    (
        "changes of size",
        lambda camera: count(camera.sizes_changed, "time") if camera.sizes_changed else "0",
    ),
)
_ONLY_IF_ANY = {"refused", "without a stamp", "out of order", "silent", "frozen", "changes of size"}
