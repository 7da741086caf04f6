"""Compressed images by value, and every kind that is refused by its reason."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from dreamif_model import ImageError
from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

RNG = np.random.default_rng(0)
RGB = cv2.resize(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8), (48, 40))
GRAY8 = np.ascontiguousarray(RGB[..., 1])
GRAY16 = RNG.integers(0, 65536, (40, 48), dtype=np.uint16)


def png(image):
    """A PNG file of an array in OpenCV's channel order."""
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image):
    return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()


def message(data, text):
    return CompressedImage(format=text, data=data)


BGR = np.ascontiguousarray(RGB[..., ::-1])
BGRA = np.dstack((BGR, GRAY8))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (png(BGR), "png"),
        (png(BGR), "rgb8; png compressed bgr8"),
        (png(BGR), "bgr8; png compressed bgr8"),
        (png(RGB), "rgb8; png compressed rgb8"),  # image_transport's, before it wrote bgr8
        (png(BGRA), "bgra8; png compressed bgra8"),
        (png(BGR) + bytes(8), "png"),  # in a buffer of fixed size
    ],
)
def test_png_becomes_rgb(data, text):
    np.testing.assert_array_equal(codec.decode_visible(message(data, text)), RGB)


@pytest.mark.parametrize("text", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8"])
@pytest.mark.parametrize("padding", [b"", bytes(500)])
def test_jpeg_becomes_rgb(text, padding):
    decoded = codec.decode_visible(message(jpeg(BGR) + padding, text))
    assert np.abs(decoded.astype(int) - RGB).mean() < 3


@pytest.mark.parametrize(
    ("data", "text", "expected"),
    [
        (png(GRAY8), "mono8; png compressed ", GRAY8),
        (png(GRAY16), "mono16; png compressed ", GRAY16),
        (png(GRAY16), "16UC1; png compressed mono16", GRAY16),
        (png(GRAY16), "png", GRAY16),
        (png(BGR), "png", cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)),  # a palette camera
    ],
)
def test_infrared_png_keeps_its_values(data, text, expected):
    decoded = codec.decode_infrared(message(data, text))
    assert decoded.dtype == expected.dtype
    np.testing.assert_array_equal(decoded, expected)


def test_infrared_jpeg_of_8_bit():
    decoded = codec.decode_infrared(message(jpeg(GRAY8), "mono8; jpeg compressed mono8"))
    assert decoded.shape == GRAY8.shape
    assert np.abs(decoded.astype(int) - GRAY8).mean() < 2


def test_compress_is_the_inverse_of_decode():
    header = Header(frame_id="camera")
    header.stamp.sec, header.stamp.nanosec = 3, 4
    compressed = ROS_MESSAGES.compressed(RGB, "jpeg", header, 95)
    assert (compressed.header, compressed.format) == (header, "rgb8; jpeg compressed bgr8")
    assert codec.stamp_ns(compressed) == 3_000_000_004
    assert np.abs(codec.decode_visible(compressed).astype(int) - RGB).mean() < 3
    assert len(ROS_MESSAGES.compressed(RGB, "jpeg", header, 20).data) < len(compressed.data)


def test_messages_of_a_bag_decode_alike():
    types = get_typestore(Stores.ROS2_HUMBLE).types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "camera")
    recorded = types["sensor_msgs/msg/CompressedImage"](
        header, "png", np.frombuffer(png(BGR), np.uint8)
    )
    np.testing.assert_array_equal(codec.decode_visible(recorded), RGB)
    assert codec.stamp_ns(recorded) == 1_000_000_002


def with_thumbnail(data):
    """The JPEG with another one inside its header, as cameras put there."""
    inner = jpeg(BGR[:8, :8])
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + data[2:]


def test_a_thumbnail_is_no_image():
    data = with_thumbnail(jpeg(BGR))
    assert codec.decode_visible(message(data, "jpeg")).shape == RGB.shape
    with pytest.raises(ImageError, match="cut off"):
        codec.decode_visible(message(data[:-2], "jpeg"))


def png_chunk(name, data):
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum


def png_that_says(width, height):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


def jpeg_that_says(width, height):
    data = bytearray(jpeg(BGR))
    at = data.index(b"\xff\xc0") + 5  # the frame's height and width
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "text", "words"),
    [
        (b"", "jpeg", "'jpeg': expected jpeg or png, its 0 bytes are neither"),
        (b"II*\0" + bytes(100), "16UC1; tiff compressed ", "'16UC1; tiff compressed '.* neither"),
        (png(GRAY16), "16UC1; compressedDepth png", "'16UC1; compressedDepth png': expected"),
        (jpeg(GRAY8), "mono16; jpeg compressed mono8", "JPEG keeps 8 bits .* publish png or image"),
        (jpeg(GRAY8), "16UC1; jpeg compressed mono8", "JPEG keeps 8 bits"),
        (jpeg(GRAY8), "mono16; png compressed ", "JPEG keeps 8 bits"),  # the bytes are what counts
        (jpeg(BGR)[:-2], "jpeg", "'jpeg' is cut off: its .* bytes have no end marker"),
        (jpeg(BGR)[:100], "jpeg", "cut off"),
        (png(BGR)[:-12], "png", "cut off"),
        (png(BGR)[:20], "png", "cut off"),
        (png_that_says(48, 40), "png", "damaged: OpenCV cannot decode"),
        (
            png_that_says(30_000, 30_000),
            "png",
            "says 30000×30000, expected 67108864 pixels",
        ),
        (png_that_says(4_000_000_000, 1), "png", "says 4000000000×1, expected"),
        (jpeg_that_says(65_000, 65_000), "jpeg", "says 65000×65000, expected"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_name(data, text, words):
    with pytest.raises(ImageError, match=words):
        codec.decode_visible(message(data, text))


def test_16_bit_becomes_8_for_the_visible_camera_and_luma_for_the_infrared_one():
    gray = message(png(GRAY16), "mono16; png compressed ")
    np.testing.assert_array_equal(codec.decode_visible(gray), np.rint(GRAY16 / 257))
    deep = message(png(257 * BGR.astype(np.uint16)), "rgb16; png compressed bgr16")
    np.testing.assert_array_equal(codec.decode_visible(deep), RGB)
    luma = codec.decode_infrared(deep)
    assert luma.dtype == np.uint16
    assert np.abs(luma - 257 * (RGB @ np.array([0.299, 0.587, 0.114]))).max() < 2


def test_a_mosaic_in_png_is_decoded():
    mosaic = message(png(GRAY8), "bayer_rggb8; png compressed ")
    expected = cv2.cvtColor(GRAY8, cv2.COLOR_BayerRGGB2RGB)
    np.testing.assert_array_equal(codec.decode_visible(mosaic), expected)


def test_a_mosaic_that_became_jpeg_is_gray_by_then():
    """As image_transport's publisher makes it."""
    converted = message(jpeg(GRAY8), "bayer_rggb8; jpeg compressed mono8")
    decoded = codec.decode_visible(converted)
    assert np.abs(decoded.astype(int) - GRAY8).mean() < 2
