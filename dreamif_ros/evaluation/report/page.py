"""The report's page: ``report.html`` with its style, script, plotly.js and pictures inside."""

from __future__ import annotations

import base64
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from dreamif_model import DreamIFError
from dreamif_ros.evaluation.evaluation_results import CameraRecord, Evaluation, FilmFrame
from dreamif_ros.evaluation.report import charts, tables, templates, timelines, words
from dreamif_ros.evaluation.report.charts import Chart
from dreamif_ros.evaluation.report.numbers import (
    count,
    milliseconds,
    number,
    percent,
    plain,
    seconds,
)

PICTURES = {
    "infrared": "as gray levels",
    "visible": "",
    "fused": "both in one",
    "dominance": "which camera led",
    "boxes": "what was detected",
}
INSTALL = "the report needs plotly and jinja2: pip install 'dreamif_ros[report]'"


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the evaluation as one HTML file that needs no other file and no network.

    The same evaluation gives the same bytes.

    Raises:
        DreamIFError: plotly or jinja2 is not installed.
        OSError: the file cannot be written.
    """
    html = render(evaluation, path)
    # Names of files and topics may hold bytes that are no UTF-8: they are shown as \udc80.
    path.write_bytes(html.encode("utf-8", "backslashreplace"))


def check_libraries() -> None:
    """DreamIFError where a report cannot be written; to be called before the evaluation."""
    _libraries()


def render(evaluation: Evaluation, path: Path) -> str:
    """The HTML of the page; links to the video and the fused bag are relative to ``path``."""
    pages, plotly = _libraries()
    timed = timelines.over_time(evaluation)
    metrics = tables.metric_rows(evaluation)
    flicker, latency = charts.flicker_bars(evaluation), charts.latency_bars(evaluation)
    drawn = [*timed, *(row.chart for row in metrics), flicker, latency]
    html: str = pages.get_template("report.html").render(
        evaluation=evaluation,
        name=PurePath(evaluation.bag).name or evaluation.bag,
        words=words,
        tables=tables,
        seconds=seconds,
        count=count,
        timed=timed,
        metrics=metrics,
        measured=sum(bool(row.metrics) for row in evaluation.rows),
        flicker=flicker,
        latency=latency,
        pictures=_pictures(evaluation),
        before_after={name: _jpeg(data) for name, data in evaluation.alignment_pictures.items()},
        files=_files(evaluation, path),
        data={
            "charts": [_chart(chart) for chart in drawn if chart.traces],
            "film": _film(evaluation),
        },
        style=templates.text("report.css"),
        script=templates.text("report.js"),
        plotly=plotly,
    )
    return html


def _libraries() -> tuple[Any, str]:
    """The templates' environment, and plotly.js."""
    try:
        from plotly.offline import get_plotlyjs

        pages = templates.environment()
    except ModuleNotFoundError as error:
        raise DreamIFError(f"{INSTALL} (there is no {error.name})") from None
    # The filter tojson also escapes what would end the script that holds it.
    pages.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    return pages, str(get_plotlyjs())


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "key": chart.key,
        "traces": chart.traces,
        "layout": chart.layout,
        "height": chart.height,
        "timed": chart.timed,
    }


def _pictures(evaluation: Evaluation) -> dict[str, str]:
    """What the film shows, by name: those that at least one frame has, with their meaning."""
    shown = {name for frame in evaluation.film for name in frame.pictures}
    known = {name: text for name, text in PICTURES.items() if name in shown}
    return known | dict.fromkeys(sorted(shown - known.keys()), "")


def _film(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "time": plain(frame.row.time_s),
            "label": f"{seconds(frame.row.time_s)}, pair {frame.row.index}",
            "share": _share(frame),
            "readout": _readout(frame, evaluation.infrared),
            "pictures": {name: _jpeg(data) for name, data in frame.pictures.items()},
        }
        for frame in evaluation.film
    ]


def _readout(frame: FilmFrame, infrared: CameraRecord) -> list[tuple[str, str]]:
    """(what, value) of one frame; every frame has the same rows."""
    row, share = frame.row, _share(frame)
    dominance = "–" if share is None else f"{percent(share)} infrared, {percent(1 - share)} visible"
    found = ", ".join(f"{amount} in {name}" for name, amount in row.detections.items())
    bounds = (words.thermal_value(value, infrared) for value in (row.thermal_low, row.thermal_high))
    return [
        ("time", seconds(row.time_s)),
        ("skew", milliseconds(row.skew_ms)),
        ("dominance", dominance),
        ("alignment", number(row.alignment, 2)),
        ("thermal range", f"{' to '.join(bounds)} {words.thermal_unit(infrared)}"),
        *([("objects", found)] if found else []),
        ("stamp", f"{row.stamp_ns // 10**9}.{row.stamp_ns % 10**9:09d} s"),
    ]


def _share(frame: FilmFrame) -> float | None:
    """Infrared's share of this frame's dominance."""
    total = frame.row.dominance_infrared + frame.row.dominance_visible
    return plain(frame.row.dominance_infrared / total) if total > 0 else None


def _jpeg(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _files(evaluation: Evaluation, path: Path) -> list[tuple[str, str, str]]:
    """(what, shown name, link) of what was written beside the report."""
    written = (("video", evaluation.video), ("fused bag", evaluation.fused_bag))
    return [(what, str(file), _link(file, path)) for what, file in written if file is not None]


def _link(file: Path, report: Path) -> str:
    """A link that is relative for files in the report's folder, so that the folder can be moved."""
    try:
        return quote(str(file.resolve().relative_to(report.resolve().parent)), errors="replace")
    except ValueError:
        return file.resolve().as_uri()
