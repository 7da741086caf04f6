"""The files of an evaluation: the same bytes for the same bag and settings, timings excepted."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from dreamif_ros.evaluation.evaluation_results import Evaluation, FrameRow
from dreamif_ros.json_file import plain, write_json

# Files of one bag.
METRICS, FRAMES, TIMINGS, REPORT = "metrics.json", "frames.csv", "timings.json", "report.html"
# Files of several bags, beside a folder for each.
INDEX, SUMMARY, TABLE, PLAN = "index.html", "summary.json", "summary.csv", "plan.json"

# Pictures, paths and times of this run; the rows are in frames.csv.
LEFT_OUT = ("rows", "latency_ms", "film", "alignment_pictures", "video", "fused_bag")
PRIVATE_SETTINGS = ("command",)


def metrics_content(evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json holds; NaN and infinite values become None, because JSON lacks them."""
    names = [item.name for item in fields(Evaluation) if item.name not in LEFT_OUT]
    content: dict[str, Any] = {name: plain(getattr(evaluation, name)) for name in names}
    for name in PRIVATE_SETTINGS:
        content["settings"].pop(name, None)
    return content


def row_values(row: FrameRow) -> dict[str, Any]:
    """A row as a flat dictionary; a list of them makes a pandas.DataFrame.

    Metrics are named ``fused_Qabf``, objects ``objects_fused``; those not measured are left out.
    """
    values = {
        item.name: getattr(row, item.name)
        for item in fields(FrameRow)
        if item.name not in ("metrics", "detections")
    }
    for method, scores in row.metrics.items():
        values |= {f"{method}_{metric}": score for metric, score in scores.items()}
    return values | {f"objects_{name}": count for name, count in row.detections.items()}


def write_metrics(evaluation: Evaluation, path: Path) -> None:
    """Write metrics.json."""
    write_json(path, metrics_content(evaluation))


def write_frames(rows: Sequence[FrameRow], path: Path) -> None:
    """Write frames.csv: a row per fused pair; cells of what was not measured are empty."""
    flat = [row_values(row) for row in rows]
    columns = [item.name for item in fields(FrameRow) if item.name not in ("metrics", "detections")]
    columns += list(dict.fromkeys(name for row in flat for name in row if name not in columns))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def write_timings(evaluation: Evaluation, wall_s: float, path: Path) -> None:
    """Write timings.json: what differs from run to run."""
    content = {
        "latency_ms": evaluation.latency_ms,
        "wall_s": wall_s,
        "bag_s": evaluation.duration_s,
        "times_real_time": evaluation.duration_s / wall_s if wall_s > 0 else None,
    }
    write_json(path, content)
