"""DDS settings by case, and what they are for: every large image arrives."""

from itertools import pairwise

import pytest
from rclpy.qos import qos_profile_sensor_data
from ros_processes import client, parameters, running, spin_until
from sensor_msgs.msg import Image

from dreamif_ros import codec
from dreamif_ros.transport import BUILTIN_TRANSPORTS, PROFILES_FILE, choose_dds_settings


def test_large_images_need_no_setting_of_the_user():
    environment = {}
    assert BUILTIN_TRANSPORTS in choose_dds_settings(environment)
    assert environment == {"FASTDDS_BUILTIN_TRANSPORTS": BUILTIN_TRANSPORTS}


@pytest.mark.parametrize(
    "name",
    [
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
    ],
)
def test_a_users_own_setting_wins(name):
    environment = {name: "mine"}
    assert f"environment: {name}=mine" in choose_dds_settings(environment)
    assert environment == {name: "mine"}


@pytest.mark.parametrize(
    "localhost", [{"ROS_LOCALHOST_ONLY": "1"}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}]
)
def test_localhost_only_discovery_takes_the_profiles_file(localhost):
    environment = dict(localhost)
    choose_dds_settings(environment)
    assert environment["FASTDDS_DEFAULT_PROFILES_FILE"] == str(PROFILES_FILE)
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(PROFILES_FILE)
    assert PROFILES_FILE.is_file()


def test_another_middleware_is_left_alone():
    environment = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    assert "rmw_cyclonedds_cpp" in choose_dds_settings(environment)
    assert set(environment) == {"RMW_IMPLEMENTATION"}


@pytest.mark.parametrize("discovery", ["SUBNET", "LOCALHOST"])
def test_300_of_300_best_effort_images_arrive_at_30_hz(tmp_path, monkeypatch, discovery):
    """0.9 MB each; with Fast DDS defaults nearly all of them would be lost."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", discovery)
    cameras = "dreamif_ros.simulated_cameras"
    frames = []  # number of each received frame since the first, from its stamp

    def take(message):
        frames.append(round(codec.stamp_ns(message) * 30 / 1e9))

    with running(cameras, *parameters(), log=tmp_path / "log") as process, client() as node:
        node.create_subscription(Image, "visible/image_raw", take, qos_profile_sensor_data)
        process.wait_for_output("mono16 at 30 Hz")
        assert spin_until(node, lambda: len(frames) >= 301, 40.0), len(frames)
    steps = [after - before for before, after in pairwise(frames[:301])]
    assert steps == [1] * 300
