"""``dreamif evaluate``: a variant beside the baselines, in numbers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.data import find_pairs
from dreamif_model.evaluation import BASELINES, Scores, compare, network_method
from dreamif_ros.cli.fuse import add_degrade_options, add_model_options, parse_degrade_options

EXAMPLES = """examples:
  dreamif evaluate --ir pairs/ir --vi pairs/vi
  dreamif evaluate --ir pairs/ir --vi pairs/vi --every 8 --degrade gaussian:25 --json scores.json

AG, SF, Qabf, SSIM, VIFF of the fused luma against the clean sources; higher is better, but AG
and SF also reward noise. Definitions: dreamif_model/metrics.py."""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "evaluate",
        help="fusion metrics of a variant and of the baselines",
        description="Fuse 8-bit pairs of one size each and print mean metrics.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ir", type=Path, required=True, help="infrared image or folder")
    parser.add_argument("--vi", type=Path, required=True, help="visible image or folder")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="only the 1st, N+1st, … pair; 8 is the validation split of `dreamif train`",
    )
    add_degrade_options(parser)
    add_model_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one row per method."""
    if options.every < 1:
        raise ConfigError(f"--every is {options.every}, expected 1 or more")
    pairs = find_pairs(options.ir, options.vi)[:: options.every]
    spec, seed = parse_degrade_options(options)
    pipeline = FusionPipeline(options.variant, options.device, options.weights)
    methods = BASELINES | {options.variant: network_method(pipeline)}
    scores = compare(tqdm(pairs, unit="pair", disable=None), methods, spec, seed)
    print(f"{len(pairs)} pairs, {' '.join(options.degrade) or 'clean'}")
    print(_table(scores), end="")
    if options.json:
        options.json.write_text(json.dumps(scores, indent=2) + "\n")
    return 0


def _table(scores: Scores) -> str:
    metrics = list(next(iter(scores.values())))
    lines = [f"{'':<10}" + "".join(f"{metric:>9}" for metric in metrics)]
    for name, row in scores.items():
        lines.append(f"{name:<10}" + "".join(f"{row[metric]:>9.3f}" for metric in metrics))
    return "\n".join(lines) + "\n"
