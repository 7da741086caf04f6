"""The charts over the bag's time, which share their x axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

from dreamif_ros.evaluation.evaluation_results import Evaluation, FrameRow, Spell
from dreamif_ros.evaluation.report.charts import (
    FUSED,
    INFRARED,
    OF_METHOD,
    VISIBLE,
    Chart,
    Trace,
)
from dreamif_ros.evaluation.report.numbers import (
    count,
    milliseconds,
    number,
    plain,
    plain_list,
    seconds,
)
from dreamif_ros.evaluation.report.words import (
    alignments,
    drops_sentence,
    noise_sentence,
    removed_sentence,
    thermal_unit,
)

REASONS = ("--reason-1", "--reason-2", "--reason-3", "--reason-4", "--reason-5")
# Different widths show lines that lie on each other.
OF_PICTURE = {  # color, width
    "visible": (VISIBLE, 5.0),
    "infrared": (INFRARED, 3.0),
    "fused": (FUSED, 1.2),
    "detection_image": (OF_METHOD["max"], 1.2),
}
WASHES = {INFRARED: "--infrared-wash", VISIBLE: "--visible-wash"}
MAX_MARKERS = 400  # with more frames a line alone is clearer, and is drawn faster
BREAK = 4.0  # a line is broken where frames are this many median distances apart
MIN_BREAK_S = 0.25
MAX_PARTS = 50  # of a line; with more it is drawn whole, because the page would take seconds

RowValue = Callable[[FrameRow], float | None]


def over_time(evaluation: Evaluation) -> list[Chart]:
    """The charts over the bag's time, from top to bottom."""
    charts = [_rates(evaluation)]
    if evaluation.rows:
        charts += [_skew(evaluation), _thermal(evaluation), _alignment(evaluation)]
        charts += [_dominance(evaluation), _noise(evaluation), _removed(evaluation)]
    if any(row.detections for row in evaluation.rows):
        charts.append(_detections(evaluation))
    return charts


def _rates(evaluation: Evaluation) -> Chart:
    rates, dropped = evaluation.rates, evaluation.drops
    times = rates.get("time_s", [])
    middles = [plain(time + 0.5) for time in times]
    title, caption = "Messages and drops", drops_sentence(evaluation) + _spells_sentence(evaluation)
    if len(times) < 2:
        short = f"The bag spans {seconds(evaluation.duration_s)}: too short for rates over time."
        return Chart("rates", title, caption, missing=short)
    bars = [
        {
            "type": "bar",
            "name": reason,
            "x": middles,
            "y": plain_list(list(rates[reason])),
            "width": 0.8,
            "marker": {"color": REASONS[place % len(REASONS)], "opacity": 0.75},
        }
        for place, reason in enumerate(reason for reason in dropped if any(rates.get(reason, [])))
    ]
    lines = [
        {
            "type": "scatter",
            "name": name,
            "x": middles,
            "y": plain_list(list(rates[name])),
            "mode": "lines",
            "line": {"color": color, "width": width, "shape": "hvh"},
        }
        for name, (color, width) in OF_PICTURE.items()
        if name in rates
    ]
    axis = {"title": {"text": "per second"}, "rangemode": "tozero"}
    layout = {"yaxis": axis, "barmode": "stack", "shapes": _bands(evaluation)}
    height = 230 if bars else 190
    caption = f"Images of each camera, and fused pairs, in windows of one second. {caption}"
    return Chart("rates", title, caption, [*lines, *bars], layout, height)


def _skew(evaluation: Evaluation) -> Chart:
    skew = evaluation.skew_ms
    figures = [
        f"{name} {milliseconds(skew[key])}"
        for key, name in (("median", "median"), ("p95", "95 % below"), ("greatest", "max"))
        if key in skew
    ]
    caption = "Infrared minus visible stamp of each pair; 0 is best."
    if figures and len(evaluation.rows) > 1:
        caption += f" Without sign: {', '.join(figures)}."
    return _of_rows(
        evaluation,
        Chart("skew", "Skew", caption, layout={"yaxis": {"title": {"text": "ms"}}}),
        {"skew": (lambda row: row.skew_ms, FUSED)},
    )


def _thermal(evaluation: Evaluation) -> Chart:
    unit = thermal_unit(evaluation.infrared)
    caption = f"The {unit} that are shown black and white. A range that jumps makes the fused "
    caption += "pictures change their brightness."
    axis = {
        "title": {"text": unit},
        "tickformat": "" if unit == "°C" else ",d",
        "hoverformat": ",.1~f",
    }
    chart = _of_rows(
        evaluation,
        Chart("thermal", "Thermal range", caption, layout={"yaxis": axis}),
        {
            "black": (lambda row: row.thermal_low, INFRARED),
            "white": (lambda row: row.thermal_high, INFRARED),
        },
    )
    for trace in chart.traces:
        if trace["name"] == "white":
            trace |= {"fill": "tonexty", "fillcolor": WASHES[INFRARED]}
    return chart


def _alignment(evaluation: Evaluation) -> Chart:
    title = "Alignment"
    caption = "Agreement of both cameras' edges, −1 to 1. Aligned cameras give 0.2 to 0.6, "
    caption += "depending on the scene: watch its changes."
    scores = alignments(evaluation)
    if not scores:
        return Chart("alignment", title, caption, missing="It was not judged in any frame.")
    caption += f" Here {number(min(scores), 2)} to {number(max(scores), 2)}."
    return _of_rows(
        evaluation,
        Chart("alignment", title, caption, layout={"yaxis": {"title": {"text": "score"}}}),
        {"alignment": (lambda row: row.alignment, FUSED)},
    )


