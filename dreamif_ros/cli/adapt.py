"""``dreamif adapt``: fine-tune a variant on recordings of one's own cameras."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.cameras import Both
from dreamif_model.comparison import OWN_CLEAN
from dreamif_model.device import cuda_is_here
from dreamif_model.training.fine_tuning import LOSS, METRICS, PACKAGED, Figures
from dreamif_model.training.run import CHECKPOINT
from dreamif_model.training.train_config import check_setting
from dreamif_ros.adaptation import (
    MIN_PAIRS,
    STATE,
    Footage,
    RecordedSet,
    adapt,
    publish,
    training_folder,
    written_pairs,
)
from dreamif_ros.cli.camera_options import (
    add_pairing_options,
    add_thermal_options,
    pairing_options,
    thermal_config,
)
from dreamif_ros.cli.model_options import add_variant_option
from dreamif_ros.cli.options import (
    add_force_option,
    add_topic_options,
    check_files,
    check_outputs,
    make_folder,
)
from dreamif_ros.cli.progress import progress
from dreamif_ros.cli.table import text_table
from dreamif_ros.evaluation.fleet import name_bags

CPU_MINUTES, GPU_MINUTES = 60.0, 10.0
SETTINGS = ("minutes", "steps", "learning_rate")
COLUMNS = (LOSS, *METRICS, OWN_CLEAN)

EXAMPLES = """examples (each resumes from the checkpoint in its folder, if there is one):
  dreamif adapt drive.mcap --out mine.safetensors
  dreamif adapt monday.mcap tuesday.mcap --calibration calibration.yaml --out mine.safetensors
  dreamif adapt drive.mcap --variant tiny --minutes 240 --keep-pairs pairs --out mine.safetensors
then: dreamif bag evaluate drive.mcap --weights mine.safetensors --out evaluation"""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "adapt",
        help="fine-tune a variant on recordings of your own cameras",
        description="Fine-tune packaged weights on recordings of one pair of cameras. The images "
        "are paired, normalized and registered as the node would; the last tenth of each "
        "recording's pairs is held out. FILE is written if the loss on these pairs, clean and "
        "noisy together, is lower than that of the packaged weights; otherwise the exit status is "
        "1. Checkpoints and log are in a folder beside it: FILE_training, without the suffix. A "
        "second call resumes there.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "bag", type=Path, nargs="+", metavar="BAG", help="rosbag2 folder, .mcap or .db3 file"
    )
    add_topic_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", required=True, help="weights to write, .safetensors"
    )
    add_force_option(parser)
    add_variant_option(parser, PACKAGED)
    _add_training_options(parser)
    add_pairing_options(parser)
    add_thermal_options(parser)
    parser.set_defaults(run=run)


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pairs",
        type=int,
        default=400,
        metavar="N",
        help="pairs to take in all, equally many of each bag, spread evenly; at least "
        f"{MIN_PAIRS} of each (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="maximum duration of the training, over which the learning rate falls "
        f"(default: {CPU_MINUTES:g}, with a GPU {GPU_MINUTES:g}; 0: no maximum)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=20_000,
        help="maximum number of steps (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=3e-4,
        metavar="RATE",
        help="maximum learning rate (default: %(default)g)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    parser.add_argument(
        "--keep-pairs",
        type=Path,
        metavar="DIR",
        help="keep the pairs that were trained on in this folder, which must be new",
    )


def run(options: argparse.Namespace) -> int:
    """Fine-tune, print the comparison, and write the weights where they are better."""
    if options.minutes is None:
        options.minutes = GPU_MINUTES if cuda_is_here() else CPU_MINUTES
    for name in SETTINGS:
        check_setting(name, f"--{name.replace('_', '-')}", getattr(options, name))
    footage = Footage(
        name_bags(options.bag),
        Both(options.ir, options.vi),
        pairing_options(options),
        options.calibration,
        thermal_config(options),
        options.pairs,
    )
    _check_outputs(options)
    with written_pairs(footage, options.out, options.keep_pairs, progress) as sets:
        for one in sets:
            _print(one)
        weights, figures = adapt(
            sets,
            options.variant,
            options.out,
            command=f"dreamif {shlex.join(sys.argv[1:])}",
            threads=options.threads,
            **{name: getattr(options, name) for name in SETTINGS},
        )
    print(_table(figures), end="")
    publish(weights, figures, options.out)
    print(f"weights: {options.out}")
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    out, kept = options.out, options.keep_pairs
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}, expected a name that ends in .safetensors")
    inputs = [*options.bag, options.calibration]
    check_outputs({"--out": out}, inputs, force=options.force)
    folder = training_folder(out)
    files = [folder / f"{options.variant}{suffix}" for suffix in (".safetensors", ".json")]
    files += [out.with_suffix(".json"), folder / STATE]
    resumed = (folder / CHECKPOINT).exists()  # it is read first, and refused where it is none
    check_files(files if resumed else [*files, folder / CHECKPOINT], inputs, force=options.force)
    if kept and kept.exists():
        raise ConfigError(f"--keep-pairs {kept} exists already: name a new folder")
    if kept:
        make_folder("--keep-pairs", kept.parent)


def _print(one: RecordedSet) -> None:
    for fault in one.faults:
        print(f"fault of {one.name}: {fault}")
    width, height = one.size
    print(
        f"{one.name}: {one.written} of {one.pairs} pairs, {width}x{height}, "
        f"the last {one.held_out} held out",
        flush=True,
    )


def _table(figures: Figures) -> str:
    """Means over the held-out pairs; a dash where a condition has no such figure."""
    rows = [
        [f"{condition}, {name}"]
        + [f"{means[column]:.4f}" if column in means else "-" for column in COLUMNS]
        for condition, weights in figures.items()
        for name, means in weights.items()
    ]
    return text_table(["held-out pairs", *COLUMNS], rows)
