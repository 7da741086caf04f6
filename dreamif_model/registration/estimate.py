"""How an infrared image lies on a visible one: a homography estimated from pairs of images.

Alignment is judged by the edges, see :mod:`dreamif_model.registration.alignment`. A search
over scales, rotations and shifts at low resolution finds where to start; an ascent over the four
corners, from coarse to fine, finishes. It is done three times: for each half of a checkerboard over
the visible image, whose answers know nothing of each other, and for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dreamif_model.arrays import FloatImage, GrayOrFloat, Matrix
from dreamif_model.cameras import Camera
from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.registration.alignment import as_float
from dreamif_model.registration.ascent import Climber
from dreamif_model.registration.pyramid import Level, Pairs, homography
from dreamif_model.registration.search import search, start

Item = TypeVar("Item")

MAX_PAIRS = 6  # that are looked at, chosen evenly
MIN_SIDE = 32  # pixels
LEVEL_WIDTHS = (160, 320, 640)  # pixels of the visible image; the search is in the first
MIN_AGREEMENT = 0.18  # unrelated photographs reach 0.15
MAX_RESIDUAL = 0.01  # of the visible diagonal


@dataclass(frozen=True)
class Alignment:
    """Where infrared pixels lie in the visible image."""

    homography: Matrix  # (3, 3), infrared pixel to visible pixel
    residual_px: float  # visible pixels: mean corner distance of the answers of two halves
    agreement: float  # of the edges in [-1, 1], see alignment_score; at most 320 pixels wide


def align(
    infrared: Sequence[GrayOrFloat],
    visible: Sequence[GrayOrFloat],
    finest_width: int = LEVEL_WIDTHS[-1],
) -> Alignment:
    """Estimate the homography from pairs of the same moment, each camera's of one size.

    infrared: (h, w) each. visible: luma (H, W) each. uint8, or float32 in [0, 1]. Found are shifts
    up to 0.12 of the width and height, rotations to 6 degrees and scales of 0.73 to 1.37 around the
    infrared image that is centred on the visible one and covers it. finest_width: of the visible
    image in the last level, in pixels. CalibrationError where the images do not tell, because
    edges agree no better than by chance or the two halves disagree.
    """
    pairs = Pairs(_chosen(infrared, Camera.INFRARED), _chosen(visible, Camera.VISIBLE))
    widths = sorted({min(width, finest_width, pairs.visible_size[0]) for width in LEVEL_WIDTHS})
    levels = [Level(pairs, width) for width in widths]
    climbers = [Climber(level) for level in levels]
    halves = search(levels[0])
    corners = [start(levels[0], surface) for surface in (*halves, halves[0] + halves[1])]
    for climber in climbers:
        corners = [
            climber.climb(place, half) for place, half in zip(corners, (0, 1, None), strict=True)
        ]
    residual = float(np.linalg.norm(corners[0] - corners[1], axis=1).mean())
    judge = max(i for i, width in enumerate(widths) if width <= max(LEVEL_WIDTHS[1], widths[0]))
    reached = climbers[judge].fit(levels[judge].to_level(corners[2])).agreement
    _refuse_doubts(reached, residual, pairs)
    return Alignment(homography(pairs.corners, corners[2]), residual, reached)


def _refuse_doubts(reached: float, residual: float, pairs: Pairs) -> None:
    advice = "take sharp pairs of the same moment with edges that both cameras see"
    if not reached >= MIN_AGREEMENT:
        raise CalibrationError(
            f"the edges of both cameras agree no better than chance would have it ({reached:.2f}, "
            f"needed {MIN_AGREEMENT:g}): {advice}"
        )
    limit = MAX_RESIDUAL * math.hypot(*pairs.visible_size)
    if not residual <= limit:
        raise CalibrationError(
            f"two halves of the image say different things, {residual:.1f} pixels apart (at most "
            f"{limit:.1f}): {advice} all over the image"
        )


def _chosen(images: Sequence[GrayOrFloat], camera: Camera) -> list[FloatImage]:
    """At most MAX_PAIRS images, chosen evenly."""
    if not images:
        raise CalibrationError(f"there are no {camera} images to calibrate from")
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or len(images[0].shape) != 2:
        raise ImageError(f"the {camera} images must be (H, W) of one size, got {sorted(shapes)}")
    if min(images[0].shape) < MIN_SIDE:
        raise ImageError(
            f"the {camera} images are {images[0].shape}, expected {MIN_SIDE} pixels or more"
        )
    return [as_float(image) for image in evenly(images)]


def evenly(items: Sequence[Item]) -> list[Item]:
    """As many as an estimate looks at, spread from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(MAX_PAIRS, len(items))).round().astype(int)
    return [items[place] for place in places]
