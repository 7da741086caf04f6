"""Turns image messages, raw and compressed, into arrays: the only reader of their bytes.

Arrays are (H, W) or (H, W, 3), colour as RGB. Pixels are not copied where the bytes already are
the array. A message of any content gives an array or an ImageError. Its class does not matter:
messages of ROS and of rosbags have the same fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both
from dreamif_model.errors import ImageError
from dreamif_ros.images.compressed import Format, decompress, refuse_large
from dreamif_ros.stamps import to_ns

ImageMessage: TypeAlias = Any  # sensor_msgs/Image or CompressedImage, of ROS or of rosbags
InfraredPixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


@dataclass(frozen=True)
class _Layout:
    dtype: type[np.generic]
    channels: int
    to_rgb: int | None = None  # cv2 colour conversion; None: the channels are RGB or gray


@dataclass(frozen=True)
class _RawImage:
    """The fields of an Image that hold its pixels, as cv_bridge reads them."""

    encoding: str
    height: int
    width: int
    step: int
    data: bytes
    is_bigendian: int = 0


_LAYOUTS = {
    "mono8": _Layout(np.uint8, 1),
    "8UC1": _Layout(np.uint8, 1),
    "mono16": _Layout(np.uint16, 1),
    "16UC1": _Layout(np.uint16, 1),
    "32FC1": _Layout(np.float32, 1),
    "rgb8": _Layout(np.uint8, 3),
    "bgr8": _Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    "8UC3": _Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),  # OpenCV's order, as its writers mean it
    "rgba8": _Layout(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
}


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
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        return _decode_with_cv_bridge(message)
    _check_size(message, layout)
    row_bytes = message.width * layout.channels * np.dtype(layout.dtype).itemsize
    rows = np.frombuffer(message.data, np.uint8, message.height * message.step)
    rows = rows.reshape(message.height, message.step)[:, :row_bytes]
    stored = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    pixels = np.ascontiguousarray(rows).view(stored).astype(layout.dtype, copy=False)
    if layout.channels == 1:
        return pixels
    pixels = pixels.reshape(message.height, message.width, layout.channels)
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def decode_visible(message: ImageMessage, max_megapixels: float = math.inf) -> NDArray[np.uint8]:
    """(H, W, 3) RGB or (H, W) gray, uint8; ImageError for anything that cannot be that."""
    image = decode(message, max_megapixels)
    if image.dtype != np.uint8:
        raise ImageError(
            f"the visible image is {encoding_of(message)}, expected 8 bit: mono8, rgb8 or bgr8"
        )
    return image


def decode_infrared(message: ImageMessage, max_megapixels: float = math.inf) -> InfraredPixels:
    """(h, w) counts as uint8 or uint16, or °C as float32 (``32FC1``), NaN where a pixel has none.

    Colour (a palette camera) becomes BT.601 luma. ImageError for anything that cannot be that.
    """
    image = decode(message, max_megapixels)
    if image.ndim == 2:
        return image
    if image.dtype != np.uint8:
        raise ImageError(
            f"the infrared image is {encoding_of(message)} in colour, expected 16 bit as mono16"
        )
    gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    return gray


DECODERS: Both[Callable[[ImageMessage], NDArray[Any]]] = Both(decode_infrared, decode_visible)


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
        return _decode_with_cv_bridge(
            _RawImage(given.encoding, height, width, pixels.strides[0], pixels.tobytes())
        )
    return image


def _check_size(message: ImageMessage, layout: _Layout) -> None:
    """Refuse a message whose ``step`` and ``data`` cannot hold its width and height."""
    what = f"{message.encoding} image of {message.width}×{message.height}"
    if message.width == 0 or message.height == 0:
        raise ImageError(f"empty image: {what}")
    needed = message.width * layout.channels * np.dtype(layout.dtype).itemsize
    if message.step < needed:
        raise ImageError(f"{what} needs a step of at least {needed} bytes, got {message.step}")
    if len(message.data) < message.height * message.step:
        raise ImageError(
            f"{what} with step {message.step} needs {message.height * message.step} bytes of "
            f"data, got {len(message.data)}"
        )


def _decode_with_cv_bridge(message: ImageMessage) -> NDArray[Any]:
    """Rare encodings (Bayer, YUV 4:2:2), with cv_bridge where it is installed."""
    supported = ", ".join(_LAYOUTS)
    try:
        from cv_bridge import CvBridge
    except ImportError as error:
        raise ImageError(
            f"encoding {message.encoding!r} is not one of {supported}: publish one of these, or "
            f"install cv_bridge (ros-<distro>-cv-bridge), which converts more ({error})"
        ) from None
    try:
        image: NDArray[Any] = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except Exception as error:  # CvBridgeError, and what numpy and OpenCV say to short data
        raise ImageError(
            f"encoding {message.encoding!r} is not one of {supported}, and cv_bridge cannot "
            f"convert it: {error}"
        ) from None
    return image
