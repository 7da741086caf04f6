"""The simulated cameras as a process: encodings, sizes, stamps and calibration."""

from itertools import pairwise

import pytest
from helpers.ros_processes import client, parameters, running, spin_until
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from dreamif_ros import codec

pytestmark = pytest.mark.realtime

CAMERAS = "dreamif_ros.simulation.node"
SMALL = {
    "visible__width": 160,
    "visible__height": 120,
    "infrared__width": 80,
    "infrared__height": 60,
    "visible__rate_hz": 20.0,
    "infrared__rate_hz": 10.0,
}


def listen(node, count):
    """The first `count` messages of each of the four topics."""
    heard = {}
    for camera in ("visible", "infrared"):
        for topic, message_type in (
            (f"{camera}/image_raw", Image),
            (f"{camera}/camera_info", CameraInfo),
        ):
            heard[topic] = []
            node.create_subscription(
                message_type, topic, heard[topic].append, qos_profile_sensor_data
            )
    assert spin_until(node, lambda: all(len(m) >= count for m in heard.values())), heard.keys()
    return heard


@pytest.mark.parametrize(
    ("infrared", "visible", "dtype"), [("mono16", "bgr8", "uint16"), ("mono8", "rgb8", "uint8")]
)
def test_images_and_calibration(tmp_path, infrared, visible, dtype):
    values = SMALL | {"infrared__encoding": infrared, "visible__encoding": visible}
    values |= {"noise": "night", "motion": "pan"}
    with running(CAMERAS, *parameters(**values), log=tmp_path / "log") as process, client() as node:
        process.wait_for_output("Hz, infrared")
        heard = listen(node, 2)
    color, thermal = heard["visible/image_raw"][0], heard["infrared/image_raw"][0]
    assert (color.encoding, thermal.encoding) == (visible, infrared)
    assert codec.decode_visible(color).shape == (120, 160, 3)
    counts = codec.decode_infrared(thermal)
    assert (counts.shape, counts.dtype) == ((60, 80), dtype)
    if dtype == "uint16":
        assert 253_15 < counts.min() < counts.max() < 393_15  # -20 to 120 °C in 0.01 kelvin
    for camera, width in (("visible", 160), ("infrared", 80)):
        info = heard[f"{camera}/camera_info"][0]
        assert (info.width, info.header.frame_id) == (width, f"{camera}_optical")
        assert info.k[0] == info.k[4] > 0
        assert info.k[2] == pytest.approx((width - 1) / 2)


def test_stamps_follow_rate_and_clock_offset(tmp_path):
    values = SMALL | {"infrared__clock_offset_s": 0.02}
    with running(CAMERAS, *parameters(**values), log=tmp_path / "log") as process, client() as node:
        process.wait_for_output("Hz, infrared")
        heard = listen(node, 10)
    visible, infrared = (
        [codec.stamp_ns(m) for m in heard[f"{camera}/camera_info"]]
        for camera in ("visible", "infrared")
    )
    periods = {round((after - before) / 1e6) % 50 for before, after in pairwise(visible)}
    assert periods == {0}  # multiples of 50 ms, exact to the millisecond
    assert {round((stamp - visible[0]) / 1e6) % 50 for stamp in infrared} == {20}
