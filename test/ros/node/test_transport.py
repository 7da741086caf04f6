"""DDS settings by case, and what they are for: every large image arrives."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pytest
from helpers import ROOT
from helpers.ros_processes import client, parameters, running, spin_until, wait_until_heard
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dreamif_model import ConfigError
from dreamif_ros import codec
from dreamif_ros.node import transport
from dreamif_ros.node.distributions import PROFILES_VARIABLES
from dreamif_ros.node.transport import (
    BUILTIN_TRANSPORTS,
    PROFILES_FILE,
    FollowingSubscription,
    choose_dds_settings,
    subscribe_images,
)

pytestmark = pytest.mark.realtime

RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT


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
    cameras = "dreamif_ros.simulation.node"
    images, sent = [], []  # stamps; every frame has a camera_info, small enough to arrive anyhow
    qos = QoSProfile(depth=400, reliability=BEST_EFFORT)  # it is not for us to be held up, either
    with running(cameras, *parameters(), log=tmp_path / "log") as process, client() as node:
        for message_type, topic, stamps in (
            (Image, "visible/image_raw", images),
            (CameraInfo, "visible/camera_info", sent),
        ):
            node.create_subscription(
                message_type,
                topic,
                lambda message, stamps=stamps: stamps.append(codec.stamp_ns(message)),
                qos,
            )
        process.wait_for_output("mono16 at 30 Hz")

        def enough():
            return images and sum(stamp >= images[0] for stamp in sent) > 310

        assert spin_until(node, enough, 60.0), (len(images), len(sent))
    expected = [stamp for stamp in sent if stamp >= images[0]][:300]
    assert len(expected) == 300
    assert [stamp for stamp in expected if stamp not in images] == []
    # A busy machine leaves some out.
    assert np.diff(expected).min() == pytest.approx(1e9 / 30, abs=2)


# What each camera needs of its own side: nothing when it is reliable, large buffers when it is not.
CAMERA_TRANSPORTS = {"reliable": "DEFAULT", "best_effort": BUILTIN_TRANSPORTS}
COUNTED = 60  # images of 0.9 MB, 2 s at 30 Hz


@contextmanager
def camera(reliability, log):
    """The process of helpers/image_source.py."""
    settings = {
        "FASTDDS_BUILTIN_TRANSPORTS": CAMERA_TRANSPORTS[reliability],
        "PYTHONPATH": str(ROOT / "test"),
    }
    with ExitStack() as stack:
        with mock.patch.dict(os.environ, settings):
            process = stack.enter_context(running("helpers.image_source", reliability, log=log))
        yield
        assert process.interrupt() == 0, process.output()


def hear(node, subscription, numbers, count, timeout_s=20.0):
    """Take images until `count` numbers have gone by since the next one; which of them came."""
    followed, start = 0.0, len(numbers)

    def done():
        nonlocal followed
        if time.monotonic() > followed + 0.2:
            followed = time.monotonic()
            subscription.follow()
        return len(numbers) > start and numbers[-1] >= numbers[start] + count

    assert spin_until(node, done, timeout_s), numbers[start:]
    return [n for n in numbers[start:] if n < numbers[start] + count]


@pytest.mark.parametrize("now", ["reliable", "best_effort"])
@pytest.mark.parametrize("before", ["reliable", "best_effort"])
def test_every_image_arrives_when_a_camera_comes_back(tmp_path, monkeypatch, before, now):
    """The camera restarts as the same or as the other kind; this side has plain DDS settings."""
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT")
    monkeypatch.setattr(transport, "INPUT_DEPTH", 200)  # this process may be held up as well
    numbers = []
    with client() as node:
        subscription = FollowingSubscription(
            node,
            Image,
            "camera/image_raw",
            lambda message: numbers.append(message.header.stamp.sec),
        )
        with camera(before, tmp_path / "before"):
            hear(node, subscription, numbers, 15)
        with camera(now, tmp_path / "now"):
            hear(node, subscription, numbers, 30)  # until the subscription has settled
            heard = hear(node, subscription, numbers, COUNTED)
    assert len(heard) >= COUNTED - 1, sorted(set(range(heard[0], heard[-1])) - set(heard))


LISTENING = """
import mmap, os
from pathlib import Path
from dreamif_ros.node.transport import has_lost_shared_memory

