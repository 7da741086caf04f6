"""Does fusion help a detector? One detector over each camera, simple mixes and fused images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from dreamif_model.cameras import Camera
from dreamif_model.comparison import BASELINES, CLEAN
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.errors import ConfigError
from dreamif_model.image_files import PairPaths, read_gray, read_rgb
from dreamif_model.pipeline import FusionPipeline
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.detection.annotations import Labels, Truth
from dreamif_ros.detection.detector_config import class_keys
from dreamif_ros.detection.yolo import import_ultralytics
from dreamif_ros.pictures import Picture
from dreamif_ros.scene import Box, Scene, SceneConfig

if TYPE_CHECKING:
    from dreamif_ros.detection.detector import Detections, Detector

SCENE_STEP_S = 0.5
SCENE_CLASSES = ("person", "car")
LEAST_CONFIDENCE = 0.001  # of the boxes that mAP ranks, as in ultralytics' validation
FOUND_IOU = 0.5

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Example:
    """One moment: what both cameras saw, and who was there if that is known."""

    name: str
    infrared: NDArray[np.uint8]  # (h, w), normalized
    visible: Picture  # (H, W, 3) RGB
    truth: Truth | None = None  # in pixels of the visible image


@dataclass(frozen=True)
class Found:
    """What the detector found in each method's picture of one example under one condition."""

    condition: str
    example: str
    pictures: dict[str, Picture]
    detections: dict[str, Detections]
    truth: Truth | None


@dataclass(frozen=True)
class Score:
    """What a method's detections are worth; shares in [0, 1], of all images together."""

    objects: int
    precision: float  # mean of the classes, at the confidence of the greatest mean F1, IoU 0.5
    recall: float  # at the same confidence
    map50: float
    map50_95: float
    found: float  # of the objects, at the confidence asked for
    found_dark: float | None  # of those that the visible camera hardly sees, where known
    ap50: dict[str, float]  # by class of the detector


@dataclass(frozen=True)
class Count:
    """How much was detected, where nobody knows what is there."""

    detections: int
    images: int  # with at least one
    confidence: float  # mean; NaN without detections
    classes: dict[str, int]  # by class, the most frequent first


def file_examples(
    pairs: Iterable[PairPaths], labels: Labels | None, thermal: ThermalConfig
) -> Iterator[Example]:
    """Pairs of files, with their truth where there are labels."""
    normalizer = ThermalNormalizer(thermal)
    for pair in pairs:
        infrared = normalizer.normalize(read_gray(pair.infrared))
        visible = read_rgb(pair.visible)
        height, width = visible.shape[:2]
        truth = labels.of(pair.stem).truth(width, height) if labels else None
        yield Example(pair.stem, infrared, visible, truth)


def scene_examples(frames: int, seeds: Sequence[int], size: tuple[int, int]) -> Iterator[Example]:
    """The simulated street at night, so many frames of each seed, ``SCENE_STEP_S`` apart."""
    for seed in seeds:
        scene = Scene(SceneConfig(seed, visible_size=size, infrared_size=size))
        normalizer = ThermalNormalizer()
        for number in range(frames):
            time_s = number * SCENE_STEP_S
            infrared = normalizer.normalize(scene.infrared(time_s))
            truth = _scene_truth(scene.boxes(time_s))
            yield Example(f"{seed}_{number:04d}", infrared, scene.visible(time_s), truth)


def draw_pictures(
    visible: Picture,
    infrared: NDArray[np.uint8],
    fusions: Mapping[str, FusionPipeline],
    aligner: FusionPipeline,
) -> dict[str, Picture]:
    """What each method shows the detector, by its name, (H, W, 3) RGB of the visible image's size.

    aligner: lays infrared on the visible image for the methods without a network.
    """
    aligned = aligner.infrared_alone(infrared, visible.shape).fused
    pictures = {name: method.fuse(aligned, visible) for name, method in BASELINES.items()}
    return pictures | {
        name: pipeline.fuse(visible=visible, infrared=infrared).fused
        for name, pipeline in fusions.items()
    }


def detect_all(
    examples: Iterable[Example],
    conditions: Mapping[str, DegradationSpec],
    fusions: Mapping[str, FusionPipeline],
    aligner: FusionPipeline,
    detector: Detector,
    seed: int = 0,
) -> Iterator[Found]:
    """Every method on every example: clean, then under each condition.

    Degradations are drawn from ``seed`` and the example's number, as ``dreamif evaluate`` does, so
    that all methods see the same and a condition does not depend on the others.
    """
    for number, example in enumerate(examples):
        for condition, spec in ({CLEAN: DegradationSpec()} | dict(conditions)).items():
            generator = spec.generator(seed * 1_000_003 + number)
            infrared = spec.apply(example.infrared, Camera.INFRARED, generator)
            visible = spec.apply(example.visible, Camera.VISIBLE, generator)
            pictures = draw_pictures(visible, infrared, fusions, aligner)
            detections = {name: detector.detect(picture) for name, picture in pictures.items()}
            yield Found(condition, example.name, pictures, detections, example.truth)


