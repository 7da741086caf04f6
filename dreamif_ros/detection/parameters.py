"""The parameters of the detector node."""

from __future__ import annotations

from dataclasses import dataclass

from dreamif_ros.detection.detector_config import TRACKERS, DetectorConfig
from dreamif_ros.node.parameters import parameter, table
from dreamif_ros.node.settings import NodeSettings


@dataclass(frozen=True)
class DetectorSettings(NodeSettings):
    """All parameters of the detector node."""

    model: str = parameter("", "File or folder of a YOLO model that ultralytics loads; required.")
    half: bool = parameter(DetectorConfig.half, "Compute in fp16, on CUDA only.")
    image_topic: str = parameter(
        "fused/detection_image",
        "Topic of the images; fused/image_raw, visible/image_raw and infrared/image_raw are "
        "possible as well.",
    )
    confidence: float = parameter(
        DetectorConfig.confidence, "Minimum score of a detection.", 0.0, 1.0, live=True
    )
    iou: float = parameter(
        DetectorConfig.iou,
        "If two boxes of one class overlap more than this (IoU), the weaker one is dropped.",
        0.0,
        1.0,
        live=True,
    )
    classes: str = parameter(
        "", "Names of the classes to keep, separated by commas; empty: all.", live=True
    )
    image_size: int = parameter(
        DetectorConfig.image_size,
        "Longer side of the network's input; 0: the model's own.",
        0,
        4096,
        unit="px",
    )
    max_detections: int = parameter(
        DetectorConfig.max_detections,
        "Maximum number of detections in one image; the best are kept.",
        1,
        10_000,
        live=True,
    )
    max_rate_hz: float = parameter(
        0.0, "Maximum rate of the images; 0: no limit.", 0.0, 1000.0, unit="Hz", live=True
    )
    tracker: str = parameter(
        DetectorConfig.tracker, "Gives objects an identity over time.", choices=TRACKERS
    )

    def detector(self) -> DetectorConfig:
        """The part that the detector needs; ConfigError if it cannot use a value."""
        names = tuple(name.strip() for name in self.classes.split(",") if name.strip())
        return DetectorConfig(
            model=self.model,
            device=self.device,
            half=self.half,
            confidence=self.confidence,
            iou=self.iou,
            classes=names,
            image_size=self.image_size,
            max_detections=self.max_detections,
            tracker=self.tracker,
        )


DETECTOR_PARAMETERS = table(DetectorSettings)
