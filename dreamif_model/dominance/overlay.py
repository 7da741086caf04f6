"""A picture that shows which camera each part of the fused image came from."""

from __future__ import annotations

import numpy as np

from dreamif_model.arrays import FloatImage, RgbImage

# RGB at infrared shares 0, ½ and 1: blue where visible dominates, orange where infrared does.
_ANCHORS = np.array([[40, 110, 240], [128, 128, 128], [255, 120, 0]])
_COLORS = np.stack(
    [np.interp(np.linspace(0, 2, 256), (0, 1, 2), channel) for channel in _ANCHORS.T], axis=1
).astype(np.uint8)


def dominance_overlay(
    fused: RgbImage,
    dominance_infrared: FloatImage,
    dominance_visible: FloatImage,
) -> RgbImage:
    """Mix the fused image with blue where visible dominates and orange where infrared does."""
    total = np.maximum(dominance_infrared + dominance_visible, np.float32(1e-6))
    share = (dominance_infrared / total * 255).astype(np.uint8)
    tint: RgbImage = np.take(_COLORS, share, axis=0)
    return (fused & tint) + ((fused ^ tint) >> 1)  # the mean, in 8 bits