def _dominance(evaluation: Evaluation) -> Chart:
    axis = {"title": {"text": "share"}, "range": [0, 1], "tickformat": ".0%", "hoverformat": ".1%"}
    caption = "How much of the fused picture the network took from each camera, mean over all "
    caption += "pixels. Where the two do not fill 100 %, infrared does not see the whole view."
    chart = _of_rows(
        evaluation,
        Chart("dominance", "Dominance", caption, layout={"yaxis": axis}),
        {
            "infrared": (lambda row: row.dominance_infrared, INFRARED),
            "visible": (lambda row: row.dominance_visible, VISIBLE),
        },
    )
    for trace in chart.traces:
        trace["stackgroup"] = f"from {trace['x'][0]}"
        trace |= {"fillcolor": WASHES[trace["line"]["color"]], "mode": "lines"}
    return chart


def _noise(evaluation: Evaluation) -> Chart:
    axis = {"title": {"text": "gray levels"}, "rangemode": "tozero"}
    chart = Chart("noise", "Noise", noise_sentence(evaluation), layout={"yaxis": axis})
    series: dict[str, tuple[RowValue, str]] = {
        "infrared": (lambda row: row.noise_infrared, INFRARED),
        "visible": (lambda row: row.noise_visible, VISIBLE),
        "stripes": (lambda row: row.stripes, FUSED),
    }
    return _of_rows(evaluation, chart, series)


def _removed(evaluation: Evaluation) -> Chart:
    axis = {"title": {"text": "gray levels"}, "rangemode": "tozero"}
    chart = Chart("removed", "Taken out", removed_sentence(evaluation), layout={"yaxis": axis})
    if "removed_visible" not in evaluation.noise:
        return replace(chart, missing="Nothing: the memory was off.")
    series: dict[str, tuple[RowValue, str]] = {
        "infrared": (lambda row: row.removed_infrared, INFRARED),
        "visible": (lambda row: row.removed_visible, VISIBLE),
    }
    return _of_rows(evaluation, chart, series)


def _detections(evaluation: Evaluation) -> Chart:
    names = [name for name in OF_PICTURE if any(name in row.detections for row in evaluation.rows)]
    axis = {"title": {"text": "objects"}, "rangemode": "tozero"}
    return _of_rows(
        evaluation,
        Chart("detections", "Detections", "Objects found in each picture.", layout={"yaxis": axis}),
        {name: (_detected_in(name), OF_PICTURE[name][0]) for name in names},
    )


def _detected_in(name: str) -> RowValue:
    return lambda row: row.detections.get(name)


def _of_rows(
    evaluation: Evaluation, chart: Chart, series: dict[str, tuple[RowValue, str]]
) -> Chart:
    """The chart with a line for each value, over rows that have all values; or why it has none."""
    rows = [
        row
        for row in evaluation.rows
        if all(plain(value(row)) is not None for value, _ in series.values())
    ]
    if len(rows) < 2:
        only = " and ".join(number(value(row)) for row in rows for value, _ in series.values())
        unit = chart.layout["yaxis"]["title"]["text"]
        told = (
            f"One frame only, nothing to draw over time: {only} ({unit})." if only else "Unknown."
        )
        return replace(chart, missing=told)
    parts = _parts([row.time_s for row in rows])
    mode = "lines+markers" if len(rows) <= MAX_MARKERS else "lines"
    traces = [
        _line(name, rows[part], value, color) | {"mode": mode, "showlegend": part.start == 0}
        for part in parts
        for name, (value, color) in series.items()
    ]
    return replace(chart, traces=traces)


def _parts(times: list[float]) -> list[slice]:
    """Parts of the rows, between which there are long times without rows."""
    distances = [after - before for before, after in pairwise(times)]
    longest = max(BREAK * median(distances), MIN_BREAK_S)
    starts = [i for i, distance in enumerate(distances, start=1) if distance > longest]
    if len(starts) >= MAX_PARTS:
        starts = []
    return [slice(a, b) for a, b in pairwise([0, *starts, len(times)])]


def _line(name: str, rows: Sequence[FrameRow], value: RowValue, color: str) -> Trace:
    return {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "x": plain_list([row.time_s for row in rows]),
        "y": plain_list([value(row) for row in rows]),
        "line": {"color": color, "width": 1.5},
        "marker": {"color": color, "size": 4},
    }


def _bands(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rectangles where a camera was silent or frozen, in its colour."""
    return [
        {
            "type": "rect",
            "x0": plain(spell.start_s),
            "x1": plain(spell.start_s + spell.duration_s),
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"width": 0},
            "fillcolor": wash,
            "layer": "below",
        }
        for camera, wash in zip(
            evaluation.cameras, (WASHES[INFRARED], WASHES[VISIBLE]), strict=True
        )
        for spell in (*camera.gaps, *camera.freezes)
    ]


def _spells_sentence(evaluation: Evaluation) -> str:
    found = [
        f"{camera} {what} {_times(spells)}"
        for camera, record in evaluation.cameras.items()
        for what, spells in (("silent", record.gaps), ("frozen", record.freezes))
        if spells
    ]
    return f" Shaded: {', '.join(found)}." if found else ""


def _times(spells: Sequence[Spell]) -> str:
    total = seconds(sum(spell.duration_s for spell in spells))
    return f"for {total}" if len(spells) == 1 else f"{count(len(spells), 'time')}, {total} in all"
