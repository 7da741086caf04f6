"""Finds objects in images and follows them over time: arrays in, boxes out, no ROS."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.device import keep_freed_memory
from dreamif_model.errors import ImageError
from dreamif_ros.detection.detector_config import TRACKERS, DetectorConfig, check_live, class_keys
from dreamif_ros.detection.letterbox import Letterbox
from dreamif_ros.detection.model_file import ModelFile, find_model
from dreamif_ros.detection.openvino_yolo import OpenVINONetwork, runs_alone

if TYPE_CHECKING:  # ultralytics and torch take 3 s and 600 MB: only what needs them loads them
    from dreamif_ros.detection.yolo import Tracker, UltralyticsNetwork

__all__ = ["TRACKERS", "UNTRACKED", "Detections", "Detector", "DetectorConfig"]

UNTRACKED = -1
_WARM_UP_SHAPE = (480, 640, 3)


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first; n may be 0."""

    boxes: NDArray[np.float32]  # (n, 4) x1, y1, x2, y2 in pixels of the image, x1 < x2, y1 < y2
    scores: NDArray[np.float32]  # (n,) in [0, 1], descending
    classes: NDArray[np.int64]  # (n,) keys of Detector.names
    # (n,) identities from 1 on, UNTRACKED if the tracker has not confirmed the object yet: a new
    # object is confirmed in its second image. None without a tracker.
    tracks: NDArray[np.int64] | None = None


class _Live(NamedTuple):
    config: DetectorConfig
    keys: list[int] | None  # of the classes that are kept


class Detector:
    """A YOLO network and its tracker.

    Nothing is downloaded or installed. Safe to use from several threads, one image at a time.

    Args:
        config: The model and how it is used.

    Attributes:
        names: Class names by number.
        device: Name of the device that is used.

    Raises:
        WeightsError: For a model that is missing, damaged, or that gives no boxes.
        DeviceError: For a device that is not there.
        ConfigError: For a setting that does not fit the model, and for missing packages.
    """

    def __init__(self, config: DetectorConfig) -> None:
        file = find_model(config.model)
        keep_freed_memory()
        self._network = _load(file, config)
        self.names = self._network.names
        self.device = self._network.device
        self._limit = self._network.input_size(config.image_size)
        self._live = _Live(config, class_keys(config.classes, self.names))
        self._tracker = _load_tracker(config.tracker)
        self._tracked_size: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def config(self) -> DetectorConfig:
        """How the model is used; may be set at any time, and holds from the next image on.

        Only the fields LIVE may change. ConfigError for other changes, and for unknown classes.
        """
        return self._live.config

    @config.setter
    def config(self, config: DetectorConfig) -> None:
        check_live(self.config, config)
        self._live = _Live(config, class_keys(config.classes, self.names))

    def warm_up(self) -> None:
        """Pay the extra cost of the first image. WeightsError if the network is no YOLO network."""
        blank = np.zeros(_WARM_UP_SHAPE, np.uint8)
        with self._lock:
            for _ in range(2):
                self._find(blank, self._live, self.config.confidence)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find objects in one image.

        Args:
            image: (H, W, 3) RGB or (H, W) gray uint8, of any size. With a tracker: the next image
                of one camera; an image of another size begins a new sequence.

        Raises:
            ImageError: For other shapes and types.
        """
        _check_image(image)
        live = self._live
        confidence = live.config.confidence
        with self._lock:
            if self._tracker is None:
                return _detections(self._find(image, live, confidence), None)
            rows = self._find(image, live, self._tracker.min_confidence(confidence))
            tracks = self._identify(self._tracker, rows, image, confidence)
        given = rows[:, 4] > confidence
        return _detections(rows[given], tracks[given])

    def reset_tracks(self) -> None:
        """Begin a new sequence: identities start at 1 again."""
        with self._lock:
            if self._tracker is not None:
                self._tracker.reset()

    def _find(
        self, image: NDArray[np.uint8], live: _Live, confidence: float
    ) -> NDArray[np.float32]:
        """(n, 6): x1, y1, x2, y2 in pixels of the image, score, class; best first."""
        height, width = image.shape[:2]
        letterbox = Letterbox.fit((height, width), *self._limit)
        rows = self._network.find(
            letterbox.fill(image),
            confidence,
            live.config.iou,
            live.keys,
            live.config.max_detections,
        )
        rows[:, :4] = letterbox.to_image(rows[:, :4])
        return rows[
            (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
        ]  # without boxes in the bars only

    def _identify(
        self,
        tracker: Tracker,
        rows: NDArray[np.float32],
        image: NDArray[np.uint8],
        confidence: float,
    ) -> NDArray[np.int64]:
        height, width = image.shape[:2]
        if (height, width) != self._tracked_size:
            tracker.reset()
            self._tracked_size = (height, width)
        picture = _gray(image) if tracker.follows_camera else None
        return tracker.identify(rows, (height, width), picture, confidence)


def _detections(rows: NDArray[np.float32], tracks: NDArray[np.int64] | None) -> Detections:
    return Detections(
        boxes=np.ascontiguousarray(rows[:, :4]),
        scores=rows[:, 4].clip(0, 1),
        classes=rows[:, 5].astype(np.int64),
        tracks=tracks,
    )


def _load(file: ModelFile, config: DetectorConfig) -> OpenVINONetwork | UltralyticsNetwork:
    """Load a model with OpenVINO alone if that can run it, else with ultralytics."""
    if runs_alone(file):
        return OpenVINONetwork(file, config.device, config.half)
    from dreamif_ros.detection.yolo import UltralyticsNetwork

    return UltralyticsNetwork(file, config.device, config.half)


def _load_tracker(name: str) -> Tracker | None:
    if name == "none":
        return None
    from dreamif_ros.detection.yolo import Tracker

    return Tracker(name)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def _check_image(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise ImageError(f"an image is an array, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise ImageError(f"images for detection are uint8, got {image.dtype}")
    shape = tuple(image.shape)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        raise ImageError(f"images for detection are (H, W, 3) RGB or (H, W) gray, got {shape}")
    if 0 in shape:
        raise ImageError(f"the image is empty: its shape is {shape}")
