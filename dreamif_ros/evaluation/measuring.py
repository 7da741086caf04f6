"""Metrics of some frames of an evaluation, and of simple methods for comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dreamif_model import Calibration
from dreamif_model.comparison import BASELINES
from dreamif_model.metrics import evaluate_all
from dreamif_model.metrics.flicker import Stillness
from dreamif_model.metrics.scoring import mean_intervals
from dreamif_model.registration.warp import Registrar, resize
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.evaluation.evaluation_results import METHODS, NOISE, FrameRow, MeanInterval
from dreamif_ros.evaluation.footage import visible_luma
from dreamif_ros.pictures import Picture

GrayLevels = NDArray[np.uint8]  # (H, W)


class Places:
    """Numbers spread evenly over 0 … count - 1, each due once."""

    def __init__(self, count: int, wanted: int) -> None:
        chosen = np.linspace(0, max(0, count - 1), min(count, wanted)).round().astype(int)
        self._left = sorted({int(place) for place in chosen}, reverse=True)

    def due(self, place: int) -> bool:
        """Whether a number is due at ``place``, or was due at an earlier place that was skipped."""
        due = bool(self._left) and self._left[-1] <= place
        while self._left and self._left[-1] <= place:
            self._left.pop()
        return due


class WatchedNormalizer(ThermalNormalizer):
    """Keeps the result of the last frame.

    Attributes:
        normalized: (h, w) gray levels.
    """

    normalized: GrayLevels = np.zeros((1, 1), np.uint8)

    def normalize(self, image: NDArray[np.generic]) -> GrayLevels:
        """See ThermalNormalizer."""
        self.normalized = super().normalize(image)
        return self.normalized


class Registration:
    """Lays infrared on the visible pixels as the pipeline does, for the baselines."""

    def __init__(self, calibration: Calibration | None) -> None:
        self._registrar = Registrar(calibration) if calibration else None

    def gray(self, normalized: GrayLevels, visible: NDArray[np.uint8]) -> GrayLevels:
        """(H, W) gray; the visible luma where infrared does not reach, as the network sees it."""
        shape = visible.shape[:2]
        if self._registrar is None:
            return resize(normalized, shape)
        warp = self._registrar.warp(normalized.shape, shape)
        coverage = warp.coverage
        laid = warp(normalized) * coverage + 255 * visible_luma(visible) * (1 - coverage)
        return np.rint(laid).astype(np.uint8)


@dataclass(frozen=True)
class Grays:
    """One frame in gray levels: both inputs, and the result of each of METHODS."""

    infrared: GrayLevels
    visible: GrayLevels
    fused: dict[str, GrayLevels]

    @classmethod
    def of(cls, infrared: GrayLevels, visible: NDArray[np.uint8], fused: Picture) -> Grays:
        """infrared: registered (H, W). visible: (H, W[, 3]). fused: (H, W, 3)."""
        luma = _luma(visible)
        methods = {name: BASELINES[name].fuse(infrared, luma) for name in METHODS[1:]}
        return cls(infrared, luma, {METHODS[0]: _luma(fused), **methods})

    def metrics(self) -> dict[str, dict[str, float]]:
        """By method and metric."""
        return evaluate_all(self.fused, self.infrared, self.visible)


@dataclass
class FlickerSums:
    """Flicker of pairs of successive frames, added up as over one long sequence."""

    fused: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METHODS, 0.0))
    inputs: float = 0.0
    still: int = 0  # pixels

    @classmethod
    def of(cls, before: Grays, now: Grays) -> FlickerSums:
        """Sums of two successive frames; zero where their sizes differ."""
        if before.visible.shape != now.visible.shape:
            return cls()
        still = Stillness.of((before.infrared, before.visible), (now.infrared, now.visible))
        changes = {name: still.change(before.fused[name], now.fused[name]) for name in METHODS}
        return cls(changes, still.input_change, still.count)

    def add(self, other: FlickerSums) -> None:
        """Add the sums of another two frames."""
        for name, change in other.fused.items():
            self.fused[name] += change
        self.inputs += other.inputs
        self.still += other.still

    def ratios(self) -> dict[str, float]:
        """By method; NaN where no pixel was still."""
        return {name: self._ratio(change) for name, change in self.fused.items()}

    def _ratio(self, change: float) -> float:
        if not self.still:
            return math.nan
        if self.inputs:
            return change / self.inputs
        return math.inf if change else 0.0


def intervals(rows: Sequence[FrameRow]) -> dict[str, dict[str, MeanInterval]]:
    """Means over the measured frames; an interval of NaN where one frame gives none."""
    measured = [row.metrics for row in rows if row.metrics]
    if not measured:
        return {}
    found = {}
    for method in METHODS:
        columns = {name: [row[method][name] for row in measured] for name in measured[0][method]}
        bounds = mean_intervals(columns)
        found[method] = {
            name: MeanInterval(float(np.mean(values)), *(bounds[name] or (math.nan, math.nan)))
            for name, values in columns.items()
        }
    return found


def noise_medians(rows: Sequence[FrameRow]) -> dict[str, float]:
    """Medians of NOISE over the frames that have it."""
    columns = {name: [getattr(row, name) for row in rows] for name in NOISE}
    known = {
        name: [value for value in column if value is not None] for name, column in columns.items()
    }
    return {name: float(np.median(column)) for name, column in known.items() if column}


def _luma(image: NDArray[np.uint8]) -> GrayLevels:
    return np.rint(255 * visible_luma(image)).astype(np.uint8)
