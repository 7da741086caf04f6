"""The page with links to the reports of many bags: ``index.html`` beside their folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dreamif_model import DreamIFError
from dreamif_model.metrics import METRICS
from dreamif_ros.evaluation.evaluation_results import METHODS
from dreamif_ros.evaluation.fleet_summary import SHOWN_METRICS, FleetRow, first_warning, score
from dreamif_ros.evaluation.report import templates
from dreamif_ros.evaluation.report.numbers import (
    count,
    milliseconds,
    number,
    percent,
    seconds,
    whole,
)
from dreamif_ros.evaluation.report.words import Fact
from dreamif_ros.evaluation.result_files import REPORT, SUMMARY, TABLE

INSTALL = "the index needs jinja2: pip install 'dreamif_ros[report]'"


@dataclass(frozen=True)
class Column:
    """One column: its title and meaning, and how the first click on it sorts."""

    title: str
    meaning: str
    downwards: bool = True
    text: bool = False


@dataclass(frozen=True)
class IndexCell:
    """One value. key: what it is sorted by; None where there is no value."""

    text: str
    key: float | str | None
    note: str = ""
    best: bool = False


COLUMNS = (
    Column("bag", "its file's name", downwards=False, text=True),
    Column("length", "time recorded"),
    Column("fused", "pairs fused, of those found"),
    Column("drops", "messages and pairs that were not fused"),
    Column("skew", "infrared minus visible stamp, median and 95th percentile"),
    *(
        Column(
            f"{name} {METRICS[name].arrow}".strip(),
            METRICS[name].meaning,
            downwards=METRICS[name].higher_is_better,
        )
        for name in (*SHOWN_METRICS, "flicker")
    ),
    Column("warnings", "how many, and the first"),
)


def render_index(rows: Sequence[FleetRow], name: str) -> str:
    """The HTML of the page, which needs no network; links lead to the folders beside it.

    The same rows give the same text. Raises DreamIFError where jinja2 is not installed.
    """
    evaluated = [row for row in rows if row.folder is not None]
    try:
        pages = templates.environment()
    except ModuleNotFoundError:
        raise DreamIFError(INSTALL) from None
    return str(
        pages.get_template("index.html").render(
            name=name,
            verdict=verdict(rows),
            facts=glance(rows),
            failed=[row for row in rows if row.failure],
            columns=COLUMNS,
            rows=[(row, link(row), cells(row)) for row in evaluated],
            count=count,
            total=len(rows),
            files=(SUMMARY, TABLE),
            style=templates.text("report.css") + templates.text("index.css"),
            script=templates.text("index.js"),
        )
    )


def link(row: FleetRow) -> str:
    """The link from the index to a bag's report."""
    return quote(os.fsencode(f"{row.folder}/{REPORT}"))


def cells(row: FleetRow) -> list[IndexCell]:
    """A bag's values, one for each of :data:`COLUMNS`."""
    share = row.fused / row.pairs if row.pairs else None
    p95 = _whole(f"p95 {milliseconds(row.skew_p95_ms)}") if row.skew_p95_ms is not None else ""
    return [
        IndexCell(row.name, row.name),
        IndexCell(seconds(row.duration_s or 0.0), row.duration_s),
        IndexCell(
            whole(row.fused), row.fused, _whole(f"of {whole(row.pairs)}") if share != 1 else ""
        ),
        IndexCell(whole(row.drops), row.drops),
        IndexCell(milliseconds(row.skew_median_ms), row.skew_median_ms, p95),
        *(_scores(row, name) for name in (*SHOWN_METRICS, "flicker")),
        IndexCell(whole(len(row.warnings)), len(row.warnings), first_warning(row)),
    ]


def _scores(row: FleetRow, metric: str) -> IndexCell:
    """A metric of the fused images, with those of the simple methods as a note."""
    values = {method: score(row, method, metric) for method in METHODS}
    fused, *others = values.values()
    known = [value for value in others if value is not None]
    higher = METRICS[metric].higher_is_better
    best = fused is not None and bool(known) and fused == (max if higher else min)([fused, *known])
    note = ", ".join(
        _whole(f"{method} {number(value, 2)}")
        for method, value in values.items()
        if method != METHODS[0] and value is not None
    )
    return IndexCell(number(fused), fused, note, best)


def verdict(rows: Sequence[FleetRow]) -> str:
    """The result in two or three sentences."""
    failed = [row for row in rows if row.failure]
    evaluated = [row for row in rows if row.folder is not None]
    if not evaluated:
        return f"None of {count(len(rows), 'bag')} could be evaluated."
    said = [f"{whole(len(rows) - len(failed))} of {count(len(rows), 'bag')} fused without failure."]
    warned = sum(bool(row.warnings) for row in evaluated)
    calm = len(evaluated) - warned
    if warned:
        said.append(
            f"{count(warned, 'bag')} came with warnings, {whole(calm)} without; the first of each "
            "is in the table."
        )
    else:
        said.append("None came with a warning.")
    return " ".join(said)


def glance(rows: Sequence[FleetRow]) -> list[Fact]:
    """The most important numbers of all bags together."""
    pairs, fused = sum(row.pairs for row in rows), sum(row.fused for row in rows)
    recorded = sum(row.duration_s or 0.0 for row in rows)
    failed = sum(bool(row.failure) for row in rows)
    share = f"{percent(fused / pairs)} of those found" if pairs else ""
    return [
        Fact("bags", whole(len(rows)), f"{whole(failed)} failed" if failed else "none failed"),
        Fact("recorded", seconds(recorded)),
        Fact("pairs fused", whole(fused), share),
        Fact("drops", whole(sum(row.drops for row in rows)), "messages and pairs"),
        Fact("warnings", whole(sum(len(row.warnings) for row in rows))),
    ]


def _whole(text: str) -> str:
    """The text with spaces that break no line."""
    return text.replace(" ", "\u00a0")
