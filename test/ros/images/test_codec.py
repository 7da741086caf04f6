"""Every encoding by value, in both byte orders and with padded rows."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_model import ImageError
from dreamif_ros.images import codec
from dreamif_ros.images.ros_messages import ROS_MESSAGES

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
CELSIUS = RNG.normal(20, 30, (5, 7)).astype(np.float32)
CELSIUS[1, 2:4] = np.nan, -np.inf
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = np.full((5, 7, 1), 9, np.uint8)


def message(pixels, encoding, *, bigendian=False, padding=0):
    """A message as a camera driver fills it, with `padding` bytes after each row."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if bigendian else "<"))
    rows = np.frombuffer(rows.tobytes(), np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    image = Image(encoding=encoding, is_bigendian=int(bigendian), step=rows.shape[1])
    image.height, image.width = pixels.shape[:2]
    image.data = rows.tobytes()
    return image


COLOR = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "8UC3": RGB[..., ::-1],
    "rgba8": np.dstack((RGB, ALPHA)),
    "bgra8": np.dstack((RGB[..., ::-1], ALPHA)),
}


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", COLOR)
def test_color_becomes_rgb(encoding, padding):
    decoded = codec.decode_visible(message(COLOR[encoding], encoding, padding=padding))
    np.testing.assert_array_equal(decoded, RGB)


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_counts_keep_their_value(encoding, bigendian, padding):
    encoded = message(GRAY16, encoding, bigendian=bigendian, padding=padding)
    decoded = codec.decode_infrared(encoded)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, GRAY16)


@pytest.mark.parametrize("padding", [0, 8])
@pytest.mark.parametrize("bigendian", [False, True])
def test_celsius_come_as_they_are(bigendian, padding):
    encoded = message(CELSIUS, "32FC1", bigendian=bigendian, padding=padding)
    decoded = codec.decode_infrared(encoded)
    assert decoded.dtype == np.float32
    assert decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, CELSIUS)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_for_either_camera(encoding):
    np.testing.assert_array_equal(codec.decode_infrared(message(GRAY8, encoding)), GRAY8)
    np.testing.assert_array_equal(codec.decode_visible(message(GRAY8, encoding)), GRAY8)


def test_gray_is_not_copied():
    image = message(GRAY8, "mono8")
    decoded = codec.decode_visible(image)
    image.data[0] = (int(GRAY8[0, 0]) + 1) % 256
    assert decoded[0, 0] == image.data[0]


def test_a_palette_camera_becomes_luma():
    expected = RGB @ np.array([0.299, 0.587, 0.114])
    decoded = codec.decode_infrared(message(RGB, "rgb8"))
    assert np.abs(decoded - expected).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [(RGB, "rgb8"), (RGB, "bgr8"), (GRAY8, "mono8"), (GRAY16, "mono16")],
)
def test_encode_is_the_inverse_of_decode(pixels, encoding):
    header = Header(frame_id="camera")
    encoded = ROS_MESSAGES.image(pixels, encoding, header)
    assert (encoded.header, encoded.encoding) == (header, encoding)
    decode = codec.decode_infrared if pixels.ndim == 2 else codec.decode_visible
    np.testing.assert_array_equal(decode(encoded), pixels)


def test_encode_floats():
    pixels = RNG.random((5, 7), dtype=np.float32)
    encoded = ROS_MESSAGES.image(pixels, "32FC1", Header())
    assert (encoded.height, encoded.width, encoded.step) == (5, 7, 28)
    np.testing.assert_array_equal(np.frombuffer(encoded.data, np.float32), pixels.ravel())


def broken(**changes):
    image = message(RGB, "rgb8")
    for name, value in changes.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (broken(step=20), "rgb8 image of 7×5 needs a step of at least 21 bytes, got 20"),
        (broken(data=bytes(104)), "needs 105 bytes of data, got 104"),
        (broken(width=0), "empty image"),
        (broken(height=0), "empty image"),
        (message(GRAY16, "mono16"), "visible image is mono16, expected 8 bit"),
        (message(CELSIUS, "32FC1"), "visible image is 32FC1, expected 8 bit"),
    ],
)
def test_a_broken_visible_image_is_refused_by_name(image, words):
    with pytest.raises(ImageError, match=words):
        codec.decode_visible(image)


def test_a_rare_encoding_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    words = "'bayer_rggb8' is not one of mono8.*install cv_bridge"
    with pytest.raises(ImageError, match=words):
        codec.decode_visible(message(GRAY8, "bayer_rggb8"))


def fake_cv_bridge(monkeypatch, convert):
    """A cv_bridge whose conversion is `convert(message, desired_encoding)`."""
    bridge = SimpleNamespace(imgmsg_to_cv2=convert)
    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=lambda: bridge))


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_grbg16", "yuv422", "yuv422_yuy2"])
def test_a_rare_encoding_is_converted_by_cv_bridge(monkeypatch, encoding):
    calls = []

    def convert(image, desired_encoding):
        calls.append((image.encoding, desired_encoding))
        return RGB

    fake_cv_bridge(monkeypatch, convert)
    np.testing.assert_array_equal(codec.decode_visible(message(GRAY8, encoding)), RGB)
    luma = codec.decode_infrared(message(RGB, "rgb8"))
    np.testing.assert_array_equal(codec.decode_infrared(message(GRAY8, encoding)), luma)
    assert calls == [(encoding, "rgb8")] * 2


def test_what_cv_bridge_cannot_convert_is_refused(monkeypatch):
    def convert(*_, **__):
        raise TypeError("buffer is too small for requested array")  # numpy's, in cv_bridge

    fake_cv_bridge(monkeypatch, convert)
    with pytest.raises(ImageError, match=r"'yuv422'.*cv_bridge cannot convert it: buffer is too"):
        codec.decode_visible(message(GRAY8, "yuv422"))


def test_the_real_cv_bridge_converts_a_red_mosaic():
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS installation only")
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200  # red stands first in rggb
    decoded = codec.decode_visible(message(mosaic, "bayer_rggb8"))
    np.testing.assert_array_equal(decoded[2:6, 2:6], np.full((4, 4, 3), (200, 0, 0)))


def test_a_larger_image_than_allowed_is_not_decoded(monkeypatch):
    raw = message(RGB, "rgb8")
    height, width = RGB.shape[:2]
    allowed = height * width / 1e6
    np.testing.assert_array_equal(codec.decode(raw, allowed), RGB)
    jpeg = ROS_MESSAGES.compressed(RGB, "jpeg", Header(), 90)
    assert codec.decode(jpeg, allowed).shape == RGB.shape
    monkeypatch.setattr(codec.np, "frombuffer", None)  # whatever would read the pixels fails
    monkeypatch.setattr(codec.cv2, "imdecode", None)
    for large in (raw, jpeg):
        with pytest.raises(ImageError, match=f"{width}x{height} is above max_megapixels"):
            codec.decode(large, allowed - 1e-6)
