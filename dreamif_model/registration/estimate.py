"""Estimate the homography from infrared to visible pixels from pairs of images.

The best homography is the one whose edges agree best: :mod:`dreamif_model.registration.alignment`.
A search over scales, rotations and shifts at low resolution gives the start; an ascent over the
four corners improves it from coarse to fine. This is done three times: for each half of a
checkerboard over the visible image, which gives two independent answers, and for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dreamif_model.arrays import FloatImage, GrayOrFloat, Matrix, Points
from dreamif_model.cameras import Camera
from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.registration.alignment import as_float
from dreamif_model.registration.ascent import Climber, climb_halves
from dreamif_model.registration.pyramid import Level, Pairs, homography
from dreamif_model.registration.search import search, start

Item = TypeVar("Item")

MAX_PAIRS = 6  # used for an estimate, chosen evenly
MIN_SIDE = 32  # pixels
LEVEL_WIDTHS = (160, 320, 640)  # pixels of the visible image; the search uses the first
MIN_AGREEMENT = 0.18  # unrelated photographs reach 0.15
MAX_RESIDUAL = 0.01  # of the visible diagonal


@dataclass(frozen=True)
class Alignment:
    """The result of the estimate."""

    homography: Matrix  # (3, 3), infrared pixel to visible pixel
    residual_px: float  # mean distance of the corners in the two answers, in visible pixels
    agreement: float  # of the edges in [-1, 1]: alignment_score, at most 320 pixels wide


def align(
    infrared: Sequence[GrayOrFloat],
    visible: Sequence[GrayOrFloat],
    finest_width: int = LEVEL_WIDTHS[-1],
) -> Alignment:
    """Estimate the homography from pairs of images of the same moment.

    It finds shifts up to 0.12 of the width and height, rotations up to 6 degrees and scales from
    0.73 to 1.37, relative to an infrared image that is centred on the visible one and covers it.

    Args:
        infrared: (h, w) each, all of one size.
        visible: (H, W) luma each, all of one size.
        finest_width: width of the visible image at the last level, in pixels.

    Returns:
        The homography and how reliable it is.

    Raises:
        CalibrationError: the edges agree no better than by chance, or the two halves disagree.
        ImageError: images are too small or of different sizes.
    """
    pairs = Pairs(_chosen(infrared, Camera.INFRARED), _chosen(visible, Camera.VISIBLE))
    widths = sorted({min(width, finest_width, pairs.visible_size[0]) for width in LEVEL_WIDTHS})
    levels = [Level(pairs, width) for width in widths]
    climbers = [Climber(level) for level in levels]
    halves = search(levels[0])
    corners = [start(levels[0], surface) for surface in (*halves, halves[0] + halves[1])]
    corners = climb_halves(climbers, corners)
    judging = max(i for i, width in enumerate(widths) if width <= max(LEVEL_WIDTHS[1], widths[0]))
    reached = climbers[judging].fit(levels[judging].to_level(corners[2])).agreement
    residual = judge(reached, corners, pairs)
    return Alignment(homography(pairs.corners, corners[2]), residual, reached)


def judge(reached: float, corners: Sequence[Points], pairs: Pairs) -> float:
    """Compare the answers of both halves.

    Args:
        reached: agreement of the edges in [-1, 1].
        corners: the answers, as climb_halves gives them.
        pairs: the images.

    Returns:
        The mean distance of both halves' corners, in visible pixels.

    Raises:
        CalibrationError: the edges agree no better than by chance, or the two halves disagree.
    """
    residual = float(np.linalg.norm(corners[0] - corners[1], axis=1).mean())
    advice = "take sharp pairs of the same moment with edges that both cameras see"
    if not reached >= MIN_AGREEMENT:
        raise CalibrationError(
            f"the edges of both cameras agree no better than chance ({reached:.2f}, "
            f"needed {MIN_AGREEMENT:g}): {advice}"
        )
    limit = MAX_RESIDUAL * math.hypot(*pairs.visible_size)
    if not residual <= limit:
        raise CalibrationError(
            f"two halves of the image say different things, {residual:.1f} pixels apart (at most "
            f"{limit:.1f}): {advice} all over the image"
        )
    return residual


def _chosen(images: Sequence[GrayOrFloat], camera: Camera) -> list[FloatImage]:
    """At most MAX_PAIRS images, checked and in float."""
    if not images:
        raise CalibrationError(f"there are no {camera} images to calibrate from")
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or len(images[0].shape) != 2:
        raise ImageError(
            f"the {camera} images must be gray, (height, width), and of one size, got "
            f"{sorted(shapes)}: give images of one camera in one mode"
        )
    if min(images[0].shape) < MIN_SIDE:
        raise ImageError(
            f"the {camera} images are {images[0].shape}, expected {MIN_SIDE} pixels or more"
        )
    return [as_float(image) for image in evenly(images)]


def evenly(items: Sequence[Item], count: int = MAX_PAIRS) -> list[Item]:
    """At most ``count`` items, spread from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]
