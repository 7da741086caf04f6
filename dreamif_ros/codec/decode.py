"""Turns image messages, raw and compressed, into arrays: the only reader of their bytes.

Arrays are (H, W) or (H, W, 3), colour as RGB. Pixels are not copied where the bytes already are
the array. A message of any content gives an array or an ImageError. Its class does not matter:
messages of ROS and of rosbags have the same fields.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both
from dreamif_model.errors import ImageError
from dreamif_ros.codec.compressed import Format, decompress, refuse_large
from dreamif_ros.codec.encodings import BEST, ENCODINGS, Encoding
from dreamif_ros.stamps import to_ns

ImageMessage: TypeAlias = Any  # sensor_msgs/Image or CompressedImage, of ROS or of rosbags
InfraredPixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


@dataclass(frozen=True)
class _RawImage:
    """The fields of an Image that hold its pixels, as cv_bridge reads them."""

    encoding: str
    height: int
    width: int
    step: int
    data: bytes
    is_bigendian: int = 0


def use_one_thread() -> None:
    """Keep OpenCV to the calling thread: its other threads spin for longer than an image takes."""
    cv2.setNumThreads(1)


def decode(message: ImageMessage, max_megapixels: float = math.inf) -> NDArray[Any]:
    """The pixels of a message, in its depth and this machine's byte order.

    Args:
        message: ``Image`` or ``CompressedImage``.
        max_megapixels: a larger image is refused before it is decoded.

    Returns:
        (H, W) or (H, W, 3) RGB.

    Raises:
        ImageError: the message holds no image, or one that is too large.
    """
    if hasattr(message, "format"):
        return _decode_compressed(message, max_megapixels)
    refuse_large(message.width, message.height, max_megapixels)
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _decode_with_cv_bridge(message)
    rows = _check_size(message, encoding)
    row_bytes = message.width * encoding.channels * np.dtype(encoding.dtype).itemsize
    data = np.frombuffer(message.data, np.uint8, rows * message.step)
    data = data.reshape(rows, message.step)[:, :row_bytes]
    stored = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    pixels = np.ascontiguousarray(data).view(stored).astype(encoding.dtype, copy=False)
    if encoding.channels > 1:
        pixels = pixels.reshape(rows, message.width, encoding.channels)
    return pixels if encoding.convert is None else encoding.convert(pixels)


def decode_visible(message: ImageMessage, max_megapixels: float = math.inf) -> NDArray[np.uint8]:
    """The visible camera's image, in 8 bit.

    16 bit becomes 8 by dividing by 257, which maps the full range of the type to the full range
    of the other: the same in every frame, however dark it is.

    Returns:
        (H, W, 3) RGB or (H, W) gray, uint8.

    Raises:
        ImageError: the message holds no such image.
    """
    image = decode(message, max_megapixels)
    if image.dtype == np.uint16:
        return np.asarray(cv2.convertScaleAbs(image, alpha=1 / 257), np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(
            f"the visible image is {encoding_of(message)}, expected 8 or 16 bit: publish "
            f"{BEST.visible}"
        )
    return image


def decode_infrared(message: ImageMessage, max_megapixels: float = math.inf) -> InfraredPixels:
    """The infrared camera's image; colour (a palette camera) becomes BT.601 luma.

    Returns:
        (h, w) counts as uint8 or uint16, or °C as float32 (``32FC1``), NaN where a pixel has none.

    Raises:
        ImageError: the message holds no such image.
    """
    image = decode(message, max_megapixels)
    if image.ndim == 2:
        return image
    gray: NDArray[Any] = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return gray


DECODERS: Both[Callable[..., NDArray[Any]]] = Both(decode_infrared, decode_visible)


def stamp_ns(message: ImageMessage) -> int:
    """The header's stamp in nanoseconds."""
    return to_ns(message.header.stamp)


def encoding_of(message: ImageMessage) -> str:
    """How a message names its pixels: ``mono16``, or ``rgb8; jpeg compressed bgr8``."""
    name: str = message.format if hasattr(message, "format") else message.encoding
    return name


def _decode_compressed(message: ImageMessage, max_megapixels: float) -> NDArray[Any]:
    given = Format(message.format)
    image = decompress(bytes(message.data), given, max_megapixels)
    if given.is_mosaic and image.ndim == 2:
        pixels = image.astype(image.dtype.newbyteorder("<"))
        height, width = pixels.shape
        return decode(_RawImage(given.encoding, height, width, pixels.strides[0], pixels.tobytes()))
    return image


def _check_size(message: ImageMessage, encoding: Encoding) -> int:
    """The rows of data; ImageError where ``step`` and ``data`` cannot hold width and height."""
    what = f"{message.encoding} image of {message.width}×{message.height}"
    if message.width == 0 or message.height == 0:
        raise ImageError(f"empty image: {what}")
    sides = zip((message.width, message.height), encoding.even, strict=True)
    if any(even and side % 2 for side, even in sides):
        raise ImageError(f"{what}: {message.encoding} needs even sides, its colours are shared")
    needed = message.width * encoding.channels * np.dtype(encoding.dtype).itemsize
    if message.step < needed:
        raise ImageError(f"{what} needs a step of at least {needed} bytes, got {message.step}")
    rows = int(message.height) * encoding.half_rows // 2
    if len(message.data) < rows * message.step:
        raise ImageError(
            f"{what} with step {message.step} needs {rows * message.step} bytes of "
            f"data, got {len(message.data)}"
        )
    return rows


def _decode_with_cv_bridge(message: ImageMessage) -> NDArray[Any]:
    """Encodings that are not decoded here, with cv_bridge where it is installed."""
    name = message.encoding[:60]
    best = f"publish {BEST.infrared} as infrared, {BEST.visible} as visible"
    fault = cv_bridge_fault()
    if fault:
        raise ImageError(f"encoding {name!r} is unknown, and {fault}; or {best}")
    try:
        from cv_bridge import CvBridge
    except ImportError as error:
        raise ImageError(
            f"encoding {name!r} is unknown: {best}; or install cv_bridge "
            f"(ros-<distro>-cv-bridge), which converts more ({error})"
        ) from None
    try:
        image: NDArray[Any] = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except Exception as error:  # CvBridgeError, and what numpy and OpenCV say to short data
        raise ImageError(
            f"encoding {name!r} is unknown, and cv_bridge cannot convert it ({error}): {best}"
        ) from None
    return image


@cache
def cv_bridge_fault() -> str:
    """Why cv_bridge must not be imported; empty where it may be, or is not there.

    One that was built for NumPy 1 ends a process that has NumPy 2, so another process tries first.
    """
    if "cv_bridge" in sys.modules or find_spec("cv_bridge") is None:
        return ""
    command = [sys.executable, "-c", "from cv_bridge import CvBridge; CvBridge()"]
    if not subprocess.run(command, capture_output=True, check=False).returncode:
        return ""
    return (
        f"the installed cv_bridge cannot be used with NumPy {np.__version__} and OpenCV "
        f"{cv2.__version__}: remove the copies that pip installed beside those of ROS"
    )
