"""The results of many bags: a row for each, from the files in its folder."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dreamif_model.output_files import JSON_MARK
from dreamif_ros.evaluation.evaluation_results import METHODS
from dreamif_ros.evaluation.result_files import METRICS

SHOWN_METRICS = ("Qabf", "SSIM", "VIFF")
NOTHING_FUSED = "nothing could be fused"


@dataclass(frozen=True)
class FleetRow:
    """One bag; without a folder it has only the reason of its failure."""

    name: str
    bag: str
    folder: str | None  # in the fleet's folder; None where the bag could not be evaluated
    failure: str = ""
    duration_s: float | None = None
    pairs: int = 0
    fused: int = 0
    drops: int = 0  # messages and pairs that were not fused
    skew_median_ms: float | None = None
    skew_p95_ms: float | None = None
    # Means by method and metric, of SHOWN_METRICS; empty where nothing was measured.
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    flicker: dict[str, float | None] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def fleet_row(out: Path, name: str, bag: str, failure: str) -> FleetRow:
    """A bag's row; failure: why it has no files, or empty."""
    path = out / name / METRICS
    if failure:
        return FleetRow(name, bag, None, failure)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return FleetRow(name, bag, None, f"its results cannot be read here: {error}")
    return FleetRow(
        name,
        bag,
        folder=name,
        failure="" if found["fused"] else NOTHING_FUSED,
        duration_s=found["duration_s"],
        pairs=found["pairs"],
        fused=found["fused"],
        drops=sum(found["drops"].values()),
        skew_median_ms=found["skew_ms"].get("median"),
        skew_p95_ms=found["skew_ms"].get("p95"),
        metrics={
            method: {name: scores[name]["mean"] for name in SHOWN_METRICS if name in scores}
            for method, scores in found["metrics"].items()
        },
        flicker=found["flicker"],
        faults=tuple(found["faults"]),
        warnings=tuple(found["warnings"]),
    )


def summary_json(rows: Sequence[FleetRow]) -> str:
    """The content of summary.json."""
    failed = [row.name for row in rows if row.failure]
    content = JSON_MARK | {"failed": failed, "bags": [*map(asdict, rows)]}
    return json.dumps(content, indent=2) + "\n"


def summary_csv(rows: Sequence[FleetRow]) -> str:
    """The content of summary.csv: a line per bag, the same columns in every summary."""
    flat = [_flat(row) for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(_flat(FleetRow("", "", None))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def _flat(row: FleetRow) -> dict[str, Any]:
    """One line; metrics are named as in frames.csv, such as ``fused_Qabf``."""
    names = (*SHOWN_METRICS, "flicker")
    values = asdict(row)
    for key in ("metrics", "flicker", "faults", "warnings"):
        del values[key]
    for metric in names:
        for method in METHODS:
            values[f"{method}_{metric}"] = score(row, method, metric)
    return values | {
        "faults": len(row.faults),
        "warnings": len(row.warnings),
        "first_warning": first_warning(row),
    }


def score(row: FleetRow, method: str, metric: str) -> float | None:
    """One of SHOWN_METRICS, or ``flicker``; None where it was not measured."""
    found = row.flicker if metric == "flicker" else row.metrics.get(method, {})
    value = found.get(method if metric == "flicker" else metric)
    return value if value is not None and math.isfinite(value) else None


def first_warning(row: FleetRow) -> str:
    """The first warning, or else the first fault of the bag."""
    return next(iter((*row.warnings, *row.faults)), "")
