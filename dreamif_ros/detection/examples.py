"""Examples to judge a detector by, and what each method of fusion shows it of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Camera
from dreamif_model.comparison import BASELINES, CLEAN
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.image_files import PairPaths, read_gray, read_rgb
from dreamif_model.pipeline import FusionPipeline
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.detection.annotations import Labels, Truth
from dreamif_ros.detection.detector import Detections, Detector
from dreamif_ros.detection.judging import sure_objects
from dreamif_ros.pictures import Picture
from dreamif_ros.scene import Box, Scene, SceneConfig

SCENE_STEP_S = 0.5
SCENE_CLASSES = ("person", "car")


@dataclass(frozen=True)
class Example:
    """One moment: what both cameras saw, and the objects in it where they are known."""

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
    """The simulated street at night: ``frames`` of each seed, ``SCENE_STEP_S`` apart."""
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
    """What each method shows the detector, by its name.

    Args:
        visible: (H, W, 3) RGB.
        infrared: (h, w) gray levels.
        fusions: pipelines by their name; each gives two methods, its fused image and its
            detection image.
        aligner: lays infrared on the visible image for the methods without a network.

    Returns:
        (H, W, 3) RGB pictures of the visible image's size.
    """
    aligned = aligner.infrared_alone(infrared, visible.shape).fused
    pictures = {name: method.fuse(aligned, visible) for name, method in BASELINES.items()}
    for name, pipeline in fusions.items():
        result = pipeline.fuse(visible, infrared, detection_image=True)
        assert result.detection_image is not None  # it was asked for
        pictures[f"fused {name}"] = result.fused
        pictures[f"detection {name}"] = result.detection_image
    return pictures


def detect_all(
    examples: Iterable[Example],
    conditions: Mapping[str, DegradationSpec],
    fusions: Mapping[str, FusionPipeline],
    aligner: FusionPipeline,
    detector: Detector,
    seed: int = 0,
    sure: float | None = None,
) -> Iterator[Found]:
    """Detect with every method in every example: clean, then under each condition.

    Degradations are drawn from ``seed`` and the example's number, as ``dreamif evaluate`` does, so
    all methods see the same, and a condition does not depend on the others. With ``sure``, the
    truth of examples without labels is what either camera shows with this confidence when clean.
    """
    for number, example in enumerate(examples):
        for condition, spec in ({CLEAN: DegradationSpec()} | dict(conditions)).items():
            generator = spec.generator(seed * 1_000_003 + number)
            infrared = spec.apply(example.infrared, Camera.INFRARED, generator)
            visible = spec.apply(example.visible, Camera.VISIBLE, generator)
            pictures = draw_pictures(visible, infrared, fusions, aligner)
            detections = {name: detector.detect(picture) for name, picture in pictures.items()}
            truth = example.truth
            if sure is not None and truth is None and condition == CLEAN:
                cameras = [detections["visible"], detections["infrared"]]
                truth = sure_objects(cameras, detector.names, sure)
            yield Found(condition, example.name, pictures, detections, truth)


def _scene_truth(boxes: Sequence[Box]) -> Truth:
    """Boxes as a detector gives them: 0 is the corner of the first pixel, not its centre."""
    corners = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes]
    return Truth(
        np.array(corners, np.float32).reshape(-1, 4) + np.float32(0.5),
        tuple(box.label for box in boxes),
        tuple(box.dark for box in boxes),
    )
