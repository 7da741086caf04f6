"""``dreamif train``: pairs in, weights out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from dreamif_model.training.data import LAYOUTS, DataSet
from dreamif_model.training.run import train
from dreamif_model.training.train_config import TrainConfig, check_setting
from dreamif_model.variants import SWITCHES
from dreamif_ros.cli.options import make_folder

EXAMPLES = """examples (each goes on from the checkpoint in its --out, if there is one):
  dreamif train --config config/train/nano.yaml --data-root datasets --out out/train/nano

  # on full data sets, MSRS drawn twice as often as LLVIP
  dreamif train --config config/train/tiny.yaml --data LLVIP --data MSRS=2 --out out/train/tiny

  # two GPUs (or machines: see torchrun's help), each with half of every batch
  torchrun --standalone --nproc-per-node 2 -m dreamif_ros.cli train \\
      --config config/train/tiny.yaml --data LLVIP --out out/train/tiny"""

DATA_HELP = """folder of pairs, drawn WEIGHT times as often as one of weight 1, instead of the
config's data; repeatable. Recognized layouts: """ + "; ".join(
    f"{name} ({infrared}, {visible})" for name, ((infrared, visible), _) in LAYOUTS.items()
)


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "train",
        help="train a variant on folders of pairs",
        description="Train a variant. Leaves checkpoint.pt, log.jsonl, pictures/, tensorboard/, "
        "<variant>.safetensors and <variant>.json (how it was made) in --out; a second call goes "
        "on where the first stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML file, see config/train/nano.yaml"
    )
    parser.add_argument(
        "--data-root", type=Path, help="where its data paths start (default: its own folder)"
    )
    parser.add_argument(
        "--data", type=_data_set, action="append", metavar="FOLDER[=WEIGHT]", help=DATA_HELP
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, help="instead of the config's number of steps")
    parser.add_argument(
        "--minutes",
        type=float,
        help="end after so long, the learning rate run down by then, or after the steps",
    )
    parser.add_argument("--seed", type=int, help="instead of the config's seed")
    parser.add_argument(
        "--initial-weights", metavar="FILE", help="start from these, to fine-tune on other data"
    )
    parser.add_argument(
        "--without",
        choices=SWITCHES,
        action="append",
        help="ablation: leave this part of the network out; repeatable",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and say where the weights are."""
    names = ("steps", "minutes", "seed", "initial_weights", "data", "without")
    given = {name: getattr(options, name) for name in names}
    overrides = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    for name in ("steps", "minutes", "seed"):
        if name in overrides:
            check_setting(name, f"--{name}", overrides[name])
    config = TrainConfig.load(options.config, options.data_root, **overrides)
    make_folder("--out", options.out)
    command = f"dreamif {shlex.join(sys.argv[1:])}"
    weights = train(config, options.out, threads=options.threads, command=command)
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        print(f"weights: {weights}")
    return 0


def _data_set(text: str) -> DataSet:
    folder, _, weight = text.partition("=")
    try:
        number = float(weight or 1)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"the weight of {folder} must be above 0, got {weight!r}")
    return DataSet(Path(folder), number)
