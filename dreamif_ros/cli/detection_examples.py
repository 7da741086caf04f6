"""The examples of ``dreamif evaluate-detection``: image files, or the simulated street."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dreamif_model import ConfigError
from dreamif_model.image_files import find_pairs
from dreamif_ros.cli.fuse import add_sequence_option, thermal_config
from dreamif_ros.cli.table import parse_size
from dreamif_ros.detection.annotations import read_labels, read_names
from dreamif_ros.detection.examples import (
    SCENE_CLASSES,
    SCENE_STEP_S,
    Example,
    file_examples,
    scene_examples,
)
from dreamif_ros.scene import SceneConfig

MAX_FRAMES = 100_000
# Options of one source of examples, and their defaults.
OF_FILES = {
    **{"ir": None, "vi": None, "every": 1, "sequence": False},
    **{"labels": None, "names": None, "sure": None},
}
OF_SCENE = {"scene_seed": None, "scene_size": "640x480"}


@dataclass(frozen=True)
class Examples:
    """The examples and what is known of them."""

    examples: Iterator[Example]
    count: int
    classes: tuple[str, ...] | None  # that the labels name; None without labels
    notes: tuple[str, ...] = ()


def add_example_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ir", type=Path, metavar="PATH", help="infrared image or folder")
    parser.add_argument("--vi", type=Path, metavar="PATH", help="visible image or folder, 8 bit")
    parser.add_argument(
        "--every",
        type=int,
        default=OF_FILES["every"],
        metavar="N",
        help="use the 1st, N+1st, … pair only",
    )
    add_sequence_option(parser)
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="labels with the names of the visible images: YOLO text or Pascal VOC XML (as of "
        "LLVIP); an image without a file has no objects",
    )
    parser.add_argument(
        "--names",
        metavar="LIST|FILE",
        help="class names of YOLO labels: person,car, or a classes.txt or data.yaml (default: such "
        "a file beside the labels or up to two folders above)",
    )
    parser.add_argument(
        "--sure",
        type=float,
        nargs="?",
        const=0.5,
        metavar="C",
        help="without labels: the objects are those that the detector gives with this confidence "
        "in the clean image of either camera (0.5 if not given)",
    )
    parser.add_argument(
        "--scene",
        type=int,
        nargs="?",
        const=24,
        metavar="FRAMES",
        help="use the simulated street at night, which has labels: this many frames of each seed, "
        f"{SCENE_STEP_S:g} s apart (24 if not given)",
    )
    parser.add_argument(
        "--scene-seed",
        type=int,
        action="append",
        metavar="N",
        help="seed of the street; may be given several times (default: 0)",
    )
    parser.add_argument(
        "--scene-size",
        default=OF_SCENE["scene_size"],
        metavar="WxH",
        help="size of its images in pixels (default: %(default)s)",
    )


def find_examples(options: argparse.Namespace) -> Examples:
    _refuse_those_of_the_other_source(options)
    if options.scene is None:
        return _file_source(options)
    seeds = list(dict.fromkeys(options.scene_seed or [0]))
    if not 1 <= options.scene <= MAX_FRAMES:
        raise ConfigError(f"--scene is {options.scene} frames, expected 1 to {MAX_FRAMES}")
    if min(seeds) < 0:
        raise ConfigError(f"--scene-seed is {min(seeds)}, expected 0 or more")
    size = parse_size(options.scene_size, "--scene-size")
    try:
        SceneConfig(visible_size=size, infrared_size=size)
    except ValueError as error:
        raise ConfigError(f"--scene-size {options.scene_size}: {error}") from None
    examples = scene_examples(options.scene, seeds, size)
    return Examples(examples, options.scene * len(seeds), SCENE_CLASSES)


def _file_source(options: argparse.Namespace) -> Examples:
    if not (options.ir and options.vi):
        raise ConfigError("give --ir and --vi, or --scene")
    if options.names and not options.labels:
        raise ConfigError("--names goes with --labels")
    if options.labels and options.sure is not None:
        raise ConfigError("--sure takes the place of --labels: give one of them")
    pairs = find_pairs(options.ir, options.vi)
    chosen, thermal = pairs[:: options.every], thermal_config(options)
    if not options.labels:
        return Examples(file_examples(chosen, None, thermal), len(chosen), None)
    labels = read_labels(options.labels, [pair.stem for pair in pairs], _names(options.names))
    notes = [f"{labels.layout} labels of {len(labels.by_stem)} images"]
    if labels.missing:
        notes.append(f"{labels.missing} of {len(pairs)} images have no label file: no objects")
    if labels.unused:
        notes.append(f"{labels.unused} label files have no image: left out")
    marks = (mark for pair in chosen for mark in labels.of(pair.stem).marks)
    classes = tuple(sorted({mark.name for mark in marks}))
    return Examples(file_examples(chosen, labels, thermal), len(chosen), classes, tuple(notes))


def _names(text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    path = Path(text)
    names = read_names(path) if path.is_file() else tuple(n.strip() for n in text.split(","))
    if not names or not all(names):
        raise ConfigError(f"--names {text!r}: expected a file or names such as person,car")
    return names


def _refuse_those_of_the_other_source(options: argparse.Namespace) -> None:
    of_others, why = (
        (OF_SCENE, "goes with --scene")
        if options.scene is None
        else (OF_FILES, "and --scene exclude each other")
    )
    for name, default in of_others.items():
        if getattr(options, name) != default:
            raise ConfigError(f"--{name.replace('_', '-')} {why}")
