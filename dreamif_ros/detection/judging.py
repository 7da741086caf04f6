"""Judges what a detector found: against the truth, or by how much it found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dreamif_model.errors import ConfigError
from dreamif_ros.detection.annotations import Truth
from dreamif_ros.detection.detector import Detections
from dreamif_ros.detection.detector_config import class_keys
from dreamif_ros.detection.yolo import import_ultralytics

MIN_CONFIDENCE = 0.001  # of the boxes that mAP ranks, as in ultralytics' validation
FOUND_IOU = 0.5

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Score:
    """How good a method's detections are, over all images; shares in [0, 1]."""

    objects: int
    precision: float  # mean of the classes, at the confidence with the max mean F1, IoU 0.5
    recall: float  # at the same confidence
    map50: float
    map50_95: float
    found: float  # share of the objects, at the confidence asked for
    found_dark: (
        float | None
    )  # the same of objects that the visible camera hardly sees; None: unknown
    ap50: dict[str, float]  # by class of the detector


@dataclass(frozen=True)
class Count:
    """How much was detected, where the truth is unknown."""

    detections: int
    images: int  # with at least one
    confidence: float  # mean; NaN without detections
    classes: dict[str, int]  # by class, the most frequent first


def match_classes(
    names: Iterable[str],
    detector_names: Mapping[int, str],
    renamed: Mapping[str, str],
    chosen: tuple[str, ...] = (),
) -> tuple[dict[str, int], list[str]]:
    """Which classes of the truth are judged, and by which classes of the detector.

    Args:
        names: of the truth's classes.
        detector_names: of the detector's classes, by number.
        renamed: the detector's name for a name of the truth; other names must be equal but for
            upper case.
        chosen: the detector's names that are judged; empty for all.

    Returns:
        The detector's number of each judged class, and the classes that are not judged.

    Raises:
        ConfigError: the detector lacks a class, or no class is left.
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


def some_names(names: Iterable[str], limit: int = 8) -> str:
    """The first names of a list that may be long."""
    listed = list(names)
    return ", ".join(listed[:limit]) + (f" … ({len(listed)})" if len(listed) > limit else "")


def judge(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: Mapping[str, int],
    names: Mapping[int, str],
    confidence: float,
) -> Score:
    """Judge one method's detections against the truth.

    Precision, recall and mAP are computed by the code of ultralytics' validation. ``found`` counts
    the objects that a box of their class covers with an IoU of 0.5 or more.

    Args:
        detections: of every image, of confidence 0.001 or more.
        truths: of every image.
        classes: the detector's number of each class that is judged; others do not count.
        names: of the detector's classes.
        confidence: of the boxes that count as ``found``.

    Raises:
        ConfigError: there is no object at all.
    """
    images = [
        _match(_judged_detections(seen, classes), _judged_objects(truth, classes), confidence)
        for seen, truth in zip(detections, truths, strict=True)
    ]
    correct, scores, predicted, targets, found, dark = (
        np.concatenate(arrays) for arrays in zip(*images, strict=True)
    )
    if not len(targets):
        raise ConfigError(f"there is no object of {some_names(classes)}: nothing to judge")
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


def sure_objects(
    cameras: Sequence[Detections], names: Mapping[int, str], confidence: float
) -> Truth:
    """What the detector is sure of in one of the cameras' images, in place of labels.

    Args:
        cameras: detections in the image of each camera, which lie on each other.
        names: of the detector's classes.
        confidence: of the boxes that count as objects. Of boxes of one class whose IoU is above
            0.5, the one with the highest score counts.
    """
    boxes, scores, classes = (
        np.concatenate([getattr(seen, name) for seen in cameras])
        for name in ("boxes", "scores", "classes")
    )
    kept: list[int] = []
    for number in np.unique(classes):
        places = np.flatnonzero(classes == number)
        sizes = boxes[places, 2:] - boxes[places, :2]
        upright = np.hstack((boxes[places, :2], sizes)).tolist()
        best = cv2.dnn.NMSBoxes(upright, scores[places].tolist(), confidence, FOUND_IOU)
        kept += places[np.asarray(best, np.int64).ravel()].tolist()
    return Truth(boxes[kept], tuple(names[int(classes[place])] for place in kept))


def _match(detected: Arrays, objects: Arrays, confidence: float) -> Arrays:
    """Match one image's n detections and m objects.

    Returns which detections are correct at each IoU threshold (n, 10), their scores and classes
    (n,); the objects' classes, which are found, which are in the dark (m,).
    """
    import_ultralytics()
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import box_iou

    boxes, scores, predicted = detected
    true_boxes, true_classes, dark = objects
    iou = box_iou(torch.from_numpy(true_boxes), torch.from_numpy(boxes))  # (m, n)
    correct = BaseValidator.match_predictions(  # needs nothing else of a validator
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
    """Precision, recall (c,), average precision (c, 10) and number (c,) of classes with objects."""
    import_ultralytics()
    from ultralytics.utils.metrics import ap_per_class

    curves = ap_per_class(correct, scores, predicted, targets)
    return curves[2], curves[3], curves[5], curves[6]


def count(detections: Sequence[Detections], names: Mapping[int, str], confidence: float) -> Count:
    """Count one method's detections of at least this confidence."""
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
