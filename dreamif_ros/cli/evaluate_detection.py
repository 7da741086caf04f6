"""``dreamif evaluate-detection``: one detector over both cameras, simple mixes and fused images."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dreamif_model import VARIANTS, ConfigError, FusionPipeline
from dreamif_model.checkpoints import variant_of
from dreamif_model.data import find_pairs, write_image
from dreamif_model.registration.file import read_calibration
from dreamif_model.variants import AVERAGE
from dreamif_ros.cli.evaluate import add_condition_options, parse_conditions
from dreamif_ros.cli.fuse import add_calibration_option, add_sequence_option, thermal_config
from dreamif_ros.cli.options import check_writable
from dreamif_ros.cli.table import markdown_table, parse_size, text_table
from dreamif_ros.detection.annotations import read_labels, read_names
from dreamif_ros.detection.dataset import write_datasets
from dreamif_ros.detection.detector import Detector, DetectorConfig
from dreamif_ros.detection.examples import (
    SCENE_CLASSES,
    SCENE_STEP_S,
    Example,
    detect_all,
    file_examples,
    scene_examples,
)
from dreamif_ros.detection.judging import MIN_CONFIDENCE, match_classes, some_names
from dreamif_ros.detection.result_tables import FiguresByMethod, Results, table_of
from dreamif_ros.json_file import write_json
from dreamif_ros.scene import SceneConfig

MOST_FRAMES = 100_000
SETTINGS = (  # that the figures depend on
    *("model", "image_size", "classes", "map", "confidence"),
    *("ir", "vi", "every", "sequence", "labels", "names", "scene", "scene_seed", "scene_size"),
    *("calibration", "seed"),
)
# Options of one source of examples, and their defaults.
OF_FILES = {"ir": None, "vi": None, "every": 1, "sequence": False, "labels": None, "names": None}
OF_SCENE = {"scene_seed": None, "scene_size": "640x480"}

EXAMPLES = """examples:
  dreamif evaluate-detection --model yolo11n_openvino_model --scene
  dreamif evaluate-detection --model yolo11n_openvino_model --scene 48 --scene-seed 0 \\
      --scene-seed 1 --class person --degrade visible=gaussian:35 --picture sheet.jpg
  dreamif evaluate-detection --model best.onnx --ir LLVIP/infrared/test --vi LLVIP/visible/test \\
      --labels LLVIP/Annotations --variant nano --variant tiny --json report.json
  dreamif evaluate-detection --model yolo11n_openvino_model --ir thermal --vi color  # no labels

  # data sets to train a detector of each method's own
  dreamif evaluate-detection --scene 200 --write-dataset data
  yolo detect train data=data/fused_nano/data.yaml model=yolo11n.yaml

