"""Metrics of edges: what is kept of the sources' edges, and what edges neither source has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamif_model.metrics.filters import MIRROR_BORDER, ZERO_BORDER, sobel
from dreamif_model.metrics.gray import Gray, Plane, planes

NABF_THRESHOLD = 2.0  # gray levels per pixel; a weaker edge of a source hardly counts
NABF_LEAST_WEIGHT = 0.001
ROUNDING = 1e-9  # gray levels; a gradient below it is 0 in an image that is not of whole numbers


@dataclass(frozen=True)
class _Edges:
    """Strength and angle in [-π/2, π/2] of each pixel's edge, (H, W) or a selection of it."""

    strength: Plane
    angle: Plane

    def __getitem__(self, selected: NDArray[np.bool_]) -> _Edges:
        return _Edges(self.strength[selected], self.angle[selected])


def qabf(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """Edge information kept from both sources; 0 to 1, higher is better.

    Per source S, with edge strength g and angle α by 3×3 Sobel (borders zero):
    G = min(g_S, g_F) / max(g_S, g_F) and A = 1 - abs(α_S - α_F) / (π/2);
    Q_S = Γg / (1 + exp(κg (G - σg))) · Γα / (1 + exp(κα (A - σα))), Γg .9994, κg -15, σg .5,
    Γα .9879, κα -22, σα .8; α is π/2 where there is no horizontal gradient.
    Qabf = Σ (Q_I g_I + Q_V g_V) / Σ (g_I + g_V); 0 without any edge.

    Xydeas & Petrović, Objective image fusion performance measure, Electronics Letters 2000.
    """
    edges, *sources = (_edges_qabf(image) for image in planes(fused, infrared, visible))
    weight = sum(float(source.strength.sum()) for source in sources)
    kept = sum(float((_kept_qabf(source, edges) * source.strength).sum()) for source in sources)
    return kept / weight if weight else 0.0


def nabf(fused: Gray, infrared: Gray, visible: Gray) -> float:
    """Edges that fusion added and no source has (artifacts, noise); 0 to 1, lower is better.

    Edge strength g and angle α by 3×3 Sobel / 8, borders mirrored; G as in :func:`qabf`,
    A = abs(abs(α_S - α_F) - π/2) / (π/2),
    Q_S = sqrt(.9999 / (1 + exp(-19 (G - .5))) · .9995 / (1 + exp(-22 (A - .5)))), weight
    w_S = g_S^1.5 where g_S ≥ 2, else .001. Nabf = Σ_N ((1 - Q_I) w_I + (1 - Q_V) w_V) /
    Σ (w_I + w_V), N the pixels where g_F > g_I and g_F > g_V.

    Petrović & Xydeas 2005, in the modified form of Shreyamsha Kumar, Multifocus and
    multispectral image fusion based on pixel significance using DCHWT, SIViP 2013.
    """
    edges, *sources = (_edges_nabf(image) for image in planes(fused, infrared, visible))
    added = np.all([edges.strength > source.strength for source in sources], axis=0)
    weights = [_weight_nabf(source.strength) for source in sources]
    lost = sum(
        float(((1 - _kept_nabf(source[added], edges[added])) * weight[added]).sum())
        for source, weight in zip(sources, weights, strict=True)
    )
    return lost / sum(float(weight.sum()) for weight in weights)


def _edges_qabf(image: Plane) -> _Edges:
    gx, gy = sobel(image, ZERO_BORDER)
    upright = np.abs(gx) < ROUNDING
    slope = np.divide(gy, gx, out=np.zeros_like(gx), where=~upright)
    return _Edges(_length(gx, gy), np.where(upright, np.pi / 2, np.arctan(slope)))


def _edges_nabf(image: Plane) -> _Edges:
    gx, gy = (gradient / 8 for gradient in sobel(image, MIRROR_BORDER))
    level = np.where(gx == 0, 0.0, np.copysign(np.pi / 2, gx))  # the angle where gy is 0
    slope = np.divide(gx, gy, out=np.zeros_like(gx), where=gy != 0)
    return _Edges(_length(gx, gy), np.where(gy == 0, level, np.arctan(slope)))


def _length(gx: Plane, gy: Plane) -> Plane:
    length: Plane = np.sqrt(gx * gx + gy * gy)
    return length


def _kept_qabf(source: _Edges, fused: _Edges) -> Plane:
    alignment = 1 - np.abs(source.angle - fused.angle) / (np.pi / 2)
    strength_kept = _sigmoid(_ratio(source.strength, fused.strength), 0.9994, -15, 0.5)
    return strength_kept * _sigmoid(alignment, 0.9879, -22, 0.8)


def _kept_nabf(source: _Edges, fused: _Edges) -> Plane:
    alignment = np.abs(np.abs(source.angle - fused.angle) - np.pi / 2) / (np.pi / 2)
    strength_kept = _sigmoid(_ratio(source.strength, fused.strength), 0.9999, -19, 0.5)
    kept: Plane = np.sqrt(strength_kept * _sigmoid(alignment, 0.9995, -22, 0.5))
    return kept


def _weight_nabf(strength: Plane) -> Plane:
    return np.where(strength >= NABF_THRESHOLD, strength * np.sqrt(strength), NABF_LEAST_WEIGHT)


def _ratio(a: Plane, b: Plane) -> Plane:
    """The smaller over the greater; 0 where both are 0."""
    greater = np.maximum(a, b)
    ratio: Plane = np.divide(
        np.minimum(a, b), greater, out=np.zeros_like(greater), where=greater > 0
    )
    return ratio


def _sigmoid(value: Plane, top: float, slope: float, middle: float) -> Plane:
    bent: Plane = top / (1 + np.exp(slope * (value - middle)))
    return bent
