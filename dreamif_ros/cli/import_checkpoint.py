"""``dreamif import-checkpoint``: convert a checkpoint of the authors' released code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dreamif_model.model_files.released_checkpoint import VARIANT, import_checkpoint
from dreamif_ros.cli.options import add_force_option, check_files

EXAMPLES = f"""example:
  dreamif import-checkpoint best_checkpoint.pth --out released.safetensors
  dreamif fuse --variant {VARIANT} --weights released.safetensors --ir ir --vi vi --out fused

docs/import-checkpoint.md says how the release differs from the paper."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "import-checkpoint",
        help="convert a checkpoint of the authors' released code",
        description="Convert a checkpoint of the authors' released code to weights of variant "
        f"{VARIANT}. No code in the file is run; a file with other tensors is refused.",
        epilog=EXAMPLES,
    )
    parser.add_argument("checkpoint", type=Path, help=".pth that the release's train.py saved")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="new safetensors file to write"
    )
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    check_files([options.out], [options.checkpoint], force=True)
    report = import_checkpoint(options.checkpoint, options.out, replace=options.force)
    print(f"{report.imported} tensors imported")
    if report.dropped:
        modules = ", ".join(report.dropped_modules)
        print(f"{report.dropped} tensors dropped, which the release never uses: {modules}")
    print(f"weights: {options.out}, for --variant {VARIANT}")
    return 0
