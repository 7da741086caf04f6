"""What OpenCV does not tell of an image file: its orientation, its pages, and who wrote it.

JPEG and PNG keep their orientation (EXIF) in a block that is built like a small TIFF file.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import StoredImage
from dreamif_model.output_files import IMAGE_MARK

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION, _KIND_OF_PAGE = 0x0112, 0x00FE  # tags
_SMALLER_COPY, _MASK = 1, 4  # bits of _KIND_OF_PAGE: no pages of their own
_SHORT, _LONG = 3, 4  # types of a value
_MAX_PAGES = 1000  # that are looked at


class Header(NamedTuple):
    """What the file says.

    Attributes:
        data: the file, with its orientation set to 1: some versions of OpenCV turn images, others
            do not.
        orientation: 1 to 8, how to turn what OpenCV reads; 1 is upright.
        pages: of a TIFF file; 1 for all others.
    """

    data: bytes
    orientation: int = 1
    pages: int = 1


def read_header(data: bytes) -> Header:
    """Read what an image file says; damaged parts count as missing."""
    try:
        start = _tiff_start(data)
        return Header(data) if start is None else _read_tiff(data, start)
    except (struct.error, OverflowError):  # it points behind the end of the file
        return Header(data)


def upright(image: StoredImage, orientation: int) -> StoredImage:
    """Turn and mirror (H, W) or (H, W, 3) as an EXIF orientation asks for, 1 to 8."""
    turned: NDArray[Any] = image.swapaxes(0, 1) if orientation > 4 else image
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def marked(data: bytes) -> bytes:
    """A PNG or JPEG file that names us as its writer; others stay as they are."""
    if data.startswith(_PNG):
        text = b"tEXtSoftware\0" + IMAGE_MARK
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        return data[:33] + chunk + data[33:]  # after IHDR, which comes first
    if data.startswith(_JPEG):
        end = 4 + struct.unpack_from(">H", data, 4)[0]  # of JFIF's segment, which comes first
        comment = b"\xff\xfe" + struct.pack(">H", 2 + len(IMAGE_MARK)) + IMAGE_MARK
        return data[:end] + comment + data[end:]
    return data


def _tiff_start(data: bytes) -> int | None:
    """Where the TIFF file or the EXIF block begins; None where there is none."""
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return 0
    if data.startswith(_JPEG):
        return _in_jpeg(data)
    return _in_png(data) if data.startswith(_PNG) else None


def _in_jpeg(data: bytes) -> int | None:
    place = 2
    while data[place : place + 1] == b"\xff":
        marker, length = struct.unpack_from(">xBH", data, place)
        if marker == 0xE1 and data.startswith(_EXIF, place + 4):
            return place + 4 + len(_EXIF)
        if marker == 0xDA or length < 2:  # pixels follow
            return None
        place += 2 + length
    return None


def _in_png(data: bytes) -> int | None:
    place = len(_PNG)
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"eXIf":
            return place + 8
        place += 12 + length
    return None


def _read_tiff(data: bytes, start: int) -> Header:
    """Follow the directories of a TIFF file, of which each page has one."""
    order = "<" if data[start : start + 2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, start + 2)[0] == 43
    count_format, entry_format, link = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    head, size = struct.calcsize(f"{order}{entry_format}"), 20 if big else 12
    (place,) = struct.unpack_from(order + link, data, start + (8 if big else 4))
    turn_at, pages, seen = 0, 0, set[int]()
    while place and place not in seen and len(seen) < _MAX_PAGES:
        seen.add(place)
        (count,) = struct.unpack_from(order + count_format, data, start + place)
        first = start + place + struct.calcsize(order + count_format)
        count, is_page = min(count, 4096), True
        for at in range(first, first + count * size, size):
            tag, kind, _ = struct.unpack_from(order + entry_format, data, at)
            if tag == _ORIENTATION and kind == _SHORT and len(seen) == 1:
                turn_at = at + head
            elif tag == _KIND_OF_PAGE and kind == _LONG:
                (found,) = struct.unpack_from(f"{order}I", data, at + head)
                is_page = not found & (_SMALLER_COPY | _MASK)
        pages += is_page
        if start:  # EXIF: its second directory is a thumbnail's
            break
        (place,) = struct.unpack_from(order + link, data, first + count * size)
    if not turn_at:
        return Header(data, pages=max(1, pages))
    (orientation,) = struct.unpack_from(f"{order}H", data, turn_at)
    changed = data[:turn_at] + struct.pack(f"{order}H", 1) + data[turn_at + 2 :]
    return Header(changed, orientation if 1 <= orientation <= 8 else 1, max(1, pages))
