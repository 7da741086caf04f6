"""``dreamif train``: train a variant on folders of pairs."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from dreamif_model.errors import ConfigError
from dreamif_model.training.data import LAYOUTS, DataSet
from dreamif_model.training.run import CHECKPOINT, train
from dreamif_model.training.train_config import TrainConfig, check_setting
from dreamif_model.variants import SWITCHES
from dreamif_ros.cli.options import add_force_option, check_files, make_folder

EXAMPLES = """examples (each resumes from the checkpoint in its --out, if there is one):
  dreamif train --config config/train/nano.yaml --data-root datasets --out out/train/nano

  # whole data sets; MSRS is drawn twice as often as LLVIP
  dreamif train --config config/train/tiny.yaml --data LLVIP --data MSRS=2 --out out/train/tiny

  # two GPUs (or machines: see torchrun's help), each with half of every batch
  torchrun --standalone --nproc-per-node 2 -m dreamif_ros.cli train \\
      --config config/train/tiny.yaml --data LLVIP --out out/train/tiny"""

DATA_HELP = """folder of pairs to use instead of the config's data, drawn WEIGHT times as often as a
folder of weight 1; may be given several times. Known layouts: """ + "; ".join(
    f"{name} ({infrared}, {visible})" for name, ((infrared, visible), _) in LAYOUTS.items()
)


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "train",
        help="train a variant on folders of pairs",
        description="Train a variant. Writes checkpoint.pt, log.jsonl, pictures/, tensorboard/, "
        "<variant>.safetensors and <variant>.json (how it was trained) to --out; a second call "
        "resumes where the first stopped.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML file, such as config/train/nano.yaml"
    )
    parser.add_argument(
        "--data-root", type=Path, help="folder of the config's data paths (default: its own)"
    )
    parser.add_argument(
        "--data", type=_data_set, action="append", metavar="FOLDER[=WEIGHT]", help=DATA_HELP
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--steps", type=int, help="number of steps, instead of the config's")
    parser.add_argument(
        "--minutes",
        type=float,
        help="maximum duration; the learning rate falls to its end by then",
    )
    parser.add_argument("--seed", type=int, help="seed, instead of the config's")
    parser.add_argument(
        "--initial-weights", metavar="FILE", help="weights to start from, to fine-tune them"
    )
    parser.add_argument(
        "--without",
        choices=SWITCHES,
        action="append",
        help="ablation: leave out this part of the network; may be given several times",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
    _check_data(config)
    _check_outputs(options, config)
    make_folder("--out", options.out)
    command = f"dreamif {shlex.join(sys.argv[1:])}"
    weights = train(config, options.out, threads=options.threads, command=command)
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        print(f"weights: {weights}")
    return 0


def _check_data(config: TrainConfig) -> None:
    """ConfigError where a folder of pairs is missing, before anything is written."""
    for data in config.data:
        if not data.path.is_dir():
            raise ConfigError(
                f"there is no folder {data.path} of training pairs: name the folder that holds the "
                "config's sets with --data-root, or your own pairs with --data"
            )


def _check_outputs(options: argparse.Namespace, config: TrainConfig) -> None:
    weights = options.out / f"{config.variant}.safetensors"
    files = [weights, weights.with_suffix(".json"), options.out / CHECKPOINT]
    teacher = config.teacher.weights if config.teacher else ""
    inputs = [options.config, *map(Path, filter(None, (config.initial_weights, teacher)))]
    resumed = files[2].exists()  # it is read first, and refused where it is no checkpoint
    check_files(files, inputs, force=options.force or resumed)


def _data_set(text: str) -> DataSet:
    folder, _, weight = text.partition("=")
    try:
        number = float(weight or 1)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"the weight of {folder} must be above 0, got {weight!r}")
    return DataSet(Path(folder), number)
