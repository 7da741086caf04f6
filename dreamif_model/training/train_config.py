"""The settings of a training run, read from YAML and checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from dreamif_model.degradations.kinds import DEGRADATIONS
from dreamif_model.errors import MAX_SHOWN, ConfigError, shown
from dreamif_model.training.data import DataSet
from dreamif_model.variants import SWITCHES, network_config
from dreamif_model.yaml_file import read_yaml

DEFAULT_LOSS_WEIGHTS = {
    "pixel": 3.0,
    "gradient": 6.0,
    "detail": 20.0,
    "edge": 14.0,
    "ssim": 2.0,
    "information": 0.08,
    "color": 1.0,
    "dominance": 0.1,
    "restoration": 8.0,
    "cells": 4.0,
}

# No fp16: it would need a scaled loss, and every machine that gains from it has bf16.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

MAX_WEIGHT = 1e6  # of a loss or a data set
MAX_CROP_PIXELS = 1 << 26  # of the crops of a step together: 64 of 1024²

# Field of TrainConfig: (type, minimum, maximum).
RANGES: dict[str, tuple[type, float, float]] = {
    "steps": (int, 1, 1e9),
    "minutes": (float, 0, 1e6),
    "batch_size": (int, 1, 65536),
    "crop": (int, 1, 8192),
    "learning_rate": (float, 0, 100),
    "warmup_steps": (int, 0, 1e9),
    "weight_decay": (float, 0, 100),
    "gradient_clip": (float, 0, 1e6),
    "ema_decay": (float, 0, 1),
    "degrade_probability": (float, 0, 1),
    "stream_probability": (float, 0, 1),
    "seed": (int, 0, 2**31 - 1),
    "workers": (int, 0, 256),
    "log_every": (int, 1, 1e9),
    "checkpoint_every": (int, 1, 1e9),
    "validate_every": (int, 1, 1e9),
}


@dataclass(frozen=True)
class Teacher:
    """A larger trained variant from which a smaller one learns."""

    variant: str
    weights: str = ""  # path; empty for the packaged weights
    weight: float = 1.0  # of the distillation loss


@dataclass(frozen=True)
class TrainConfig:
    """The settings; each field is a key of the YAML file."""

    variant: str
    data: tuple[DataSet, ...]
    without: tuple[str, ...] = ()  # ablation: parts of the network to leave out
    initial_weights: str = ""  # safetensors file to start from; empty for random weights
    teacher: Teacher | None = None
    steps: int = 10_000
    minutes: float = 0.0  # maximum duration, over which the learning rate falls; 0 for no limit
    batch_size: int = 8  # crops per step, over all processes
    crop: int = 96  # pixels, a multiple of the variant's size multiple
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0  # norm
    ema_decay: float = 0.999
    degrade_probability: float = 0.7  # for each image of each sample, independently
    # For each image, that it looks as a stream's memory leaves it, instead of degraded as above.
    stream_probability: float = 0.0
    degradations: tuple[str, ...] = tuple(DEGRADATIONS)  # kinds to draw from
    precision: str = "fp32"  # numeric precision of the network; losses and weights stay fp32
    loss_weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_LOSS_WEIGHTS))
    seed: int = 0
    log_every: int = 50  # steps
    checkpoint_every: int = 250  # steps
    validate_every: int = 1000  # steps
    workers: int = 0  # processes that read data; 0 for the training process itself

    def __post_init__(self) -> None:
        for name in RANGES:
            check_setting(name, name, getattr(self, name))
        if not isinstance(self.variant, str):
            raise ConfigError(f"variant must be a name, got {shown(self.variant)}")
        _check_names("without", self.without, SWITCHES)
        multiple = network_config(self.variant, self.without).size_multiple
        if self.crop % multiple:
            raise ConfigError(
                f"crop must be a multiple of {multiple} for {self.variant}, got {self.crop}"
            )
        if self.crop**2 * self.batch_size > MAX_CROP_PIXELS:
            raise ConfigError(
                f"crop {self.crop} and batch_size {self.batch_size} are "
                f"{self.crop**2 * self.batch_size} pixels a step, expected at most "
                f"{MAX_CROP_PIXELS}: lower one of them"
            )
        if not isinstance(self.precision, str) or self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {shown(self.precision)}"
            )
        _check_names("degradations", self.degradations, DEGRADATIONS)
        if not self.degradations and self.degrade_probability:
            raise ConfigError("degradations is empty: set degrade_probability to 0")
        if not isinstance(self.initial_weights, str):
            raise ConfigError(f"initial_weights must be text, got {shown(self.initial_weights)}")
        if not self.data:
            raise ConfigError("data must name at least one folder of pairs")
        names = ", ".join(DEFAULT_LOSS_WEIGHTS)
        if (
            not isinstance(self.loss_weights, dict)
            or self.loss_weights.keys() != DEFAULT_LOSS_WEIGHTS.keys()
        ):
            raise ConfigError(f"loss_weights must give a number for each of {names}")
        for name, weight in self.loss_weights.items():
            _check_number(f"loss_weights.{name}", weight, float, 0, MAX_WEIGHT)

    @classmethod
    def load(cls, path: Path, data_root: Path | None = None, **overrides: Any) -> TrainConfig:
        """Read a YAML file; data paths are relative to ``data_root``, or to the file's folder."""
        raw = read_yaml(path)
        try:
            return cls._from_yaml(raw, data_root or path.parent, overrides)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _from_yaml(cls, raw: Any, root: Path, overrides: dict[str, Any]) -> TrainConfig:
        if isinstance(raw, dict) and "data" in overrides:
            raw = {**raw, "data": []}  # the override replaces it
        values = _checked(raw, cls, "settings")
        if not isinstance(values["data"], list):
            raise ConfigError("data must be a list of {path, weight, validation}")
        for name in ("degradations", "without"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        if values.get("teacher") is not None:
            values["teacher"] = _teacher(values["teacher"])
        values["data"] = tuple(_data_set(entry, root) for entry in values["data"])
        return cls(**(values | overrides))


def _checked(raw: Any, owner: type, what: str) -> dict[str, Any]:
    """A mapping whose keys are fields of the owner, with all fields that have no default."""
    if not isinstance(raw, dict):
        raise ConfigError(f"expected a mapping of {what}, got {shown(raw)}")
    known = {f.name: f for f in fields(owner)}
    unknown = sorted(str(key) for key in raw.keys() - known.keys())
    if unknown:
        raise ConfigError(
            f"unknown keys: {', '.join(unknown)[:MAX_SHOWN]}; known: {', '.join(known)}"
        )
    for name, f in known.items():
        if name not in raw and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{name} is missing from the {what}")
    return raw


def _teacher(raw: Any) -> Teacher:
    teacher = Teacher(**_checked(raw, Teacher, "teacher's settings"))
    _check_number("teacher.weight", teacher.weight, float, 0, MAX_WEIGHT)
    if not isinstance(teacher.variant, str) or not isinstance(teacher.weights, str):
        raise ConfigError(f"the teacher's variant and weights must be text, got {shown(raw)}")
    network_config(teacher.variant)  # refuses an unknown one
    return teacher


def _check_names(key: str, names: Any, known: Collection[str]) -> None:
    if not isinstance(names, tuple) or not all(
        isinstance(name, str) and name in known for name in names
    ):
        raise ConfigError(f"{key} must be a list of {', '.join(known)}, got {shown(names)}")


def _data_set(raw: Any, root: Path) -> DataSet:
    entry = _checked(raw, DataSet, "data entry")
    stems = entry.get("validation")
    is_list = isinstance(stems, (list, tuple)) and all(isinstance(stem, str) for stem in stems)
    if stems is not None and not is_list:
        raise ConfigError(f"validation must be a list of quoted file stems, got {shown(stems)}")
    if not isinstance(entry["path"], str):
        raise ConfigError(f"path must be a folder, got {shown(entry['path'])}")
    _check_number("weight", entry.get("weight", 1.0), float, 1e-9, MAX_WEIGHT)
    return DataSet(
        root / entry["path"],
        float(entry.get("weight", 1.0)),
        None if stems is None else tuple(stems),
    )


def check_setting(name: str, shown_as: str, value: Any) -> None:
    """ConfigError, about ``shown_as``, if ``value`` is out of the range of setting ``name``."""
    _check_number(shown_as, value, *RANGES[name])


def _check_number(name: str, value: Any, kind: type, minimum: float, maximum: float) -> None:
    kinds = (int,) if kind is int else (int, float)
    # A bool is an int to Python; NaN fails the comparison.
    known = isinstance(value, kinds) and not isinstance(value, bool)
    if not known or not minimum <= value <= maximum:
        what = "a whole number" if kind is int else "a number"
        span = f"from {minimum:g} to {maximum:.10g}"
        raise ConfigError(f"{name} must be {what}, {span}, got {shown(value)}")
