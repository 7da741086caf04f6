"""The table of metrics: commands, help texts and the documentation take theirs from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dreamif_model.arrays import AnyGray
from dreamif_model.metrics.edges import nabf, qabf
from dreamif_model.metrics.gray import Measured, images
from dreamif_model.metrics.statistics import (
    average_gradient,
    correlation_coefficient,
    entropy,
    fusion_psnr,
    mutual_information,
    spatial_frequency,
    ssim,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from dreamif_model.metrics.vif import viff


@dataclass(frozen=True)
class Metric:
    """One row of the table of metrics.

    Attributes:
        meaning: what it measures, in a few words, with the unit.
        higher_is_better: False if lower is better.
        minimum: the smallest possible value.
        maximum: the largest possible value; None if there is no bound.
        score: computes it from one fused image and its sources; None if that is not enough.
    """

    meaning: str
    higher_is_better: bool
    minimum: float
    maximum: float | None
    score: Callable[[Measured, Measured, Measured], float] | None

    @property
    def arrow(self) -> str:
        """↑ if higher is better, ↓ if lower is."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def range(self) -> str:
        """The range of values as text, such as ``0 to 1``."""
        if self.maximum is None:
            return f"≥ {self.minimum:g}"
        return f"{self.minimum:g} to {self.maximum:g}"


def _of_fused(
    score: Callable[[Measured], float],
) -> Callable[[Measured, Measured, Measured], float]:
    return lambda fused, infrared, visible: score(fused)  # noqa: ARG005


METRICS: dict[str, Metric] = {
    "AG": Metric(
        "mean gradient, gray levels per pixel", True, 0, None, _of_fused(average_gradient)
    ),
    "SF": Metric("spatial frequency, gray levels", True, 0, None, _of_fused(spatial_frequency)),
    "Qabf": Metric("edges of both sources that are kept", True, 0, 1, qabf),
    "SSIM": Metric("structural similarity, sum over sources", True, -2, 2, ssim),
    "VIFF": Metric("visual information kept, sum over sources", True, 0, None, viff),
    "EN": Metric("entropy, bits", True, 0, 8, _of_fused(entropy)),
    "SD": Metric("standard deviation, gray levels", True, 0, 127.5, _of_fused(standard_deviation)),
    "MI": Metric("mutual information, bits, sum over sources", True, 0, 16, mutual_information),
    "SCD": Metric(
        "sum of correlations of differences", True, -2, 2, sum_of_correlations_of_differences
    ),
    "CC": Metric("correlation, mean over sources", True, -1, 1, correlation_coefficient),
    "PSNR": Metric("against both sources, dB", True, 0, None, fusion_psnr),
    "Nabf": Metric("edges that no source has (artifacts)", False, 0, 1, nabf),
    "LPIPS": Metric("perceptual distance, mean over sources; with --lpips", False, 0, None, None),
    "flicker": Metric("change where the inputs are still; needs a sequence", False, 0, None, None),
}


def evaluate(fused: AnyGray, infrared: AnyGray, visible: AnyGray) -> dict[str, float]:
    """Compute every metric that needs one fused image and its sources only.

    Args:
        fused: (H, W) gray levels in [0, 255], 41×41 pixels or more.
        infrared: likewise, of the same size; clean, whatever was fused.
        visible: likewise.

    Returns:
        The values by the names in :data:`METRICS`.

    Raises:
        ImageError: an image has another shape.
    """
    return evaluate_all({"fused": fused}, infrared, visible)["fused"]


def evaluate_all(
    fused: Mapping[str, AnyGray], infrared: AnyGray, visible: AnyGray
) -> dict[str, dict[str, float]]:
    """Compute the metrics of several fused images of one pair.

    This is faster than :func:`evaluate` for each, because the sources are processed once.

    Args:
        fused: by name, (H, W) gray levels in [0, 255], 41×41 pixels or more.
        infrared: likewise, of the same size; clean, whatever was fused.
        visible: likewise.

    Returns:
        By the names of ``fused``, the values by the names in :data:`METRICS`.

    Raises:
        ImageError: an image has another shape.
    """
    one, other, *others = images(infrared, visible, *fused.values())
    shown = dict(zip(fused, others, strict=True))
    scores: dict[str, dict[str, float]] = {name: {} for name in fused}
    for metric, row in METRICS.items():
        if row.score is None:
            continue
        for name, image in shown.items():
            scores[name][metric] = row.score(image, one, other)
        for image in (one, other, *others):
            image.forget()
    return scores


def markdown_table() -> str:
    """:data:`METRICS` as the Markdown table of docs/evaluation.md."""
    lines = ["| metric | better | range | what it tells |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{name}` | {metric.arrow} | {metric.range} | {metric.meaning} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(lines) + "\n"
