"""Fusion metrics on gray images in [0, 255].

``fused``, ``infrared`` and ``visible`` are 2-D arrays of one size, luma (BT.601) of colour
images. Papers differ in the details; these are the definitions used everywhere here. AG, SF and
SD also reward noise, and copies of one source win others (VIFF, CC): never read one alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.edge_metrics import nabf, qabf
from dreamif_model.filters import box_mean, joint_histogram
from dreamif_model.gray import Gray, Plane, levels, planes
from dreamif_model.vif import viff

__all__ = [
    "METRICS",
    "Gray",
    "Metric",
    "average_gradient",
    "correlation_coefficient",
    "entropy",
    "evaluate",
    "fusion_psnr",
    "markdown_table",
    "mutual_information",
    "nabf",
    "psnr",
    "qabf",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "sum_of_correlations_of_differences",
    "viff",
]

SSIM_WINDOW = 7  # pixels, side


def average_gradient(fused: Gray) -> float:
    """AG: mean of sqrt((Gx² + Gy²) / 2), in gray levels per pixel; ≥ 0, higher is better.

    Gx, Gy are central differences, one-sided at the borders. Cui et al., Optics Communications
    2015.
    """
    (image,) = planes(fused, smallest=2)
    gy, gx = np.gradient(image)
    return float(np.sqrt((gx * gx + gy * gy) / 2).mean())


def spatial_frequency(fused: Gray) -> float:
    """SF: sqrt(mean(Δx²) + mean(Δy²)), in gray levels; ≥ 0, higher is better.

    Δx, Δy are first differences. Eskicioglu & Fisher, IEEE Transactions on Communications 1995.
    """
    (image,) = planes(fused, smallest=2)
    dx, dy = np.diff(image, axis=1), np.diff(image, axis=0)
    return math.sqrt(float((dx * dx).mean()) + float((dy * dy).mean()))


def ssim(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """SSIM(F, I) + SSIM(F, V); -2 to 2, higher is better.

    SSIM = mean of (2 μ_a μ_b + c1) (2 σ_ab + c2) / ((μ_a² + μ_b² + c1) (σ_a² + σ_b² + c2)) over
    the 7×7 windows that lie inside, uniform, sample covariance, c1 = (.01·255)²,
    c2 = (.03·255)². Wang et al., IEEE TIP 2004.
    """
    image, *sources = planes(fused, infrared, visible, smallest=SSIM_WINDOW)
    return sum(_ssim(image, source) for source in sources)


def entropy(fused: Gray) -> float:
    """EN: -Σ p log2 p over the 256 gray levels, in bits; 0 to 8, higher is better.

    Shannon 1948; for fusion, Roberts et al., Journal of Applied Remote Sensing 2008.
    """
    (image,) = planes(fused)
    return _bits(np.bincount(levels(image).ravel()).astype(np.float64))


def standard_deviation(fused: Gray) -> float:
    """SD: sqrt(mean((F - mean F)²)), in gray levels; 0 to 127.5, higher is better.

    Of all pixels (not a sample's). As in Ma et al., Information Fusion 2019 (a survey).
    """
    (image,) = planes(fused)
    return float(image.std())


def mutual_information(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """MI(F, I) + MI(F, V), in bits; 0 to 16, higher is better.

    MI(F, S) = H(F) + H(S) - H(F, S), entropies of the (joint) histogram of 256 gray levels.
    Qu et al., Electronics Letters 2002.
    """
    image, *sources = (levels(plane) for plane in planes(fused, infrared, visible))
    total = 0.0
    for source in sources:
        joint = joint_histogram(image, source)
        total += _bits(joint.sum(axis=1)) + _bits(joint.sum(axis=0)) - _bits(joint)
    return max(total, 0.0)  # rounding of a constant image


def sum_of_correlations_of_differences(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """SCD: r(F - V, I) + r(F - I, V), r Pearson's correlation; -2 to 2, higher is better.

    r is 0 where one of the two is constant, as F - V is when F copies V.
    Aslantas & Bendes, AEU 2015.
    """
    image, ir, vi = planes(fused, infrared, visible)
    return _correlation(image - vi, ir) + _correlation(image - ir, vi)


def correlation_coefficient(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """CC: (r(F, I) + r(F, V)) / 2, r Pearson's correlation; -1 to 1, higher is better.

    r is 0 where one of the two is constant. As in Ma et al., Information Fusion 2019.
    """
    image, *sources = planes(fused, infrared, visible)
    return sum(_correlation(image, source) for source in sources) / 2


def psnr(image: Gray, reference: Gray) -> float:
    """Of two images: 10 log10(255² / mean((a - b)²)), in dB; ≥ 0, infinite where equal."""
    a, b = planes(image, reference)
    return _decibels(_mean_square(a - b))


def fusion_psnr(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """PSNR of tables: 10 log10(255² / ((mse(F, I) + mse(F, V)) / 2)), in dB; higher is better.

    ≥ 0; infinite where all three are equal. The mean of both sources has the highest possible,
    however it looks. As in Ma et al., Information Fusion 2019.
    """
    image, *sources = planes(fused, infrared, visible)
    return _decibels(sum(_mean_square(image - source) for source in sources) / 2)


@dataclass(frozen=True)
class Metric:
    """One row of tables and help texts.

    Attributes:
        meaning: what it measures, in a few words, with the unit.
        higher_is_better: its direction.
        least: the smallest possible value.
        greatest: the greatest possible value; None where there is no bound.
        score: of one fused image and its sources; None where that is not enough.
    """

    meaning: str
    higher_is_better: bool
    least: float
    greatest: float | None
    score: Callable[[Gray, Gray, Gray], float] | None

    @property
    def arrow(self) -> str:
        """Where better is."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def range(self) -> str:
        """In words."""
        if self.greatest is None:
            return f"≥ {self.least:g}"
        return f"{self.least:g} to {self.greatest:g}"


def _of_fused(score: Callable[[Gray], float]) -> Callable[[Gray, Gray, Gray], float]:
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
    "LPIPS": Metric("perceptual distance, mean over sources; needs weights", False, 0, None, None),
    "flicker": Metric("change where the inputs are still; needs a sequence", False, 0, None, None),
}


def evaluate(fused: Gray, infrared: Gray, visible: Gray) -> dict[str, float]:
    """Those of :data:`METRICS` that take no more than one fused image and its (clean) sources."""
    images = planes(fused, infrared, visible)
    return {name: metric.score(*images) for name, metric in METRICS.items() if metric.score}


def markdown_table() -> str:
    """:data:`METRICS` as the table of the README."""
    lines = ["| metric | better | range | what it tells |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{name}` | {metric.arrow} | {metric.range} | {metric.meaning} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(lines) + "\n"


def _ssim(a: Plane, b: Plane) -> float:
    side, c1, c2 = SSIM_WINDOW, (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = box_mean(a, side), box_mean(b, side)
    squares, product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
    sample = side**2 / (side**2 - 1)  # sample, not population, covariance
    variances = sample * (box_mean(a * a + b * b, side) - squares)
    covariance = sample * (box_mean(a * b, side) - product)
    similarity = ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
    return float(similarity.mean())


def _bits(counts: NDArray[np.float64]) -> float:
    """Entropy of a histogram of any shape."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0


def _correlation(a: Plane, b: Plane) -> float:
    """Pearson's; 0 where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(_mean_square(a) * _mean_square(b))
    return float((a * b).mean()) / scale if scale else 0.0


def _mean_square(image: Plane) -> float:
    return float((image * image).mean())


def _decibels(mean_square: float) -> float:
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
