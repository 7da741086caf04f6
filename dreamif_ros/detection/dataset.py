"""Writes YOLO data sets of what each method shows a detector: images, labels, ``data.yaml``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from dreamif_model.errors import ConfigError
from dreamif_model.image_files import write_image
from dreamif_model.output_files import naming, sole_writer, write_whole
from dreamif_model.pipeline import FusionPipeline
from dreamif_ros.detection.annotations import AnnotationError, Truth, write_yolo
from dreamif_ros.detection.examples import Example, draw_pictures

VALIDATION_EVERY = 8  # the 1st, 9th, … example, as `--every 8` takes


def write_datasets(
    folder: Path,
    examples: Iterable[Example],
    names: Sequence[str],
    fusions: Mapping[str, FusionPipeline],
    aligner: FusionPipeline,
) -> list[Path]:
    """Write ``<method>/images/train``, ``labels/train``, … of every method, with the same labels.

    Args:
        folder: to write into, new or empty.
        examples: with their truth.
        names: of the classes that are written, in the order of their numbers; objects of other
            classes are left out.
        fusions: pipelines by their name.
        aligner: lays infrared on the visible image for the methods without a network.

    Returns:
        The folder of each method.

    Raises:
        AnnotationError: an example has no truth.
        ConfigError: there is something in ``folder`` already.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder):
        return _write_all(folder, examples, names, fusions, aligner)


def _write_all(
    folder: Path,
    examples: Iterable[Example],
    names: Sequence[str],
    fusions: Mapping[str, FusionPipeline],
    aligner: FusionPipeline,
) -> list[Path]:
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not an empty folder: choose another one for the data sets")
    roots: dict[str, Path] = {}
    for number, example in enumerate(examples):
        split = "train" if number % VALIDATION_EVERY else "val"
        if example.truth is None:
            raise AnnotationError(f"{example.name} has no labels to write")
        height, width = example.visible.shape[:2]
        truth = _only(example.truth, names)
        pictures = draw_pictures(example.visible, example.infrared, fusions, aligner)
        for method, picture in pictures.items():
            root = roots.setdefault(method, folder / method.replace(" ", "_"))
            images, labels = root / "images" / split, root / "labels" / split
            images.mkdir(parents=True, exist_ok=True)
            labels.mkdir(parents=True, exist_ok=True)
            write_image(images / f"{example.name}.png", picture)
            write_yolo(labels / f"{example.name}.txt", truth, names, width, height)
    for root in roots.values():
        _write_yaml(root / "data.yaml", names)
    return list(roots.values())


def _only(truth: Truth, names: Sequence[str]) -> Truth:
    keep = [place for place, name in enumerate(truth.names) if name in names]
    return Truth(truth.boxes[keep], tuple(truth.names[place] for place in keep))


def _write_yaml(path: Path, names: Sequence[str]) -> None:
    """Write it without ``path``, so that ultralytics takes the folder of the file itself."""
    content = {"train": "images/train", "val": "images/val", "names": dict(enumerate(names))}
    write_whole(path, yaml.safe_dump(content, sort_keys=False))