for name, listens in (("1", True), ("2", False)):
    path = Path(f"/dev/shm/fastdds_port{os.getpid()}{name}")
    path.write_bytes(bytes(4096))
    lock = open(f"{path}_el", "w") if listens else None
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        found = [has_lost_shared_memory()]
        path.unlink()
        found.append(has_lost_shared_memory())
    if lock:
        lock.close()
        os.unlink(f"{path}_el")
    print(found)
"""


def test_shared_memory_that_was_deleted_under_a_listener_is_noticed():
    command = [sys.executable, "-c", LISTENING]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == ["[False, True]", "[False, False]"]


def test_a_deaf_process_is_named_where_somebody_publishes(monkeypatch):
    with client() as node, client("camera") as camera_node:
        subscription = FollowingSubscription(node, Image, TOPIC, print)
        monkeypatch.setattr(transport, "has_lost_shared_memory", lambda: True)
        assert subscription.describe_silence() == "it has no publisher"
        camera_node.create_publisher(Image, TOPIC, 1)
        assert spin_until(node, lambda: node.count_publishers(TOPIC))
        words = "; this process stood still for seconds and Fast DDS gave up its shared memory"
        assert subscription.describe_silence().endswith(words)
        monkeypatch.setattr(transport, "has_lost_shared_memory", lambda: False)
        assert subscription.describe_silence() == subscription.describe_publishers()


TOPIC = "/infrared/image_raw"
OVERRIDE = f"qos_overrides.{TOPIC}.subscription"


@contextmanager
def listener(node, *ros_arguments):
    """A node beside `node`, with ROS arguments as from a command line."""
    listening = Node(
        "listener",
        context=node.context,
        cli_args=["--ros-args", *ros_arguments],
        automatically_declare_parameters_from_overrides=True,
    )
    node.spinner.add_node(listening)
    yield listening
    node.spinner.remove_node(listening)
    listening.destroy_node()


def reliability(node, topic=TOPIC):
    """What the listener's only subscription to the topic asks for, as others see it."""
    found = node.get_subscriptions_info_by_topic(topic)
    return [s.qos_profile.reliability for s in found if s.node_name == "listener"]


def comes_true(node, subscription, condition, timeout_s=30.0):
    def follow_and_look():
        subscription.follow()
        return condition()

    return spin_until(node, follow_and_look, timeout_s)


def stays_true(node, subscription, condition):
    return not comes_true(node, subscription, lambda: not condition(), timeout_s=0.8)


@pytest.mark.filterwarnings("ignore:Deprecated in favor of:DeprecationWarning")  # of rclpy itself
def test_one_best_effort_publisher_decides_and_the_last_choice_stays():
    with client() as node, listener(node) as listening:
        subscription = FollowingSubscription(listening, Image, TOPIC, print)
        assert comes_true(node, subscription, lambda: reliability(node) == [BEST_EFFORT])
        reliable = node.create_publisher(Image, TOPIC, QoSProfile(depth=1))
        assert comes_true(node, subscription, lambda: reliability(node) == [RELIABLE])
        best_effort = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
        assert comes_true(node, subscription, lambda: reliability(node) == [BEST_EFFORT])
        node.destroy_publisher(best_effort)
        assert comes_true(node, subscription, lambda: reliability(node) == [RELIABLE])
        node.destroy_publisher(reliable)
        assert stays_true(node, subscription, lambda: reliability(node) == [RELIABLE])


