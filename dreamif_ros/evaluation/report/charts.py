"""The charts without a time axis, as plotly.js takes them: traces and a layout each.

A colour is the name of a CSS variable, which the page's script replaces by its value: so one chart
is right for a light and a dark page. Values are those of the evaluation; null: not judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from dreamif_ros.evaluation.evaluation_results import Evaluation, MeanInterval
from dreamif_ros.evaluation.report.numbers import milliseconds, number, plain, plain_list

INFRARED, VISIBLE, FUSED, FAINT = "--infrared", "--visible", "--fused", "--faint"
_WHISKER = {"color": FAINT, "thickness": 1.5, "width": 0}  # of an error bar
OF_METHOD = {"fused": FUSED, "average": "--average", "max": "--max"}

Trace = dict[str, Any]
Layout = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart with its words.

    Attributes:
        key: of its element, unique on the page.
        title: in a few words.
        caption: what it shows, and which values are good.
        traces: of plotly.js; empty where there is nothing to draw.
        layout: of plotly.js, where it differs from that of the page.
        height: pixels.
        timed: its x axis is the bag's time, shared with the others.
        missing: why there is nothing to draw.
    """

    key: str
    title: str
    caption: str
    traces: list[Trace] = field(default_factory=list)
    layout: Layout = field(default_factory=dict)
    height: int = 170
    timed: bool = True
    missing: str = ""


def metric_dots(metric: str, methods: dict[str, dict[str, MeanInterval]]) -> Chart:
    """The means of one metric with their intervals, one row for each method."""
    traces = []
    for place, (method, found) in enumerate(methods.items()):
        interval = found.get(metric)
        if interval is None or not math.isfinite(interval.mean):
            continue
        traces.append(
            {
                "type": "scatter",
                "name": method,
                "x": [plain(interval.mean)],
                "y": [-place],
                "mode": "markers",
                "marker": {"color": _of_method(method), "size": 8},
                "error_x": _errors(interval),
            }
        )
    height = 8 + 13 * len(methods)
    return Chart(f"metric-{metric}", metric, "", traces, {"margin": "tight"}, height, timed=False)


def flicker_bars(evaluation: Evaluation) -> Chart:
    """Flicker of each method, and a line at 1."""
    values = {name: value for name, value in evaluation.flicker.items() if math.isfinite(value)}
    trace = _bars(
        values, [_of_method(name) for name in values], [number(v) for v in values.values()]
    )
    line = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper"}
    layout = {
        "xaxis": {"title": {"text": "flicker"}, "range": [0, max([1.2, *values.values()]) * 1.18]},
        "shapes": [line | {"line": {"color": FAINT, "width": 1.5, "dash": "dot"}}],
    }
    height = 70 + 30 * len(values)
    return Chart("flicker", "Flicker", "", [trace] if values else [], layout, height, timed=False)


def latency_bars(evaluation: Evaluation) -> Chart:
    """Median and 99th percentile of each stage."""
    medians = {
        stage: times["median"]
        for stage, times in evaluation.latency_ms.items()
        if math.isfinite(times.get("median", math.nan))
    }
    p99 = {
        stage: max(evaluation.latency_ms[stage].get("p99", middle), middle)
        for stage, middle in medians.items()
    }
    texts = [f"{milliseconds(medians[stage])}, p99 {milliseconds(p99[stage])}" for stage in medians]
    trace = _bars(medians, ["--average"] * len(medians), [])
    reach = [plain(p99[stage] - middle) for stage, middle in medians.items()]
    trace["error_x"] = {"type": "data", "symmetric": False, "array": reach} | _WHISKER
    labels = {
        "type": "scatter",
        "x": plain_list(list(p99.values())),
        "y": list(medians),
        "mode": "text",
        "text": [f"  {text}" for text in texts],
        "textposition": "middle right",
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    reached = max([*p99.values(), 0.001])
    layout = {"xaxis": {"title": {"text": "ms"}, "range": [0, reached * 1.6]}}
    traces = [trace, labels] if medians else []
    height = 70 + 30 * len(medians)
    return Chart("latency", "Latency per stage", "", traces, layout, height, timed=False)


def _bars(values: dict[str, float], colors: list[str], texts: list[str]) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "x": plain_list(list(values.values())),
        "y": list(values),
        "marker": {"color": colors},
        "text": texts,
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
        "width": 0.55,
    }


def _of_method(method: str) -> str:
    return OF_METHOD.get(method, FAINT)


def _errors(interval: MeanInterval) -> dict[str, Any]:
    above, below = interval.high - interval.mean, interval.mean - interval.low
    if not (math.isfinite(above) and math.isfinite(below)):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [plain(above)],
        "arrayminus": [plain(below)],
    } | _WHISKER
