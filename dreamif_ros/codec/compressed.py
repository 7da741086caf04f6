"""JPEG and PNG files as ``image_transport`` sends them: bytes to arrays and back.

What a file costs is asked of the decoder itself before it decodes. JPEG is read by libjpeg-turbo,
by way of simplejpeg, whose header call reads exactly what its decoder will read: a scan of our own
can be led astray. A PNG's size stands at one place, and its chunks are measured before OpenCV,
which allocates what a chunk claims, sees them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from dreamif_model.errors import ImageError

MAX_PIXELS = 1 << 26  # 67 megapixels; a header that asks for more is damaged

MAX_SCANS = 64  # of a JPEG; a progressive one has about ten, and each costs a whole decoding

_JPEG_START = b"\xff\xd8"
_JPEG_SCAN = b"\xff\xda"  # compressed data never holds these two bytes
_JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"


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
        return _decode_jpeg(data, given, what, max_megapixels)
    if data.startswith(_PNG_START):
        return _decode_png(data, given, what, max_megapixels)
    raise ImageError(f"{what}: expected jpeg or png, its {len(data)} bytes are neither")


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


def _decode_jpeg(data: bytes, given: Format, what: str, max_megapixels: float) -> NDArray[np.uint8]:
    scans = data.count(_JPEG_SCAN)
    if scans > MAX_SCANS:
        raise ImageError(f"{what} has {scans} scans, expected {MAX_SCANS} at most")
    if not scans or data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
        raise ImageError(f"{what} is cut off: its {len(data)} bytes have no end marker")
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        _check_size(width, height, what, max_megapixels)
        # Files of "rgb8; jpeg compressed rgb8" were handed to the encoder as if they were BGR.
        order = "BGR" if given.stored.startswith("rgb") else "RGB"
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if colors == "Gray" else order, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: it knows no such colours
        raise ImageError(f"{what} is damaged: {error}") from None
    return np.asarray(pixels[..., 0] if colors == "Gray" else pixels, np.uint8)


def _decode_png(data: bytes, given: Format, what: str, max_megapixels: float) -> NDArray[Any]:
    _check_chunks(data, what)
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    _check_size(width, height, what, max_megapixels)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{what} is damaged: {error.err}") from None
    if image is None:
        raise ImageError(f"{what} is damaged: OpenCV cannot decode its {len(data)} bytes")
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    return image if given.stored.startswith("rgb") else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _check_chunks(data: bytes, what: str) -> None:
    """Refuse a PNG that does not begin with its size, or whose chunks are longer than the file."""
    position, name = len(_PNG_START), b""
    while position + 12 <= len(data) and name != b"IEND":
        length, name = (
            int.from_bytes(data[position : position + 4], "big"),
            data[position + 4 :][:4],
        )
        if position == len(_PNG_START) and name != b"IHDR":
            raise ImageError(f"{what} is damaged: it begins with {name!r}, expected IHDR")
        position += 12 + length
    if name != b"IEND" or position > len(data):
        raise ImageError(f"{what} is cut off: its {len(data)} bytes have no end marker")


def _check_size(width: int, height: int, what: str, max_megapixels: float) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{what} says {width}×{height}, expected {MAX_PIXELS} pixels at most")
    refuse_large(width, height, max_megapixels)
