"""``dreamif summary``: parameters, arithmetic and weights of each variant."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamif_model import VARIANTS
from dreamif_model.benchmark.complexity import complexity
from dreamif_model.variants import AVERAGE, WEIGHTS_FOLDER
from dreamif_ros.cli.model_options import add_variants_option
from dreamif_ros.cli.options import add_force_option, check_outputs
from dreamif_ros.cli.table import markdown_table, parse_size, text_table
from dreamif_ros.json_file import write_json

EXAMPLES = """examples:
  dreamif summary
  dreamif summary --variant nano --size 1280x1024 --json nano.json"""


@dataclass(frozen=True)
class _VariantRow:
    variant: str
    parameters: int
    width: int
    height: int
    gmac: float
    weights_bytes: int | None  # of the file in the package; null where there is none


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "summary",
        help="parameters and multiply-accumulates per variant",
        description="Print parameters, GMAC per frame (10^9 multiply-accumulates of convolutions "
        "and matrix products, half of the operations that torch counts), and the weights in the "
        "package. Counted from the shapes: nothing is computed.",
        epilog=EXAMPLES,
    )
    add_variants_option(parser, "all")
    parser.add_argument(
        "--size", default="640x480", metavar="WxH", help="pixels (default: %(default)s)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one row per variant."""
    check_outputs({"--json": options.json}, (), force=options.force)
    width, height = parse_size(options.size)
    rows = [_row(variant, width, height) for variant in options.variant or VARIANTS]
    header = ("variant", "parameters", f"GMAC at {width}x{height}", "weights")
    table = markdown_table if options.markdown else text_table
    print(table(header, [_texts(row) for row in rows]), end="")
    if options.json:
        write_json(options.json, rows)
    return 0


def _row(variant: str, width: int, height: int) -> _VariantRow:
    cost = complexity(variant, width, height)
    weights = WEIGHTS_FOLDER / f"{variant}.safetensors"
    size = weights.stat().st_size if weights.is_file() else None
    return _VariantRow(variant, cost.parameters, width, height, cost.macs / 1e9, size)


def _texts(row: _VariantRow) -> tuple[str, ...]:
    weights = "none in the package"
    if row.variant == AVERAGE:
        weights = "not needed"
    elif row.weights_bytes is not None:
        weights = f"{row.weights_bytes / 1e6:.1f} MB"
    return row.variant, f"{row.parameters:,}", f"{row.gmac:.2f}", weights
