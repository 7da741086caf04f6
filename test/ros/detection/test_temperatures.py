"""What infrared measured in boxes: by value, and joined over real DDS."""

import numpy as np
import pytest
from helpers.ros_processes import client, spin_until
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.detection.detector import UNTRACKED, Detections
from dreamif_ros.detection.temperatures import Temperatures, describe_box, temperatures_message

NAMES = {0: "person", 2: "car"}
COUNTS = np.arange(1, 1 + 48 * 64, dtype=np.uint16).reshape(48, 64)


def detections(*boxes, tracks=None):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(len(boxes), np.float32),
        np.array([0, 2, 0][: len(boxes)]),
        tracks,
    )


def header(sec):
    made = Header(frame_id="rgb")
    made.stamp.sec = sec
    return made


def values(status):
    return {item.key: item.value for item in status.values}


def test_counts_of_the_pixels_that_a_box_touches():
    """Rows 10 and 11, columns 20 to 22; one pixel is not measured."""
    counts = COUNTS.copy()
    counts[10, 20] = 0
    inside = counts[10:12, 20:23]
    expected = {
        "pixels": 5,
        "min (counts)": inside[0, 1],
        "mean (counts)": inside.sum() / 5,
        "max (counts)": inside[1, 2],
    }
    box = np.array((20.4, 10.0, 22.1, 12.0), np.float32)
    assert describe_box(counts, box) == pytest.approx(expected)


def test_degrees_at_the_border():
    """A box may reach beyond the image."""
    celsius = COUNTS.astype(np.float32) / 100
    celsius[:, :2] = np.nan
    found = describe_box(celsius, np.array((-5, 46, 4, 99), np.float32))
    inside = celsius[46:, 2:4]
    assert found == pytest.approx(
        {
            "pixels": 4,
            "min (°C)": inside.min(),
            "mean (°C)": inside.mean(),
            "max (°C)": inside.max(),
        }
    )


def test_nothing_was_measured():
    found = detections((0, 0, 4, 4), (8, 8, 9, 9), tracks=np.array([7, UNTRACKED]))
    counts = COUNTS.copy()
    counts[:6] = 0
    nothing, one = temperatures_message(counts, found, NAMES, header(1)).status
    assert (nothing.name, nothing.hardware_id) == ("person", "7")
    assert (nothing.level, nothing.message) == (nothing.WARN, "nothing was measured")
    assert values(nothing) == {"pixels": "0"}
    assert (one.name, one.hardware_id, one.level) == ("car", "", one.OK)
    assert values(one)["max (counts)"] == f"{COUNTS[8, 8]:.3f}"


@pytest.mark.realtime
def test_boxes_and_values_of_one_header_are_joined():
    """Whichever comes first; not those of another size."""
    with client() as node:
        heard = []
        temperatures = Temperatures(node, NAMES, heard.append)
        sender = node.create_publisher(Image, "infrared/registered", QoSProfile(depth=10))
        assert spin_until(node, sender.get_subscription_count)
        box = detections((8, 8, 10, 10))
        temperatures.take(box, (48, 64, 3), header(1))
        temperatures.take(box, (96, 128, 3), header(3))
        for sec in (1, 2, 3):
            sender.publish(ROS_MESSAGES.image(COUNTS, "mono16", header(sec)))
        last = ROS_MESSAGES.image(COUNTS[:, ::-1], "mono16", header(4))
        temperatures.take(detections(), (48, 64, 3), header(4))
        sender.publish(last)
        assert spin_until(node, lambda: len(heard) == 2)
        temperatures.take(box, (48, 64, 3), header(2))
        assert [message.header for message in heard] == [header(1), header(4), header(2)]
        assert not heard[1].status
        for message in (heard[0], heard[2]):
            assert values(message.status[0])["mean (counts)"] == f"{COUNTS[8:10, 8:10].mean():.3f}"
