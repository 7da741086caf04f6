"""Dominance maps for people: which camera gave each part of the fused image."""

from __future__ import annotations

import numpy as np

from dreamif_model.arrays import FloatImage, RgbImage

# RGB at infrared shares 0, ½ and 1: blue where visible leads, orange where infrared does.
_ANCHORS = np.array([[40, 110, 240], [128, 128, 128], [255, 120, 0]])
_COLORS = np.stack(
    [np.interp(np.linspace(0, 2, 256), (0, 1, 2), channel) for channel in _ANCHORS.T], axis=1
).astype(np.uint8)


def dominance_overlay(
    fused: RgbImage,
    dominance_infrared: FloatImage,
    dominance_visible: FloatImage,
) -> RgbImage:
    """Tint the fused image by the infrared share of dominance.

    fused: (H, W, 3) RGB uint8. dominance: (H, W) in [0, 1] each. Returns (H, W, 3) RGB uint8:
    the mean of the fused image and blue (visible leads) to orange (infrared leads).
    """
    total = np.maximum(dominance_infrared + dominance_visible, np.float32(1e-6))
    share = (dominance_infrared / total * 255).astype(np.uint8)
    tint: RgbImage = np.take(_COLORS, share, axis=0)
    return (fused & tint) + ((fused ^ tint) >> 1)  # the mean, without a wider type