def match_classes(
    names: Iterable[str],
    detector_names: Mapping[int, str],
    renamed: Mapping[str, str],
    chosen: tuple[str, ...] = (),
) -> tuple[dict[str, int], list[str]]:
    """The detector's number of each class of the truth, and the classes that are not judged.

    Equal but for upper case, or as ``renamed`` (truth's name to detector's) says; with ``chosen``
    (detector's names) only those are judged. ConfigError for a class that the detector lacks, and
    when no class is left.
    """
    class_keys(tuple(renamed.values()), detector_names)
    numbers = {name.lower(): number for number, name in detector_names.items()}
    allowed = class_keys(chosen, detector_names) or list(detector_names)
    listed = list(dict.fromkeys(names))
    targets = {name: numbers.get(renamed.get(name, name).lower(), -1) for name in listed}
    judged = {name: number for name, number in targets.items() if number in allowed}
    if not judged:
        raise ConfigError(
            f"none of the labels' classes ({some_names(listed) or 'they are empty'}) is one that "
            f"is judged ({some_names(detector_names[number] for number in allowed)}): "
            "--map LABEL=DETECTOR tells which is which"
        )
    return judged, [name for name in listed if name not in judged]


def some_names(names: Iterable[str], most: int = 8) -> str:
    """The first names of a list that may be long."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" … ({len(listed)})" if len(listed) > most else "")


def judge(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: Mapping[str, int],
    names: Mapping[int, str],
    confidence: float,
) -> Score:
    """One method's detections, of confidence 0.001 or more, against the truth of every image.

    classes: the detector's number of each class that is judged; detections and objects of other
    classes do not count. Precision, recall and mAP are those of ultralytics' validation, and its
    code; ``found`` counts the objects that a box of their class and of at least ``confidence``
    covers with an IoU of 0.5 or more. ConfigError when there is no object at all.
    """
    images = [
        _match(_judged_detections(seen, classes), _judged_objects(truth, classes), confidence)
        for seen, truth in zip(detections, truths, strict=True)
    ]
    correct, scores, predicted, targets, found, dark = (
        np.concatenate(arrays) for arrays in zip(*images, strict=True)
    )
    if not len(targets):
        raise ConfigError(f"the labels hold no object of {some_names(classes)}: nothing to judge")
    precision, recall, averages, present = _average_precision(correct, scores, predicted, targets)
    return Score(
        objects=len(targets),
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        map50=float(averages[:, 0].mean()),
        map50_95=float(averages.mean()),
        found=float(found.mean()),
        found_dark=float(found[dark].mean()) if dark.any() else None,
        ap50={
            names[number]: float(average)
            for number, average in zip(present.tolist(), averages[:, 0], strict=True)
        },
    )


def _match(detected: Arrays, objects: Arrays, confidence: float) -> Arrays:
    """Of one image's n detections and m objects, as :func:`judge` needs them of all images.

    Which detections are correct at each IoU threshold (n, 10), their scores and classes (n,); the
    objects' classes, which are found, which are in the dark (m,).
    """
    import_ultralytics()
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import box_iou

    boxes, scores, predicted = detected
    true_boxes, true_classes, dark = objects
    iou = box_iou(torch.from_numpy(true_boxes), torch.from_numpy(boxes))  # (m, n)
    correct = BaseValidator.match_predictions(  # which takes nothing else of a validator
        SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10)),  # type: ignore[arg-type]
        torch.from_numpy(predicted),
        torch.from_numpy(true_classes),
        iou,
    )
    sure = (true_classes[:, None] == predicted) & (scores >= confidence)
    found = ((iou.numpy() >= FOUND_IOU) & sure).any(axis=1)
    return correct.numpy(), scores, predicted, true_classes, found, dark


def _average_precision(
    correct: Array, scores: Array, predicted: Array, targets: Array
) -> tuple[Array, Array, Array, Array]:
    """By class that has objects: precision, recall (c,), average precision (c, 10), number (c,)."""
    import_ultralytics()
    from ultralytics.utils.metrics import ap_per_class

    curves = ap_per_class(correct, scores, predicted, targets)
    return curves[2], curves[3], curves[5], curves[6]


def count(detections: Sequence[Detections], names: Mapping[int, str], confidence: float) -> Count:
    """One method's detections of at least this confidence."""
    kept = [seen.scores >= confidence for seen in detections]
    scores = [seen.scores[keep] for seen, keep in zip(detections, kept, strict=True)]
    labels = [seen.classes[keep] for seen, keep in zip(detections, kept, strict=True)]
    every = np.concatenate(scores)
    by_class = Counter(names[number] for image in labels for number in image.tolist())
    return Count(
        detections=len(every),
        images=sum(1 for image in scores if len(image)),
        confidence=float(every.mean()) if len(every) else math.nan,
        classes=dict(by_class.most_common()),
    )


def _judged_detections(seen: Detections, classes: Mapping[str, int]) -> Arrays:
    """Boxes (n, 4), scores (n,) and classes (n,) of those that count, by falling score."""
    keep = np.flatnonzero(np.isin(seen.classes, list(classes.values())))
    keep = keep[np.argsort(-seen.scores[keep], kind="stable")]
    return seen.boxes[keep], seen.scores[keep], seen.classes[keep]


def _judged_objects(truth: Truth, classes: Mapping[str, int]) -> Arrays:
    """Boxes (n, 4), the detector's classes (n,) and whether in the dark (n,)."""
    keep = [place for place, name in enumerate(truth.names) if name in classes]
    numbers = np.array([classes[truth.names[place]] for place in keep], np.int64)
    dark = np.array(truth.dark or [False] * len(truth.names), bool)
    return truth.boxes[keep], numbers, dark[keep]


def _scene_truth(boxes: Sequence[Box]) -> Truth:
    """The scene has its first pixel's centre at 0, a detector that pixel's corner."""
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    return Truth(
        np.array(corners, np.float32).reshape(-1, 4) + np.float32(0.5),
        tuple(box.label for box in boxes),
        tuple(box.dark for box in boxes),
    )
