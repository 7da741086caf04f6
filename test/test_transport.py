"""DDS settings by case, and what they are for: every large image arrives."""

import pytest
from rclpy.qos import qos_profile_sensor_data
from ros_processes import client, parameters, running, spin_until
from sensor_msgs.msg import CameraInfo, Image

from dreamif_ros import codec
from dreamif_ros.transport import (
    BUILTIN_TRANSPORTS,
    PROFILES_FILE,
    PROFILES_VARIABLES,
    choose_dds_settings,
)


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
    for name in ("FASTDDS_BUILTIN_TRANSPORTS", *PROFILES_VARIABLES):
        monkeypatch.delenv(name, raising=False)  # as for a user who has set nothing
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", discovery)
    cameras = "dreamif_ros.simulated_cameras"
    images, sent = [], []  # stamps; every frame has a camera_info, small enough to arrive anyhow
    with running(cameras, *parameters(), log=tmp_path / "log") as process, client() as node:
        for message_type, topic, stamps in (
            (Image, "visible/image_raw", images),
            (CameraInfo, "visible/camera_info", sent),
        ):
            node.create_subscription(
                message_type,
                topic,
                lambda message, stamps=stamps: stamps.append(codec.stamp_ns(message)),
                qos_profile_sensor_data,
            )
        process.wait_for_output("mono16 at 30 Hz")
        assert spin_until(node, lambda: images and len(sent) > 330, 40.0), (len(images), len(sent))
    expected = [stamp for stamp in sent if stamp >= images[0]][:300]
    assert len(expected) == 300
    assert [stamp for stamp in expected if stamp not in images] == []
    assert expected[-1] - expected[0] < 1.2e9 * 300 / 30  # at 30 Hz, but for a stalled machine
