"""JPEG and PNG files as ``image_transport`` sends them: bytes to arrays and back.

The bytes are checked before OpenCV sees them: some versions of OpenCV fill a truncated JPEG with
gray and only warn on stderr, and all versions allocate as much as a damaged header asks for.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import ImageError

MAX_PIXELS = 1 << 26  # 67 megapixels; a header that asks for more is damaged

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SEGMENT = re.compile(rb"\xff+([^\x00\xff])(..)", re.DOTALL)  # marker, length
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF markers: they hold the size
_JPEG_SCAN = 0xDA
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xae\x42\x60\x82"  # the last chunk's name and checksum


@dataclass(frozen=True)
class Format:
    """``CompressedImage.format``: ``<encoding>; <codec> compressed <stored>``, or the codec."""

    text: str

    @property
    def encoding(self) -> str:
        """The encoding of the image before it was compressed; empty where it is not given."""
        return self.text.partition(";")[0].strip()

    @property
    def stored(self) -> str:
        """The encoding of the pixels in the file; empty where it is the image's own."""
        return self.text.partition("compressed")[2].strip()

    @property
    def is_deep(self) -> bool:
        """Whether the image has more than 8 bits per value."""
        return any(bits in self.encoding for bits in ("16", "32", "64"))

    @property
    def is_mosaic(self) -> bool:
        """Whether the file holds a Bayer pattern; JPEG writers make it gray first and say so."""
        return self.encoding.startswith("bayer") and not self.stored


def refuse_large(width: int, height: int, max_megapixels: float) -> None:
    """ImageError for more pixels than the parameter of that name allows."""
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"{width}x{height} is above max_megapixels ({max_megapixels:g} Mpx): publish smaller "
            "images, or raise that parameter"
        )


def decompress(data: bytes, given: Format, max_megapixels: float = math.inf) -> NDArray[Any]:
    """Decode a JPEG or PNG file.

    Args:
        data: the file.
        given: what the message says of it.
        max_megapixels: a larger image is refused before it is decoded.

    Returns:
        (H, W) gray or (H, W, 3) RGB, uint8 or (from PNG) uint16, without alpha.

    Raises:
        ImageError: not a whole JPEG or PNG, a JPEG of a 16-bit image, or too large.
    """
    what = f"compressed image of format {given.text!r}"
    if "compressedDepth" in given.text:
        raise ImageError(f"{what}: expected jpeg or png as <topic>/compressed carries them")
    if data.startswith(_JPEG_START):
        if given.is_deep:
            raise ImageError(f"{what}: JPEG keeps 8 bits of each value, publish png or image_raw")
        size, complete = _inspect_jpeg(data)
    elif data.startswith(_PNG_START):
        size, complete = _inspect_png(data)
    else:
        raise ImageError(f"{what}: expected jpeg or png, its {len(data)} bytes are neither")
    if not complete:
        raise ImageError(f"{what} is cut off: its {len(data)} bytes have no end marker")
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{what} says {size[0]}×{size[1]}, expected {MAX_PIXELS} pixels at most")
    refuse_large(*size, max_megapixels)
    image = _decode(data, what)
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    if given.stored.startswith("rgb"):  # was handed to the codec as if it were BGR
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_file(image: NDArray[Any], codec: str, quality: int) -> NDArray[np.uint8]:
    """The bytes (n,) of a JPEG or PNG file.

    Args:
        image: (H, W, 3) uint8 RGB, (H, W) uint8, or for PNG (H, W) uint16.
        codec: ``jpeg`` or ``png``.
        quality: of a JPEG, 1 to 100.
    """
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    options = (cv2.IMWRITE_JPEG_QUALITY, quality) if codec == "jpeg" else ()
    return np.asarray(cv2.imencode(f".{codec}", stored, options)[1], np.uint8).reshape(-1)


def compress_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG file of (H, W, 3) uint8 RGB; quality 1 to 100."""
    return encode_file(image, "jpeg", quality).tobytes()


def _inspect_jpeg(data: bytes) -> tuple[tuple[int, int], bool]:
    """Width and height, and whether an end marker follows the first scan.

    The segments before the scan are skipped by their lengths, because a thumbnail in one of them
    has its own end marker.
    """
    width, height, position = 0, 0, len(_JPEG_START)
    while segment := _JPEG_SEGMENT.match(data, position):
        marker, content = segment[1][0], segment.end()
        if marker == _JPEG_SCAN:
            return (width, height), data.find(_JPEG_END, content) >= 0
        if marker in _JPEG_FRAMES:
            height = int.from_bytes(data[content + 1 : content + 3], "big")
            width = int.from_bytes(data[content + 3 : content + 5], "big")
        position = content - 2 + int.from_bytes(segment[2], "big")  # a length counts itself
    return (width, height), False


def _inspect_png(data: bytes) -> tuple[tuple[int, int], bool]:
    """Width and height, which follow the name of the first chunk, and whether the file is whole."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return (width, height), _PNG_END in data


def _decode(data: bytes, what: str) -> NDArray[Any]:
    """(H, W), (H, W, 3) or (H, W, 4), colour as BGR as OpenCV returns it."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{what} is damaged: {error.err}") from None
    if image is None:
        raise ImageError(f"{what} is damaged: OpenCV cannot decode its {len(data)} bytes")
    return image
