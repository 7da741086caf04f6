"""``dreamif train``: pairs in, weights out."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from dreamif_model.training import TrainConfig, train

EXAMPLES = """example (goes on from the checkpoint in out/train/nano, if there is one):
  dreamif train --config config/train/nano.yaml --data-root ../shared/data/pairs \\
      --out out/train/nano"""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "train",
        help="train a variant on folders of pairs",
        description="Train a variant. Leaves checkpoint.pt, log.jsonl, <variant>.safetensors "
        "and <variant>.json (how it was made) in --out; a second call goes on where the first "
        "stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML file, see config/train/nano.yaml"
    )
    parser.add_argument(
        "--data-root", type=Path, help="where its data paths start (default: its own folder)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, help="instead of the config's number of steps")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and say where the weights are."""
    overrides = {} if options.steps is None else {"steps": options.steps}
    config = TrainConfig.load(options.config, options.data_root, **overrides)
    command = f"dreamif {shlex.join(sys.argv[1:])}"
    weights = train(config, options.out, threads=options.threads, command=command)
    print(f"weights: {weights}")
    return 0
