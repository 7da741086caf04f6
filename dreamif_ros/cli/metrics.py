"""``dreamif metrics``: fusion metrics of existing fused images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import ConfigError
from dreamif_model.metrics import METRICS
from dreamif_model.metrics.flicker import STILL, Flicker, flicker
from dreamif_model.metrics.scoring import (
    RESAMPLES,
    Scores,
    Triple,
    find_triples,
    mean_intervals,
    read_triple,
    score_all,
)
from dreamif_ros.cli.options import add_force_option, add_lpips_option, check_outputs
from dreamif_ros.cli.progress import progress
from dreamif_ros.json_file import write_json

EXAMPLES = """examples:
  dreamif metrics --ir pairs/ir --vi pairs/vi --fused fused
  dreamif metrics --ir drive/ir --vi drive/vi --fused fused --sequence --json scores.json
  dreamif metrics --ir ir.png --vi vi.png --fused fused.png --lpips

"""
NOTES = """
AG, SF and SD also reward noise, and a copy of one source wins VIFF and CC: read several metrics and
compare with simple methods (`dreamif evaluate`). The interval is that of the mean over the images,
by bootstrap. PSNR is against the sources. Formulas: dreamif_model/metrics/; lpips.py in that folder
names the tensors that files of --lpips hold."""

Interval = tuple[float, float] | None


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "metrics",
        help="fusion metrics of fused images in a folder",
        description="Metrics of fused 8-bit images against their sources, mean and 95 % interval. "
        "Files are paired by name; colour images are compared by their luma (BT.601).",
        epilog=EXAMPLES + _metric_list() + NOTES,
    )
    for option, what in (("--ir", "infrared"), ("--vi", "visible"), ("--fused", "fused")):
        parser.add_argument(
            option, type=Path, metavar="PATH", required=True, help=f"{what} image or folder, 8 bit"
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all values here")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="number of processes (default: one per core)"
    )
    add_lpips_option(parser)
    parser.add_argument(
        "--sequence",
        action="store_true",
        help="add flicker: the files, sorted by name, are frames of one video",
    )
    parser.add_argument(
        "--still",
        type=float,
        default=STILL,
        metavar="LEVELS",
        help="with --sequence: maximum change of both smoothed inputs at a still pixel, in gray "
        "levels of 255 from frame to frame (default: %(default)g)",
    )
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    _check(options)
    triples = find_triples(options.fused, options.ir, options.vi)
    scored = score_all(triples, options.jobs, options.lpips)
    rows = list(progress(scored, "image", len(triples)))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    means = {name: float(np.mean(values)) for name, values in columns.items()}
    intervals = mean_intervals(columns)
    result = _flicker(triples, options.still) if options.sequence else None
    print(_table(means, intervals, len(rows), result), end="")
    if options.json:
        report = {
            "settings": _settings(options, len(rows)),
            "metrics": {name: _entry(name, means[name], intervals[name]) for name in means},
            **({"flicker": vars(result)} if result else {}),
            "images": [
                {"name": triple.name, **row} for triple, row in zip(triples, rows, strict=True)
            ],
        }
        write_json(options.json, report)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}, expected 1 or more")
    if not 0 <= options.still <= 255:
        raise ConfigError(f"--still is {options.still:g}, expected 0 to 255 gray levels")
    if options.still != STILL and not options.sequence:
        raise ConfigError("--still goes with --sequence")
    inputs = [options.ir, options.vi, options.fused, *(options.lpips or ())]
    check_outputs({"--json": options.json}, inputs, force=options.force)


def _flicker(triples: Sequence[Triple], still: float) -> Flicker:
    frames = (read_triple(triple) for triple in triples)
    return flicker(progress(frames, "frame", len(triples)), still)


def _table(
    means: Scores, intervals: dict[str, Interval], count: int, result: Flicker | None
) -> str:
    lines = [
        f"{count} image{'' if count == 1 else 's'}",
        "metric   better      mean  95 % interval",
    ]
    lines += [_row(name, mean, intervals[name]) for name, mean in means.items()]
    if count == 1:
        lines.append("one image has no interval")
    if result:
        lines.append(_row("flicker", result.ratio, None))
        lines.append(
            f"  {result.still_share:.1%} of the pixels are still; there the fused image changes by "
            f"{result.fused_change:.3f}, the inputs by {result.input_change:.3f} gray levels "
            "a frame"
        )
    return "\n".join(lines) + "\n"


def _row(name: str, mean: float, interval: Interval) -> str:
    row = f"{name:<9}{METRICS[name].arrow:^6}{mean:>10.4f}"
    return row + (f"  {interval[0]:.4f} … {interval[1]:.4f}" if interval else "")


def _metric_list() -> str:
    lines = [
        f"  {name:<9}{metric.arrow} {metric.range:<12}{metric.meaning}"
        for name, metric in METRICS.items()
    ]
    return "\n".join(["metrics, their better direction and range:", *lines, ""])


def _settings(options: argparse.Namespace, count: int) -> dict[str, Any]:
    return {
        "infrared": str(options.ir),
        "visible": str(options.vi),
        "fused": str(options.fused),
        "images": count,
        "lpips": None if options.lpips is None else [str(path) for path in options.lpips],
        "interval": {"percent": 95, "bootstrap_resamples": RESAMPLES, "seed": 0},
        "still_gray_levels": options.still if options.sequence else None,
    }


def _entry(name: str, mean: float, interval: Interval) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "better": "higher" if metric.higher_is_better else "lower",
        "range": [metric.minimum, metric.maximum],
        "mean": mean,
        "interval": interval,
    }
