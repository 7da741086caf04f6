"""How a detector is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real

from dreamif_model.errors import ConfigError

TRACKERS = ("none", "bytetrack", "botsort")
LIVE = ("confidence", "iou", "classes", "max_detections")  # fields that may change later


@dataclass(frozen=True)
class DetectorConfig:
    """A model and how it is used; ConfigError for a value out of range."""

    model: str  # a .pt, .onnx, .engine or .torchscript file, or a folder *_openvino_model
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    half: bool = False  # fp16 of a .pt or .torchscript on CUDA; exports have their own precision
    confidence: float = 0.25  # minimum score of a box, exclusive
    iou: float = 0.7  # if two boxes of one class overlap more than this, the better one is kept
    classes: tuple[str, ...] = ()  # names of the classes that are kept; empty: all
    image_size: int = 0  # longer side of the network's input, in pixels; 0: the model's own
    max_detections: int = 300  # maximum number of boxes, the best ones
    tracker: str = "none"  # one of TRACKERS

    def __post_init__(self) -> None:
        for name in ("model", "device", "tracker"):
            _check_text(name, getattr(self, name))
        for name in ("confidence", "iou"):
            _check_range(name, getattr(self, name), 0, 1, Real)
        _check_range("image_size", self.image_size, 0, 4096, Integral)
        _check_range("max_detections", self.max_detections, 1, 10000, Integral)
        if not isinstance(self.classes, tuple) or any(not isinstance(c, str) for c in self.classes):
            raise ConfigError(f"classes is {self.classes!r}, expected a tuple of names")
        if self.tracker not in TRACKERS:
            raise ConfigError(f"unknown tracker {self.tracker!r}: choose {', '.join(TRACKERS)}")


def check_live(old: DetectorConfig, new: DetectorConfig) -> None:
    """ConfigError if a field that is not in LIVE differs."""
    names = (field.name for field in fields(DetectorConfig) if field.name not in LIVE)
    fixed = [name for name in names if getattr(old, name) != getattr(new, name)]
    if fixed:
        raise ConfigError(f"{', '.join(fixed)} cannot change in a detector: make a new one")


def class_keys(classes: tuple[str, ...], names: Mapping[int, str]) -> list[int] | None:
    """Numbers of the classes that are kept, None for all; ConfigError for an unknown class."""
    for name in classes:
        if name not in names.values():
            raise ConfigError(f"the model has no class {name!r}: {_hint(name, names)}")
    return [key for key, name in names.items() if name in classes] if classes else None


def _hint(name: str, names: Mapping[int, str]) -> str:
    known = list(names.values())
    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {', '.join(close)}?"
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    return f"it knows {', '.join(known[:10])}{more}"


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} of the detector is {value!r}, expected text")


def _check_range(name: str, value: object, low: int, high: int, kind: type) -> None:
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ConfigError(f"{name} is {value!r}, expected {low} to {high}")
