"""Metrics of edges: how well the sources' edges are kept, and which edges fusion added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import RealImage
from dreamif_model.metrics.filters import MIRROR_BORDER, ZERO_BORDER, sobel
from dreamif_model.metrics.gray import GrayInput, Measured, images

NABF_THRESHOLD = 2.0  # gray levels per pixel; a weaker edge gets the minimum weight
NABF_MIN_WEIGHT = 0.001
ROUNDING = 1e-9  # gray levels; a gradient below it is 0 in an image that is not of whole numbers


@dataclass(frozen=True)
class _Edges:
    """Strength and angle in [-π/2, π/2] of each pixel's edge, (H, W) or a selection of it."""

    strength: RealImage
    angle: RealImage

    def __getitem__(self, selected: NDArray[np.bool_]) -> _Edges:
        return _Edges(self.strength[selected], self.angle[selected])


def qabf(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """Qabf: edge information kept from both sources.

    For each source S, with edge strength g and angle α by 3×3 Sobel (borders zero):
    G = min(g_S, g_F) / max(g_S, g_F) and A = 1 - abs(α_S - α_F) / (π/2);
    Q_S = Γg / (1 + exp(κg (G - σg))) · Γα / (1 + exp(κα (A - σα))), Γg .9994, κg -15, σg .5,
    Γα .9879, κα -22, σα .8; α is π/2 where there is no horizontal gradient.
    Qabf = Σ (Q_I g_I + Q_V g_V) / Σ (g_I + g_V); 0 without any edge.

    Xydeas & Petrović, Objective image fusion performance measure, Electronics Letters 2000.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        0 to 1, higher is better.

    Raises:
        ImageError: an image has another shape.
    """
    one, *sources = images(fused, infrared, visible)
    edges = one.once(_edges_qabf)
    kept = weight = 0.0
    for source in (image.once(_edges_qabf) for image in sources):
        weight += _total(source.strength)
        kept += _total(_kept_qabf(source, edges) * source.strength)
    return kept / weight if weight else 0.0


def nabf(fused: GrayInput, infrared: GrayInput, visible: GrayInput) -> float:
    """Nabf: edges that fusion added and no source has, such as artifacts and noise.

    Edge strength g and angle α by 3×3 Sobel / 8, borders mirrored; G as in :func:`qabf`,
    A = abs(abs(α_S - α_F) - π/2) / (π/2),
    Q_S = sqrt(.9999 / (1 + exp(-19 (G - .5))) · .9995 / (1 + exp(-22 (A - .5)))), weight
    w_S = g_S^1.5 where g_S ≥ 2, else .001. Nabf = Σ_N ((1 - Q_I) w_I + (1 - Q_V) w_V) /
    Σ (w_I + w_V), N the pixels where g_F > g_I and g_F > g_V.

    Petrović & Xydeas 2005, in the modified form of Shreyamsha Kumar, Multifocus and
    multispectral image fusion based on pixel significance using DCHWT, SIViP 2013.

    Args:
        fused: (H, W) gray levels in [0, 255].
        infrared: likewise, of the same size.
        visible: likewise, of the same size.

    Returns:
        0 to 1, lower is better.

    Raises:
        ImageError: an image has another shape.
    """
    one, *sources = images(fused, infrared, visible)
    edges = one.once(_edges_nabf)
    added = np.all([edges.strength > image.once(_edges_nabf).strength for image in sources], axis=0)
    lost = whole = 0.0
    for image in sources:
        source, weight = image.once(_edges_nabf), image.once(_weight_nabf)
        whole += _total(weight)
        lost += _total((1 - _kept_nabf(source[added], edges[added])) * weight[added])
    return lost / whole


def _total(values: RealImage) -> float:
    return float(values.sum(dtype=np.float64))


def _edges_qabf(image: Measured) -> _Edges:
    gx, gy = sobel(image.compact, ZERO_BORDER)
    upright = np.abs(gx) < ROUNDING
    angle = np.arctan(np.divide(gy, gx, out=np.zeros_like(gx), where=~upright))
    angle[upright] = np.pi / 2
    return _Edges(_length(gx, gy), angle)


def _edges_nabf(image: Measured) -> _Edges:
    gx, gy = sobel(image.compact, MIRROR_BORDER, 1 / 8)
    level = gy == 0
    angle = np.arctan(np.divide(gx, gy, out=np.zeros_like(gx), where=~level))
    angle[level] = np.sign(gx[level]) * np.float32(np.pi / 2)
    return _Edges(_length(gx, gy), angle)


def _length(gx: RealImage, gy: RealImage) -> RealImage:
    squares = gx * gx
    squares += gy * gy
    return np.sqrt(squares, out=squares)


def _kept_qabf(source: _Edges, fused: _Edges) -> RealImage:
    apart = np.abs(source.angle - fused.angle)
    kept = _sigmoid(_ratio(source.strength, fused.strength), 0.9994, -15, 0.5)
    kept *= _sigmoid(1 - apart / (np.pi / 2), 0.9879, -22, 0.8)
    return kept


def _kept_nabf(source: _Edges, fused: _Edges) -> RealImage:
    apart = np.abs(source.angle - fused.angle)
    kept = _sigmoid(_ratio(source.strength, fused.strength), 0.9999, -19, 0.5)
    kept *= _sigmoid(np.abs(apart / (np.pi / 2) - 1), 0.9995, -22, 0.5)
    return np.sqrt(kept, out=kept)


def _weight_nabf(image: Measured) -> RealImage:
    strength = image.once(_edges_nabf).strength
    weight = strength * np.sqrt(strength)
    weight[strength < NABF_THRESHOLD] = NABF_MIN_WEIGHT
    return weight


def _ratio(a: RealImage, b: RealImage) -> RealImage:
    """The smaller value over the larger one; 0 where both are 0."""
    larger = np.maximum(a, b)
    np.maximum(larger, np.finfo(larger.dtype).tiny, out=larger)
    return np.minimum(a, b) / larger


def _sigmoid(value: RealImage, top: float, slope: float, middle: float) -> RealImage:
    bent = value - middle
    bent *= slope
    np.exp(bent, out=bent)
    bent += 1
    return np.divide(top, bent, out=bent)