@pytest.mark.filterwarnings("ignore:Deprecated in favor")  # in rclpy, about the publisher
@pytest.mark.parametrize(
    ("given", "asked", "offered", "heard"),
    [("reliable", RELIABLE, BEST_EFFORT, 0), ("best_effort", BEST_EFFORT, RELIABLE, 1)],
)
def test_a_users_reliability_wins(given, asked, offered, heard):
    messages = []
    with client() as node, listener(node, "-p", f"{OVERRIDE}.reliability:={given}") as listening:
        subscription = FollowingSubscription(listening, Image, TOPIC, messages.append)
        publisher = node.create_publisher(Image, TOPIC, QoSProfile(depth=1, reliability=offered))
        assert comes_true(node, subscription, lambda: listening.count_publishers(TOPIC))
        assert comes_true(node, subscription, lambda: reliability(node) == [asked])
        publisher.publish(Image())
        assert stays_true(node, subscription, lambda: reliability(node) == [asked])
        unheard = "which this reliable subscription does not match"
        assert (unheard in subscription.describe_publishers()) == (not heard)
    assert len(messages) == heard


def test_a_users_depth_wins_and_the_reliability_still_follows():
    heard = []
    arguments = ("-p", f"{OVERRIDE}.depth:=3", "-p", f"{OVERRIDE}.history:=keep_last")
    with client() as node, listener(node, *arguments) as listening:
        subscription = FollowingSubscription(
            listening, Image, TOPIC, lambda message: heard.append(message.height)
        )
        publisher = node.create_publisher(Image, TOPIC, QoSProfile(depth=10))
        assert comes_true(node, subscription, lambda: reliability(node) == [RELIABLE])
        wait_until_heard(node, publisher)
        for number in range(8):
            publisher.publish(Image(height=number))
        time.sleep(0.5)  # nobody takes them meanwhile
        assert spin_until(node, lambda: heard)
        spin_until(node, lambda: False, 0.5)
    assert heard == [5, 6, 7]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("reliability:=sure", "subscription.reliability is 'sure': choose one of .*best_effort"),
        ("reliability:=1", "subscription.reliability is 1: choose one of"),
        ("history:=keep_some", "history is 'keep_some': choose one of .*keep_last, keep_all"),
        ("depth:=0", "subscription.depth is 0, expected 1 or more messages"),
        ("depth:=many", "subscription.depth is 'many', expected 1 or more messages"),
        (
            "durability:=volatile",
            "unknown parameter .*durability: choose one of depth, reliability",
        ),
    ],
)
def test_an_override_that_is_no_policy_is_refused(override, words):
    with client() as node, listener(node, "-p", f"{OVERRIDE}.{override}") as listening:
        with pytest.raises(ConfigError, match=words):
            FollowingSubscription(listening, Image, TOPIC, print)
        FollowingSubscription(listening, Image, "/visible/image_raw", print)  # is another topic


REMAP = ("-r", "infrared/image_raw:=/cam/image")
SWAP = (
    *("-r", "infrared/image_raw:=/visible/image_raw"),
    *("-r", f"visible/image_raw:={TOPIC}"),
)


@pytest.mark.parametrize(
    ("arguments", "transport", "topic"),
    [
        ((), "raw", TOPIC),
        ((), "compressed", f"{TOPIC}/compressed"),
        (("-r", "__ns:=/robot"), "compressed", f"/robot{TOPIC}/compressed"),
        (REMAP, "raw", "/cam/image"),
        (REMAP, "compressed", "/cam/image/compressed"),
        (SWAP, "raw", "/visible/image_raw"),
        (SWAP, "compressed", "/visible/image_raw/compressed"),
        (("-r", f"{TOPIC}/compressed:=/jpegs"), "compressed", "/jpegs"),
    ],
)
def test_compressed_images_are_beside_the_remapped_topic(arguments, transport, topic):
    """Also after the subscription was made anew."""
    heard = []
    message_type = {"raw": Image, "compressed": CompressedImage}[transport]
    with client() as node, listener(node, *arguments) as listening:
        subscription = subscribe_images(listening, "infrared/image_raw", transport, heard.append)
        assert subscription.topic == topic
        publisher = node.create_publisher(message_type, topic, QoSProfile(depth=1))
        assert comes_true(node, subscription, lambda: reliability(node, topic) == [RELIABLE])
        wait_until_heard(node, publisher)
        publisher.publish(message_type())
        assert spin_until(node, lambda: heard)
        assert isinstance(heard[0], message_type)


