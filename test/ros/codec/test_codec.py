"""Every encoding by value, in both byte orders and with padded rows."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_model import ImageError
from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

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
    "8UC4": np.dstack((RGB[..., ::-1], ALPHA)),
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
        (message(CELSIUS, "32FC1"), "visible image is 32FC1, expected 8 or 16 bit: publish rgb8"),
        (message(GRAY8[:4], "uyvy"), "uyvy image of 7×4: uyvy needs even sides"),
        (message(GRAY8[:, :6], "nv12"), "nv12 image of 6×5: nv12 needs even sides"),
        (message(GRAY8[:4, :6], "nv12"), "nv12 image of 6×4 with step 6 needs 36 bytes of data"),
    ],
)
def test_a_broken_visible_image_is_refused_by_name(image, words):
    with pytest.raises(ImageError, match=words):
        codec.decode_visible(image)


def test_a_rare_encoding_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    words = r"'64FC1' is unknown: publish mono16, .* as infrared, rgb8, .*install cv_bridge"
    with pytest.raises(ImageError, match=words):
        codec.decode_visible(message(GRAY8, "64FC1"))


def test_a_long_name_of_an_encoding_is_cut():
    with pytest.raises(ImageError) as caught:
        codec.decode_visible(message(GRAY8, "x" * 100_000))
    assert len(str(caught.value)) < 400


def fake_cv_bridge(monkeypatch, convert):
    """A cv_bridge whose conversion is `convert(message, desired_encoding)`."""
    bridge = SimpleNamespace(imgmsg_to_cv2=convert)
    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=lambda: bridge))


@pytest.mark.parametrize("encoding", ["32SC1", "yuv444", "custom"])
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
    with pytest.raises(ImageError, match=r"'custom'.*cv_bridge cannot convert it \(buffer is too"):
        codec.decode_visible(message(GRAY8, "custom"))


def test_a_cv_bridge_that_would_end_the_process_is_named(monkeypatch, tmp_path):
    """As one that was built for NumPy 1 does beside NumPy 2."""
    (tmp_path / "cv_bridge.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    sys.modules["dreamif_ros.codec.decode"].cv_bridge_fault.cache_clear()
    for _ in range(2):
        with pytest.raises(ImageError, match=r"cannot be used with NumPy .*: remove the copies"):
            codec.decode_visible(message(GRAY8, "custom"))
    sys.modules["dreamif_ros.codec.decode"].cv_bridge_fault.cache_clear()


def test_the_real_cv_bridge_converts_what_we_do_not():
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS installation only")
    decoded = codec.decode_visible(message(RGB, "8SC3"))
    assert decoded.shape == RGB.shape


# Encodings that cameras publish: values as OpenCV has them.


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GBRG", "GRBG"])
def test_mosaics(pattern, bits):
    mosaic = GRAY8 if bits == 8 else GRAY16
    code = getattr(cv2, f"COLOR_Bayer{pattern}2RGB")
    expected = cv2.cvtColor(mosaic, code)
    decoded = codec.decode(message(mosaic, f"bayer_{pattern.lower()}{bits}"))
    np.testing.assert_array_equal(decoded, expected)
    visible = codec.decode_visible(message(mosaic, f"bayer_{pattern.lower()}{bits}"))
    np.testing.assert_array_equal(visible, expected if bits == 8 else np.rint(expected / 257))


def test_a_red_mosaic_is_red():
    """rggb: red stands first."""
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200
    decoded = codec.decode_visible(message(mosaic, "bayer_rggb8"))
    np.testing.assert_array_equal(decoded[2:6, 2:6], np.full((4, 4, 3), (200, 0, 0)))


PACKED = RNG.integers(0, 256, (4, 6, 2), dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("yuv422", cv2.COLOR_YUV2RGB_UYVY),
        ("uyvy", cv2.COLOR_YUV2RGB_UYVY),
        ("yuv422_yuy2", cv2.COLOR_YUV2RGB_YUY2),
        ("yuyv", cv2.COLOR_YUV2RGB_YUY2),
    ],
)
def test_packed_yuv(encoding, code, padding):
    decoded = codec.decode_visible(message(PACKED, encoding, padding=padding))
    np.testing.assert_array_equal(decoded, cv2.cvtColor(PACKED, code))


def planar(planes, encoding, height, padding=0):
    """Rows of luma, then of chroma, in one message of that height."""
    image = message(planes, encoding, padding=padding)
    image.height = height
    return image


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "code"), [("nv12", cv2.COLOR_YUV2RGB_NV12), ("nv21", cv2.COLOR_YUV2RGB_NV21)]
)
def test_planar_yuv(encoding, code, padding):
    planes = RNG.integers(0, 256, (6, 6), dtype=np.uint8)
    decoded = codec.decode_visible(planar(planes, encoding, 4, padding))
    np.testing.assert_array_equal(decoded, cv2.cvtColor(planes, code))


def test_planar_yuv_with_chroma_of_full_size():
    """NV24 is NV12 where all four pixels that share chroma in NV12 are alike."""
    luma, pairs = RNG.integers(0, 256, (2, 3), np.uint8), RNG.integers(0, 256, (2, 3, 2), np.uint8)
    planes = np.vstack((luma, pairs.reshape(4, 3)))
    decoded = codec.decode_visible(planar(planes, "nv24", 2))
    wide = np.vstack((luma.repeat(2, 0).repeat(2, 1), pairs.reshape(2, 6)))
    expected = cv2.cvtColor(wide, cv2.COLOR_YUV2RGB_NV12)[::2, ::2]
    np.testing.assert_array_equal(decoded, expected)


DEEP = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
DEEP_ALPHA = np.dstack((DEEP, np.full((5, 7), 9, np.uint16)))
DEEP_COLOR = {
    "rgb16": DEEP,
    "bgr16": DEEP[..., ::-1],
    "16UC3": DEEP[..., ::-1],
    "rgba16": DEEP_ALPHA,
    "bgra16": DEEP_ALPHA[..., [2, 1, 0, 3]],
    "16UC4": DEEP_ALPHA[..., [2, 1, 0, 3]],
}


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", DEEP_COLOR)
def test_16_bit_color_becomes_rgb_of_8(encoding, bigendian):
    image = message(DEEP_COLOR[encoding], encoding, bigendian=bigendian)
    np.testing.assert_array_equal(codec.decode(image), DEEP)
    np.testing.assert_array_equal(codec.decode_visible(image), np.rint(DEEP / 257))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_16_bit_gray_becomes_8_for_the_visible_camera(encoding):
    decoded = codec.decode_visible(message(GRAY16, encoding))
    np.testing.assert_array_equal(decoded, np.rint(GRAY16 / 257))


def test_a_larger_image_than_allowed_is_not_decoded(monkeypatch):
    raw = message(RGB, "rgb8")
    height, width = RGB.shape[:2]
    allowed = height * width / 1e6
    np.testing.assert_array_equal(codec.decode(raw, allowed), RGB)
    jpeg = ROS_MESSAGES.compressed(RGB, "jpeg", Header(), 90)
    assert codec.decode(jpeg, allowed).shape == RGB.shape
    monkeypatch.setattr(np, "frombuffer", None)  # whatever would read the pixels fails
    monkeypatch.setattr("simplejpeg.decode_jpeg", None)
    for large in (raw, jpeg):
        with pytest.raises(ImageError, match=f"{width}x{height} is above max_megapixels"):
            codec.decode(large, allowed - 1e-6)
