"""Small files that would cost much to decode are refused before they do."""

import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from dreamif_model.errors import ImageError
from dreamif_ros.codec.compressed import MAX_SCANS, Format, decompress

SIDE = 12_000  # 144 megapixels
MAX_MEGAPIXELS = 8.5


def segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(side=16, colour=False, **options):
    """A JPEG of 16×16 pixels whose frame header says ``side``: its segments, and its scan."""
    shape = (16, 16, 3) if colour else (16, 16)
    flags = [value for pair in options.items() for value in pair]
    data = cv2.imencode(".jpg", np.full(shape, 90, np.uint8), flags)[1].tobytes()
    at, parts = 2, []
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        part = data[at:end]
        if part[1] == 0xC0:
            part = part[:5] + struct.pack(">HH", side, side) + part[9:]
        parts.append(part)
        at = end
    return parts, data[at:]


def behind_marker(marker):
    """A scan for segments takes the marker for one with a length, and lands in a small decoy."""
    parts, scan = jpeg(SIDE)
    real = b"".join(parts)
    decoy = segment(0xC0, b"\x08\x00\x10\x00\x10\x01\x01\x11\x00") + segment(0xDA, bytes(6))
    length = struct.pack(">H", len(real) + 6)
    return b"\xff\xd8\xff" + bytes([marker]) + length + real + segment(0xFE, decoy) + scan


def behind_thumbnail():
    thumbnail = b"\xff\xd8" + b"".join(jpeg()[0]) + jpeg()[1]
    parts, scan = jpeg(SIDE)
    return b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + thumbnail) + b"".join(parts) + scan


def two_frames():
    parts, scan = jpeg(SIDE)
    second = segment(0xC0, b"\x08\x00\x10\x00\x10\x01\x01\x11\x00")
    return b"\xff\xd8" + b"".join(parts) + second + scan


def many_scans(count):
    parts, _ = jpeg(2900, colour=True)
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x00"
    return b"\xff\xd8" + b"".join(parts) + scan * count + b"\xff\xd9"


def chunk(name, content, length=None):
    size = len(content) if length is None else length
    return struct.pack(">I", size) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks, side=16):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(17 * 16)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + chunk(b"IEND", b"")


BOMBS = {
    "behind a restart marker": behind_marker(0xD0),
    "behind a TEM marker": behind_marker(0x01),
    "behind a thumbnail": behind_thumbnail(),
    "two frame headers": two_frames(),
    "many scans": many_scans(2000),
    "a PNG of 144 megapixels": png(side=SIDE),
    "a chunk of 3 GB": png(chunk(b"tEXt", b"a\0b", length=3_000_000_000)),
    "a chunk longer than the file": png(chunk(b"tEXt", b"a\0b", length=4000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once_and_for_little_memory(name):
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ImageError) as caught:
        decompress(BOMBS[name], Format("jpeg"), MAX_MEGAPIXELS)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.5
    assert peak < 1e6
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "flags",
    [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]],
    ids=["plain", "progressive", "restart markers"],
)
@pytest.mark.parametrize("colour", [False, True])
def test_jpegs_of_honest_cameras_are_decoded_as_opencv_does(flags, colour, rng):
    small = rng.integers(0, 256, (12, 16, 3) if colour else (12, 16), dtype=np.uint8)
    image = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
    file = cv2.imencode(".jpg", image, flags)[1]
    expected = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
    found = decompress(file.tobytes(), Format("jpeg"), MAX_MEGAPIXELS)
    assert np.array_equal(found, expected[..., ::-1] if colour else expected)


def test_a_thumbnail_is_not_the_image(rng):
    """Nor does its end marker make a whole file of a cut one."""
    parts, scan = jpeg(16)
    thumbnail = b"\xff\xd8" + b"".join(parts) + scan
    image = cv2.imencode(".jpg", rng.integers(0, 256, (48, 64), dtype=np.uint8))[1].tobytes()
    file = image[:2] + segment(0xE1, b"Exif\0\0" + thumbnail) + image[2:]
    assert decompress(file, Format("jpeg")).shape == (48, 64)
    with pytest.raises(ImageError, match="cut off"):
        decompress(file[:-400], Format("jpeg"))


def test_as_many_scans_as_a_camera_makes_are_taken():
    assert MAX_SCANS >= 10  # of OpenCV's progressive JPEG
