"""A picture for machines: fused so that detectors of photographs find more in it.

Such detectors learned that people and cars stand out from what is around them, and that people at
night are darker than it. Drawn bright, as hot things are in a fused image for people, they are
missed. So hot things are drawn dark on a picture of both cameras::

    B = stretch(.6 V + .4 I)                brightness from black to white
    D = max(I − G(I), 0)                    how much hotter a pixel is than what is around it
    L = (.1 + .9 B) · exp(−5 D)

V and I are the luma of both images in [0, 1], G a Gaussian of σ = 30 pixels at a width of 640. B
has a share of I so that what visible does not show (fog, glare, dark) is there, and it is stretched
so that a veil or the night costs no contrast. ``docs/detection.md`` has what each choice finds.
"""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, GrayImage, as_bytes

INFRARED_SHARE = 0.4
BLACK, WHITE = 0.2, 99.8  # percentiles of the brightness that become black and white
MIN_SPAN = 26.0  # gray levels that are stretched at least, so that noise is not
FLOOR = 0.1  # brightness of black where nothing is hot: dark hot things stand out from it
HOT = 5.0  # how strongly hot things are darkened
SIGMA = 30 / 640  # of the image's width
COARSE_WIDTH = 160  # pixels of the small copy that is blurred instead of the image
SAMPLE = 4  # every fourth row and column gives the percentiles


def detection_luma(
    infrared: GrayImage, visible: GrayImage, coverage: FloatImage | None = None
) -> GrayImage:
    """The luma of the picture for machines.

    Args:
        infrared: (H, W), aligned; where it does not reach, the visible luma.
        visible: (H, W) luma.
        coverage: (H, W) in [0, 1], how much infrared counts; None for 1 everywhere.

    Returns:
        (H, W), where hot things are darker than what is around them.
    """
    both = as_bytes(cv2.addWeighted(visible, 1 - INFRARED_SHARE, infrared, INFRARED_SHARE, 0))
    hotter = as_bytes(cv2.subtract(infrared, surroundings(infrared)))  # 0 where it is colder
    if coverage is not None:
        hotter = as_bytes(cv2.multiply(hotter, coverage, dtype=cv2.CV_8U))
    low, high = np.percentile(both[::SAMPLE, ::SAMPLE], (BLACK, WHITE))
    levels = np.arange(256, dtype=np.float32)
    stretched = np.clip((levels - low) / max(high - low, MIN_SPAN), 0, 1)
    bright = 255 * (FLOOR + (1 - FLOOR) * stretched)
    dark = np.exp(-HOT * levels / 255)
    tables = (table.astype(np.float32) for table in (bright, dark))
    first, second = (
        cv2.LUT(image, table) for image, table in zip((both, hotter), tables, strict=True)
    )
    return as_bytes(cv2.multiply(first, second, dtype=cv2.CV_8U))


def surroundings(image: GrayImage) -> GrayImage:
    """A Gaussian blur of σ = 30 pixels at a width of 640, computed on a small copy."""
    height, width = image.shape
    size = COARSE_WIDTH, max(1, round(height * COARSE_WIDTH / width))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), SIGMA * COARSE_WIDTH)
    return as_bytes(cv2.resize(blurred, (width, height)))