One table a condition. precision, recall: mean of the classes at IoU 0.5 and at the confidence of
the greatest mean F1, which is each row's own, as `yolo detect val` prints them. mAP: of all boxes
of confidence 0.001 or more. found: share of the objects that a box of their class, of --confidence
or more, covers with IoU 0.5 or more; found dark: of those that the visible camera hardly sees.
The scene is always at night. Without labels: how many boxes of --confidence or more, in how many
images, and their mean confidence; more is not better where nobody knows what is there."""


@dataclass(frozen=True)
class _Source:
    """Where the examples come from."""

    examples: Iterator[Example]
    count: int
    classes: tuple[str, ...] | None  # of the truth; None without
    notes: tuple[str, ...] = ()


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "evaluate-detection",
        help="one detector over visible, infrared, average, max and fused images",
        description="Does fusion help a detector? Run one detector over both cameras, simple mixes "
        "and fused images: recall and mAP where labels tell what is there, counts and confidences "
        "where they do not.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_source_options(parser)
    _add_detector_options(parser)
    _add_fusion_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw one example's boxes, a column per method and a row per condition",
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument(
        "--write-dataset",
        type=Path,
        metavar="DIR",
        help="instead of detecting, write images and labels as one YOLO data set per method; "
        "every eighth example is for validation",
    )
    parser.set_defaults(run=run)


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ir", type=Path, metavar="PATH", help="infrared image or folder")
    parser.add_argument("--vi", type=Path, metavar="PATH", help="visible image or folder, 8 bit")
    parser.add_argument(
        "--every",
        type=int,
        default=OF_FILES["every"],
        metavar="N",
        help="only the 1st, N+1st, … pair",
    )
    add_sequence_option(parser)
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="of the visible images, by their names: YOLO text or Pascal VOC XML (LLVIP's); an "
        "image without a file has no objects",
    )
    parser.add_argument(
        "--names",
        metavar="LIST|FILE",
        help="class names of YOLO labels: person,car, or a classes.txt or data.yaml (default: one "
        "beside the labels or up to two folders above)",
    )
    parser.add_argument(
        "--scene",
        type=int,
        nargs="?",
        const=24,
        metavar="FRAMES",
        help=f"the simulated street at night instead, whose truth is known: so many frames of each "
        f"seed, {SCENE_STEP_S:g} s apart (24 if not given)",
    )
    parser.add_argument(
        "--scene-seed",
        type=int,
        action="append",
        metavar="N",
        help="of the street; repeatable (default: 0)",
    )
    parser.add_argument(
        "--scene-size",
        default=OF_SCENE["scene_size"],
        metavar="WxH",
        help="in pixels (default: %(default)s)",
    )


def _add_detector_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="detector: any file or folder that ultralytics loads (.pt, .onnx, OpenVINO folder, …)",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.25,
        metavar="C",
        help="least of `found` and of the counts, and of the boxes drawn (default: %(default)g)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=0,
        metavar="PX",
        help="longer side that the detector sees (default: 0, the model's own)",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="judge or count only this class of the detector; repeatable",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="LABEL=DETECTOR",
        help="a class that the labels name otherwise, such as pedestrian=person; repeatable",
    )


def _add_fusion_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variant",
        action="append",
        choices=VARIANTS,
        help="packaged weights to fuse with; repeatable (default: nano, unless --weights is given)",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[LABEL=]FILE",
        help="safetensors file to fuse with; repeatable",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="of the fusion and of the detector: auto, cpu, cuda or cuda:N (default: auto)",
    )
    add_calibration_option(parser)
    add_condition_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print one table per condition, or write the data sets."""
    _check(options)
    conditions = parse_conditions(options.degrade)
    renamed = dict(_renaming(text) for text in options.map)
    source = _source(options)
    for note in source.notes:
        print(note)
    if options.write_dataset:
        return _write(source, options)
    detector = _detector(options, judged=source.classes is not None)
    classes: dict[str, int] = {}
    if source.classes is not None:
        chosen = tuple(options.classes)
        classes, others = match_classes(source.classes, detector.names, renamed, chosen)
        if others:
            print(f"not judged: {', '.join(others)}")
    fusions, aligner = _fusions(options)
    bar = tqdm(source.examples, total=source.count, unit="example", disable=None)
    results = Results(source.count // 2, detector.names, options.confidence)
    for found in detect_all(bar, conditions, fusions, aligner, detector, options.seed):
        results.add(found, draw=options.picture is not None)
    figures = results.figures(classes)
    table = markdown_table if options.markdown else text_table
    for condition, rows in figures.items():
        print(f"\n{condition}, {source.count} image{'s' if source.count > 1 else ''}\n")
        print(table(*table_of(rows, options.confidence)), end="")
    if options.picture:
        write_image(options.picture, results.sheet())
        print(f"\nboxes of {results.shown} are in {options.picture}")
    if options.json:
        report = _report(options, source.count, classes, figures)
        write_json(options.json, report)
    return 0


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.seed < 2**31:
        raise ConfigError(f"--seed is {options.seed}, expected 0 to 2^31 - 1")
    if options.every < 1:
        raise ConfigError(f"--every is {options.every}, expected 1 or more")
    if not MIN_CONFIDENCE <= options.confidence < 1:
        raise ConfigError(
            f"--confidence is {options.confidence:g}, expected {MIN_CONFIDENCE:g} to below 1"
        )
    if bool(options.model) == bool(options.write_dataset):
        raise ConfigError("give --model FILE to detect with, or --write-dataset DIR instead")
    check_writable("--json", options.json)
    check_writable("--picture", options.picture)
    if options.write_dataset:
        given = [name for name in ("json", "picture", "degrade", "map") if getattr(options, name)]
        if given:
            raise ConfigError(f"--{given[0]} goes with --model, not with --write-dataset")


def _renaming(text: str) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not (label and equals and name):
        raise ConfigError(f"--map {text!r}: expected LABEL=DETECTOR, such as pedestrian=person")
    return label, name


def _refuse_those_of_the_other_source(options: argparse.Namespace) -> None:
    of_others, why = (
        (OF_SCENE, "goes with --scene")
        if options.scene is None
        else (OF_FILES, "and --scene exclude each other")
    )
    for name, default in of_others.items():
        if getattr(options, name) != default:
            raise ConfigError(f"--{name.replace('_', '-')} {why}")


def _source(options: argparse.Namespace) -> _Source:
    _refuse_those_of_the_other_source(options)
    if options.scene is None:
        return _file_source(options)
    seeds = list(dict.fromkeys(options.scene_seed or [0]))
    if not 1 <= options.scene <= MOST_FRAMES:
        raise ConfigError(f"--scene is {options.scene} frames, expected 1 to {MOST_FRAMES}")
    if min(seeds) < 0:
        raise ConfigError(f"--scene-seed is {min(seeds)}, expected 0 or more")
    size = parse_size(options.scene_size, "--scene-size")
    try:
        SceneConfig(visible_size=size, infrared_size=size)
    except ValueError as error:
        raise ConfigError(f"--scene-size {options.scene_size}: {error}") from None
    examples = scene_examples(options.scene, seeds, size)
    return _Source(examples, options.scene * len(seeds), SCENE_CLASSES)


def _file_source(options: argparse.Namespace) -> _Source:
    if not (options.ir and options.vi):
        raise ConfigError("give --ir and --vi, or --scene")
    if options.names and not options.labels:
        raise ConfigError("--names goes with --labels")
    pairs = find_pairs(options.ir, options.vi)
    chosen, thermal = pairs[:: options.every], thermal_config(options)
    if not options.labels:
        return _Source(file_examples(chosen, None, thermal), len(chosen), None)
    labels = read_labels(options.labels, [pair.stem for pair in pairs], _names(options.names))
    notes = [f"{labels.layout} labels of {len(labels.by_stem)} images"]
    if labels.missing:
        notes.append(f"{labels.missing} of {len(pairs)} images have no label file: no objects")
    if labels.unused:
        notes.append(f"{labels.unused} label files have no image: left out")
    marks = (mark for pair in chosen for mark in labels.of(pair.stem).marks)
    classes = tuple(sorted({mark.name for mark in marks}))
    return _Source(file_examples(chosen, labels, thermal), len(chosen), classes, tuple(notes))


def _names(text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    path = Path(text)
    names = read_names(path) if path.is_file() else tuple(n.strip() for n in text.split(","))
    if not names or not all(names):
        raise ConfigError(f"--names {text!r}: expected a file or names such as person,car")
    return names


def _detector(options: argparse.Namespace, *, judged: bool) -> Detector:
    """With truth also the boxes that nobody would show: mAP ranks them all."""
    return Detector(
        DetectorConfig(
            options.model,
            device=options.device,
            confidence=MIN_CONFIDENCE if judged else options.confidence,
            classes=tuple(options.classes),
            image_size=options.image_size,
        )
    )


def _fusions(options: argparse.Namespace) -> tuple[dict[str, FusionPipeline], FusionPipeline]:
    """The pipelines by the names of their rows, and the one that only lays infrared down."""
    registration = read_calibration(options.calibration) if options.calibration else None
    variants = options.variant or ([] if options.weights else ["nano"])
    chosen: list[tuple[str, str, str | None]] = [(variant, variant, None) for variant in variants]
    for text in options.weights:
        label, _, path = text.rpartition("=")
        chosen.append((label or Path(path).stem, variant_of(Path(path)), path))
    fusions = {
        f"fused {label}": FusionPipeline(variant, options.device, path, registration=registration)
        for label, variant, path in chosen
    }
    if len(fusions) < len(chosen):
        raise ConfigError("two of --variant and --weights have one name: --weights LABEL=FILE")
    aligner = FusionPipeline(AVERAGE, options.device, registration=registration)
    return fusions, aligner


def _write(source: _Source, options: argparse.Namespace) -> int:
    if source.classes is None:
        raise ConfigError("--write-dataset needs --labels, or --scene")
    names = tuple(name for name in source.classes if not options.classes or name in options.classes)
    unknown = [name for name in options.classes if name not in source.classes]
    if not source.classes:
        raise ConfigError("the labels hold no objects: nothing to write")
    if unknown:
        raise ConfigError(
            f"--class {' '.join(unknown)}: the labels have {some_names(source.classes)}"
        )
    fusions, aligner = _fusions(options)
    bar = tqdm(source.examples, total=source.count, unit="example", disable=None)
    folders = write_datasets(options.write_dataset, bar, names, fusions, aligner)
    for folder in folders:
        print(f"yolo detect train data={folder}/data.yaml model=yolo11n.yaml")
    return 0


def _report(
    options: argparse.Namespace,
    images: int,
    classes: Mapping[str, int],
    figures: Mapping[str, FiguresByMethod],
) -> dict[str, Any]:
    return {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "images": images,
        "judged": dict(classes),
        "results": [
            {"condition": condition, "method": method, **vars(row)}
            for condition, rows in figures.items()
            for method, row in rows.items()
        ],
    }
