"""Whatever bytes and fields come: an image of the right shape, or an ImageError."""

import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from dreamif_model import ImageError
from dreamif_ros import codec

KNOWN = ("mono8", "8UC1", "mono16", "16UC1", "32FC1", "rgb8", "bgr8", "8UC3", "rgba8", "bgra8")
OTHERS = ("bayer_rggb8", "yuv422", "64FC1", "", "\0", "16UC3")
FORMATS = ("", "jpeg", "png", "mono16; png compressed ", "rgb8; jpeg compressed bgr8", ";;", "16")
DECODERS = (codec.decode_visible, codec.decode_infrared)
RNG = np.random.default_rng(0)
COLOR = cv2.resize(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8), (24, 16))
DEEP = RNG.integers(0, 65536, (16, 24), dtype=np.uint16)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
FILES = tuple(
    cv2.imencode(extension, image, flags)[1].tobytes()
    for extension, image, flags in (
        (".jpg", COLOR, ()),
        (".jpg", COLOR, PROGRESSIVE),
        (".jpg", COLOR[..., 0], ()),
        (".png", COLOR, ()),
        (".png", DEEP, ()),
    )
)

few = settings(max_examples=300)
small = st.integers(0, 40)
sizes = st.one_of(small, st.sampled_from([2**16, 2**31 - 1, 2**31, 4_000_000_000, 2**32 - 1]))


def check(decode, message, height=None, width=None):
    """Decode; returns whether there was an image."""
    try:
        image = decode(message)
    except ImageError:
        return False
    assert image.dtype in (np.uint8, np.uint16, np.float32)
    assert image.ndim == 2 or (decode is codec.decode_visible and image.shape[2:] == (3,))
    assert image.size
    if height is not None:
        assert image.shape[:2] == (height, width)
    return True


@st.composite
def raw_images(draw):
    """A message that may be right, or wrong in one or more of its fields."""
    encoding = draw(st.sampled_from(KNOWN + OTHERS))
    height, width = draw(small), draw(small)
    step = width * 4 + draw(st.integers(0, 3))
    fields = {
        "height": height,
        "width": width,
        "step": step,
        "is_bigendian": draw(st.integers(0, 255)),
        "data": bytes(height * step),
    }
    wrong = {"height": sizes, "width": sizes, "step": sizes, "data": st.binary(max_size=4096)}
    fields |= draw(st.fixed_dictionaries({}, optional=wrong))
    return Image(encoding=encoding, **fields)


@few
@given(st.sampled_from(DECODERS), raw_images())
@example(codec.decode_visible, Image(encoding="rgb8", height=2**32 - 1, width=2**32 - 1, step=9))
@example(codec.decode_infrared, Image(encoding="mono16", height=4_000_000_000, width=1, data=b"x"))
def test_raw_images(decode, message):
    check(decode, message, message.height, message.width)


@few
@given(st.sampled_from(DECODERS), st.sampled_from(FORMATS), st.binary(max_size=300))
def test_random_bytes(decode, text, data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        assert not check(decode, CompressedImage(format=text, data=start + data))


@few
@given(st.sampled_from(DECODERS), st.sampled_from(FILES), st.data())
def test_truncated_files(decode, file, data):
    end = data.draw(st.integers(0, len(file) - 1))
    assert not check(decode, CompressedImage(format="", data=file[:end]))


@few
@given(
    st.sampled_from(DECODERS),
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), min_size=1, max_size=8),
)
def test_flipped_bits(decode, file, flips):
    damaged = bytearray(file)
    for position, bit in flips:
        damaged[position % len(file)] ^= 1 << bit
    check(decode, CompressedImage(format="", data=bytes(damaged)))
