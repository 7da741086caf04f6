"""Methods side by side on pairs: metrics against the clean sources, whatever the methods saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from dreamif_model.data import PairPaths, read_gray
from dreamif_model.degradation_spec import DegradationSpec
from dreamif_model.errors import ImageError
from dreamif_model.metrics import evaluate
from dreamif_model.pipeline import FusionPipeline

GrayImage = NDArray[np.uint8]  # (H, W)
Method = Callable[[GrayImage, GrayImage], GrayImage]  # infrared, visible to fused
Scores = dict[str, dict[str, float]]  # method: metric: mean

BASELINES: dict[str, Method] = {
    "visible": lambda infrared, visible: visible,  # noqa: ARG005
    "infrared": lambda infrared, visible: infrared,  # noqa: ARG005
    "average": lambda infrared, visible: np.rint(
        (infrared.astype(np.float32) + visible.astype(np.float32)) / 2
    ).astype(np.uint8),
    "max": lambda infrared, visible: np.maximum(infrared, visible),
}


def network_method(pipeline: FusionPipeline) -> Method:
    """A pipeline as a method on gray images."""
    weights = np.array((0.299, 0.587, 0.114))  # BT.601 luma

    def fuse(infrared: GrayImage, visible: GrayImage) -> GrayImage:
        fused = pipeline.fuse(visible=visible, infrared=infrared).fused
        luma: GrayImage = np.rint(fused @ weights).astype(np.uint8)
        return luma

    return fuse


def compare(
    pairs: Iterable[PairPaths],
    methods: Mapping[str, Method],
    degradation: DegradationSpec | None = None,
    seed: int = 0,
) -> Scores:
    """Mean of every metric for every method.

    degradation: put on the inputs, seeded; every method sees the same. Metrics take the clean
    sources.
    """
    spec = degradation or DegradationSpec()
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for pair in pairs:
        clean = _read8(pair)
        infrared = spec.apply(clean[0], "infrared", generator)
        visible = spec.apply(clean[1], "visible", generator)
        for name, method in methods.items():
            rows[name].append(evaluate(method(infrared, visible), *clean))
    return {name: _mean(scores) for name, scores in rows.items()}


def _read8(pair: PairPaths) -> tuple[GrayImage, GrayImage]:
    infrared, visible = read_gray(pair.infrared), read_gray(pair.visible)
    if infrared.dtype != np.uint8 or visible.dtype != np.uint8 or infrared.shape != visible.shape:
        raise ImageError(
            f"metrics take 8-bit pairs of one size: {pair.infrared} is {infrared.dtype} "
            f"{infrared.shape}, {pair.visible} is {visible.dtype} {visible.shape}"
        )
    return infrared.astype(np.uint8, copy=False), visible.astype(np.uint8, copy=False)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
