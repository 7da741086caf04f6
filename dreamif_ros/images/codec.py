"""The only reader and writer of image message bytes, raw and compressed.

Arrays are (H, W) or (H, W, C), colour as RGB. Decoding is zero-copy where the bytes already are
the array. Whatever the bytes and fields of a message are, it decodes or raises ImageError.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from dreamif_model.errors import ImageError
from dreamif_ros.images.compressed import (
    JPEG_FORMAT,
    Format,
    compress_jpeg,
    decompress,
    refuse_large,
)

if TYPE_CHECKING:
    from std_msgs.msg import Header

ImageMessage: TypeAlias = Image | CompressedImage  # of rclpy or of rosbags
Infrared: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


@dataclass(frozen=True)
class _Layout:
    dtype: type[np.generic]
    channels: int
    to_rgb: int | None = None  # cv2 colour conversion, None where none is needed


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
    """Keep OpenCV to the thread that calls it: its others spin for longer than an image takes."""
    cv2.setNumThreads(1)


def decode(message: ImageMessage, max_megapixels: float = math.inf) -> NDArray[Any]:
    """(H, W) or (H, W, 3) RGB in the message's depth and this machine's byte order.

    ImageError for what is no image, and for one that is larger, which is not decoded.
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
            f"the visible image is {_encoding(message)}, expected 8 bit: mono8, rgb8 or bgr8"
        )
    return image


def decode_infrared(message: ImageMessage, max_megapixels: float = math.inf) -> Infrared:
    """(h, w) counts as uint8 or uint16, or °C as float32 (``32FC1``), NaN where a pixel has none.

    Colour (a palette camera) becomes BT.601 luma. ImageError for anything that cannot be that.
    """
    image = decode(message, max_megapixels)
    if image.ndim == 2:
        return image
    if image.dtype != np.uint8:
        raise ImageError(
            f"the infrared image is {_encoding(message)} in colour, expected 16 bit as mono16"
        )
    gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    return gray


def stamp_ns(message: ImageMessage) -> int:
    """The header's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def encode(image: NDArray[Any], encoding: str, header: Header) -> Image:
    """An Image message of ``image``; an RGB array becomes bgr8 where that is asked for.

    image: (H, W, 3) uint8 RGB for ``rgb8`` and ``bgr8``; (H, W) uint8 for ``mono8``, uint16 for
    ``mono16`` and float32 for ``32FC1``.
    """
    if encoding == "bgr8":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    pixels = np.ascontiguousarray(image)
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = pixels.strides[0]
    message.data.frombytes(pixels.data.cast("B"))  # the setter would copy, maybe byte by byte
    return message


def compress(image: NDArray[np.uint8], header: Header, quality: int) -> CompressedImage:
    """A JPEG message of (H, W, 3) uint8 RGB; quality 1 to 100."""
    message = CompressedImage(header=header, format=JPEG_FORMAT)
    message.data.frombytes(compress_jpeg(image, quality))
    return message


def _encoding(message: ImageMessage) -> str:
    """How the message itself names its pixels; rosbags has message classes of its own."""
    name: str = message.format if hasattr(message, "format") else message.encoding
    return name


def _decode_compressed(message: CompressedImage, max_megapixels: float) -> NDArray[Any]:
    given = Format(message.format)
    image = decompress(bytes(message.data), given, max_megapixels)
    if given.is_mosaic and image.ndim == 2:
        return _decode_with_cv_bridge(encode(image, given.encoding, message.header))
    return image


def _check_size(message: Image, layout: _Layout) -> None:
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


def _decode_with_cv_bridge(message: Image) -> NDArray[Any]:
    """Rarer encodings (Bayer, YUV 4:2:2) through cv_bridge, on machines that have it."""
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
