"""The encodings of raw images that are decoded here: how each lies in memory, and its colours.

Names are those of ``sensor_msgs/image_encodings.hpp``. To add one, add its row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both

Convert = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an encoding are stored.

    Attributes:
        dtype: of one value.
        channels: values per pixel in a row of the image.
        convert: stored pixels to (H, W) or (H, W, 3) RGB; None where they are that already.
        half_rows: rows of data for two rows of the image: 2 but for planar YUV.
        even: whether width and height must be even.
    """

    dtype: type[np.generic]
    channels: int = 1
    convert: Convert | None = None
    half_rows: int = 2
    even: tuple[bool, bool] = (False, False)


def _color(code: int) -> Convert:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code))


def _nv24(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Full-size chroma, as NV12 of twice the size, of which every second pixel is taken.

    OpenCV has no NV24. The rows of data are H of luma, then 2·H that hold H rows of W pairs.
    """
    height, width = planes.shape[0] // 3, planes.shape[1]
    luma = planes[:height].repeat(2, axis=0).repeat(2, axis=1)
    chroma = planes[height:].reshape(height, 2 * width)
    doubled = cv2.cvtColor(np.vstack((luma, chroma)), cv2.COLOR_YUV2RGB_NV12)
    return np.ascontiguousarray(doubled[::2, ::2], np.uint8)


_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}
_UYVY = Encoding(np.uint8, 2, _color(cv2.COLOR_YUV2RGB_UYVY), even=(True, False))
_YUYV = Encoding(np.uint8, 2, _color(cv2.COLOR_YUV2RGB_YUYV), even=(True, False))

ENCODINGS: dict[str, Encoding] = {
    "mono8": Encoding(np.uint8),
    "8UC1": Encoding(np.uint8),
    "mono16": Encoding(np.uint16),
    "16UC1": Encoding(np.uint16),
    "32FC1": Encoding(np.float32),
    "rgb8": Encoding(np.uint8, 3),
    "bgr8": Encoding(np.uint8, 3, _color(cv2.COLOR_BGR2RGB)),
    "rgba8": Encoding(np.uint8, 4, _color(cv2.COLOR_RGBA2RGB)),
    "bgra8": Encoding(np.uint8, 4, _color(cv2.COLOR_BGRA2RGB)),
    # OpenCV's own types are in OpenCV's order, as its writers mean them.
    "8UC3": Encoding(np.uint8, 3, _color(cv2.COLOR_BGR2RGB)),
    "8UC4": Encoding(np.uint8, 4, _color(cv2.COLOR_BGRA2RGB)),
    "rgb16": Encoding(np.uint16, 3),
    "bgr16": Encoding(np.uint16, 3, _color(cv2.COLOR_BGR2RGB)),
    "rgba16": Encoding(np.uint16, 4, _color(cv2.COLOR_RGBA2RGB)),
    "bgra16": Encoding(np.uint16, 4, _color(cv2.COLOR_BGRA2RGB)),
    "16UC3": Encoding(np.uint16, 3, _color(cv2.COLOR_BGR2RGB)),
    "16UC4": Encoding(np.uint16, 4, _color(cv2.COLOR_BGRA2RGB)),
    **{f"bayer_{name}8": Encoding(np.uint8, 1, _color(code)) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(np.uint16, 1, _color(code)) for name, code in _BAYER.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": Encoding(np.uint8, 1, _color(cv2.COLOR_YUV2RGB_NV12), half_rows=3, even=(True, True)),
    "nv21": Encoding(np.uint8, 1, _color(cv2.COLOR_YUV2RGB_NV21), half_rows=3, even=(True, True)),
    "nv24": Encoding(np.uint8, 1, _nv24, half_rows=6),
}

# What each camera should publish, named in errors.
BEST = Both("mono16, mono8 or 32FC1 (°C)", "rgb8, bgr8 or mono8")