def test_a_publisher_of_another_type_is_named_and_not_followed():
    with client() as node, listener(node) as listening, client("camera") as camera:
        subscription = FollowingSubscription(listening, Image, TOPIC, print)
        assert subscription.describe_publishers() == "it has no publisher"
        camera.create_publisher(CompressedImage, TOPIC, QoSProfile(depth=1))
        assert comes_true(node, subscription, lambda: listening.count_publishers(TOPIC))
        assert stays_true(node, subscription, lambda: reliability(node) == [BEST_EFFORT])
        expected = (
            "1 publisher(s): /camera (reliable, sensor_msgs/msg/CompressedImage), "
            "expected sensor_msgs/msg/Image"
        )
        assert comes_true(
            node, subscription, lambda: subscription.describe_publishers() == expected
        )


@pytest.mark.parametrize(
    ("transport", "published", "words"),
    [
        ("raw", "/cam/image/compressed", "set infrared.image_transport to compressed"),
        ("compressed", "/cam/image", "set infrared.image_transport to raw"),
    ],
)
def test_a_camera_that_publishes_by_the_other_transport_only_is_found(transport, published, words):
    kind = CompressedImage if transport == "raw" else Image
    with client() as node, listener(node, *REMAP) as listening:
        advice = "set infrared.image_transport to {}"
        subscription = subscribe_images(listening, "infrared/image_raw", transport, print, advice)
        node.create_publisher(kind, published, QoSProfile(depth=1))
        expected = f"it has no publisher, but {published} has: {words}"
        assert comes_true(
            node, subscription, lambda: subscription.describe_publishers() == expected
        )


def test_the_topic_of_compressed_images_given_as_that_of_raw_ones_is_explained():
    remap = ("-r", f"{TOPIC}:=/cam/compressed")
    with client() as node, listener(node, *remap) as listening, client("camera") as camera:
        subscription = subscribe_images(listening, "infrared/image_raw", "raw", print)
        camera.create_publisher(CompressedImage, "/cam/compressed", QoSProfile(depth=1))
        words = "give /cam as the topic and set image_transport to compressed"
        assert comes_true(node, subscription, lambda: words in subscription.describe_publishers())


def test_a_message_that_was_published_once_before_is_heard():
    heard = []
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    with client() as node, listener(node) as listening, client("camera") as camera:
        publisher = camera.create_publisher(CameraInfo, "/camera_info", latched)
        publisher.publish(CameraInfo(width=64))
        subscription = FollowingSubscription(
            listening, CameraInfo, "/camera_info", heard.append, follows_durability=True
        )
        assert comes_true(node, subscription, lambda: heard)
        camera.create_publisher(CameraInfo, "/camera_info", 1)  # one that keeps nothing
        volatile = [QoSDurabilityPolicy.VOLATILE]

        def durability():
            found = node.get_subscriptions_info_by_topic("/camera_info")
            return [s.qos_profile.durability for s in found if s.node_name == "listener"]

        assert comes_true(node, subscription, lambda: durability() == volatile)
    assert [message.width for message in heard] == [64]


def test_what_is_destroyed_stays_so():
    with client() as node, listener(node) as listening:
        subscription = FollowingSubscription(listening, Image, TOPIC, print)
        node.create_publisher(Image, TOPIC, QoSProfile(depth=1))
        subscription.destroy()
        assert comes_true(node, subscription, lambda: reliability(node) == [])
        assert stays_true(node, subscription, lambda: reliability(node) == [])
