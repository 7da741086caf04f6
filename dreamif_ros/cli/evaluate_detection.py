"""``dreamif evaluate-detection``: does fusion help a detector?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.image_files import write_image
from dreamif_model.model_files.checkpoints import variant_of
from dreamif_model.registration.calibration_file import read_calibration
from dreamif_model.variants import AVERAGE
from dreamif_ros.cli.detection_examples import Examples, add_example_options, find_examples
from dreamif_ros.cli.evaluate import add_condition_options, parse_conditions
from dreamif_ros.cli.fuse import add_calibration_option
from dreamif_ros.cli.model_options import (
    add_device_option,
    add_networks_options,
    chosen_variants,
    split_label,
)
from dreamif_ros.cli.options import add_force_option, check_outputs
from dreamif_ros.cli.progress import progress
from dreamif_ros.cli.table import markdown_table, text_table
from dreamif_ros.detection.dataset import write_datasets
from dreamif_ros.detection.detector import Detector, DetectorConfig
from dreamif_ros.detection.examples import detect_all
from dreamif_ros.detection.judging import MIN_CONFIDENCE, match_classes, some_names
from dreamif_ros.detection.result_tables import FiguresByMethod, Results, table_of
from dreamif_ros.json_file import write_json

SETTINGS = (  # options in the report
    *("model", "image_size", "classes", "map", "confidence"),
    *("ir", "vi", "every", "sequence", "labels", "names", "sure"),
    *("scene", "scene_seed", "scene_size", "calibration", "seed"),
)

EXAMPLES = """examples:
  dreamif evaluate-detection --model yolo11n_openvino_model --scene
  dreamif evaluate-detection --model yolo11n_openvino_model --scene 48 --scene-seed 0 \\
      --scene-seed 1 --class person --degrade visible=gaussian:35 --picture sheet.jpg
  dreamif evaluate-detection --model best.onnx --ir LLVIP/infrared/test --vi LLVIP/visible/test \\
      --labels LLVIP/Annotations --variant nano --variant tiny --json report.json
  dreamif evaluate-detection --model yolo11n_openvino_model --ir thermal --vi color  # no labels
  dreamif evaluate-detection --model yolo11n_openvino_model --ir thermal --vi color --sure

  # data sets to train a detector of each method's own
  dreamif evaluate-detection --scene 200 --write-dataset data
  yolo detect train data=data/detection_nano/data.yaml model=yolo11n.yaml

Each condition has a table. precision, recall: mean over the classes at IoU 0.5, at the confidence
with the maximum mean F1 of that row, as `yolo detect val` prints them. mAP: of all boxes with
confidence 0.001 or more. found: share of the objects that a box of their class with --confidence or
more covers with IoU 0.5 or more; found dark: the same for objects that the visible camera hardly
sees. The scene is always at night. Without labels: the number of boxes with --confidence or more,
of images with such boxes, and their mean confidence; more boxes need not be better. --sure judges
without labels: by what the detector is sure of in either camera's image."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate-detection",
        help="compare a detector on visible, infrared, average, max and fused images",
        description="Does fusion help a detector? Run one detector on the images of both cameras, "
        "on simple mixes, on fused images (rows `fused`) and on the detection images that the "
        "fusion node makes for detectors (rows `detection`). With labels it prints recall and mAP, "
        "without them counts and confidences.",
        epilog=EXAMPLES,
    )
    add_example_options(parser)
    _add_detector_options(parser)
    _add_fusion_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw the boxes of one example, a column per method and a row per condition",
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument(
        "--write-dataset",
        type=Path,
        metavar="DIR",
        help="do not detect, but write images and labels as one YOLO data set per method; every "
        "eighth example is for validation",
    )
    add_force_option(parser)
    parser.set_defaults(run=run)


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
        help="minimum confidence for `found`, counts and drawn boxes (default: %(default)g)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=0,
        metavar="PX",
        help="longer side of the detector's input in pixels (default: 0, the model's own)",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="judge or count this class of the detector only; may be given several times",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="LABEL=DETECTOR",
        help="the detector's name of a class in the labels, such as pedestrian=person; may be "
        "given several times",
    )


def _add_fusion_options(parser: argparse.ArgumentParser) -> None:
    add_networks_options(parser)
    add_device_option(parser)
    add_calibration_option(parser)
    add_condition_options(parser)


def run(options: argparse.Namespace) -> int:
    _check(options)
    conditions = parse_conditions(options.degrade)
    renamed = dict(_renaming(text) for text in options.map)
    source = find_examples(options)
    for note in source.notes:
        print(note)
    if options.write_dataset:
        return _write(source, options)
    detector = _detector(options, judged=source.classes is not None or options.sure is not None)
    classes: dict[str, int] = {}
    if options.sure is not None:
        numbers = {name: number for number, name in detector.names.items()}
        classes, _ = match_classes(numbers, detector.names, {}, tuple(options.classes))
    elif source.classes is not None:
        chosen = tuple(options.classes)
        classes, others = match_classes(source.classes, detector.names, renamed, chosen)
        if others:
            print(f"not judged: {', '.join(others)}")
    fusions, aligner = _fusions(options)
    bar = progress(source.examples, "example", source.count)
    results = Results(source.count // 2, detector.names, options.confidence)
    judged = detect_all(bar, conditions, fusions, aligner, detector, options.seed, options.sure)
    for found in judged:
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
    if options.sure is not None and not MIN_CONFIDENCE <= options.sure < 1:
        raise ConfigError(f"--sure is {options.sure:g}, expected {MIN_CONFIDENCE:g} to below 1")
    if options.map and not (options.labels or options.scene):
        raise ConfigError("--map goes with --labels")
    if bool(options.model) == bool(options.write_dataset):
        raise ConfigError("give --model FILE to detect with, or --write-dataset DIR instead")
    inputs = [options.ir, options.vi, options.labels, options.calibration]
    inputs += [Path(name) for name in (options.model, options.names) if name]
    inputs += [path for _, path in map(split_label, options.weights)]
    outputs = {"--json": options.json, "--picture": options.picture}
    check_outputs(outputs, inputs, force=options.force)
    if options.write_dataset:
        for name in ("json", "picture", "degrade", "map", "sure"):
            if getattr(options, name):
                raise ConfigError(f"--{name} goes with --model, not with --write-dataset")


def _renaming(text: str) -> tuple[str, str]:
    label, equals, name = text.partition("=")
    if not (label and equals and name):
        raise ConfigError(f"--map {text!r}: expected LABEL=DETECTOR, such as pedestrian=person")
    return label, name


def _detector(options: argparse.Namespace, *, judged: bool) -> Detector:
    """If judged, it returns boxes of low confidence too, because mAP ranks them all."""
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
    """The pipelines by label, and one that only registers infrared."""
    registration = read_calibration(options.calibration) if options.calibration else None
    chosen: list[tuple[str, str, Path | None]] = [(v, v, None) for v in chosen_variants(options)]
    for label, path in map(split_label, options.weights):
        chosen.append((label or path.stem, variant_of(path), path))
    fusions = {
        label: FusionPipeline(variant, options.device, path, registration=registration)
        for label, variant, path in chosen
    }
    if len(fusions) < len(chosen):
        raise ConfigError("two of --variant and --weights have one name: --weights LABEL=FILE")
    aligner = FusionPipeline(AVERAGE, options.device, registration=registration)
    return fusions, aligner


def _write(source: Examples, options: argparse.Namespace) -> int:
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
    bar = progress(source.examples, "example", source.count)
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
