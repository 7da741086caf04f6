"""`dreamif bag replay`: subscribers get what is in the files, at its rhythm, until a signal."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from unittest import mock

import numpy as np
import pytest
import rclpy
from helpers import ROOT
from helpers.bag_files import read_bag, write_bag, write_pairs
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dreamif_model.image_files import read_gray, read_rgb
from dreamif_ros.cli import main
from dreamif_ros.codec.decode import decode_infrared, decode_visible

FRAMES = 10
TEXT = "std_msgs/msg/String"
TOPICS = ["/infrared/image_raw", "/visible/camera_info", "/visible/image_raw"]
# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
    pytest.mark.realtime,
]

MAIN = "import sys; from dreamif_ros.cli import main; sys.exit(main(sys.argv[1:]))"


class Listener:
    """Subscribes and collects serialized messages in ``received``: {topic: [bytes]}."""

    def __init__(self, context):
        self.node = Node("listener", context=context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.received = {}  # by topic
        self.sent_ns = {}  # by topic: when each was sent, of wall time

    def subscribe(self, kind, topic, qos=10):
        self.received[topic], self.sent_ns[topic] = [], []

        def store(raw, info):
            self.received[topic].append(raw)
            self.sent_ns[topic].append(info["source_timestamp"])

        self.node.create_subscription(kind, topic, store, qos, raw=True)

    def spin_until(self, done, timeout_s=30):
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, {t: len(r) for t, r in self.received.items()}
            self._executor.spin_once(timeout_sec=0.05)

    def drain(self):
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()


@contextmanager
def listening():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    with closing(Listener(context)) as listener:
        yield listener
    context.try_shutdown()


@pytest.fixture
def listener():
    with listening() as listener:
        yield listener


@contextmanager
def replaying(*arguments):
    """``dreamif bag replay`` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "bag", "replay", "--wait", "30", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def finish(process, timeout_s=30):
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    return out


def heard_by(listener, *arguments):
    """What a replay prints whose messages the listener hears."""
    with replaying(*arguments) as process:
        listener.spin_until(lambda: process.poll() is not None)
        listener.drain()
        return finish(process)


def printed(capsys, *arguments):
    """What a replay in this process prints, which nobody hears."""
    with mock.patch.dict(os.environ):
        assert main(["bag", "replay", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def subscribe_images(listener):
    for topic in ("/infrared/image_raw", "/visible/image_raw"):
        listener.subscribe(Image, topic, 10 * FRAMES)


def assert_ten_per_second(listener):
    """As they were sent: the last not too early, most steps not too long."""
    for sent_ns in listener.sent_ns.values():
        assert len(sent_ns) == FRAMES
        assert sent_ns[-1] - sent_ns[0] > 0.8e9
        assert 0.07e9 < np.median(np.diff(sent_ns)) < 0.15e9


def stamps_ns(raws, kind):
    stamps = [deserialize_message(raw, kind).header.stamp for raw in raws]
    return [stamp.sec * 1_000_000_000 + stamp.nanosec for stamp in stamps]


@pytest.fixture(scope="module")
def heard(bag):
    """A listener that has heard the whole bag, and what was printed."""
    with listening() as listener:
        subscribe_images(listener)
        return listener, heard_by(listener, bag)


def test_every_frame_arrives_as_it_is_in_the_files(pairs, heard):
    listener, out = heard
    infrared, visible = listener.received.values()
    assert len(infrared) == len(visible) == FRAMES
    for pair, ir, vi in zip(pairs, infrared, visible, strict=True):
        ir, vi = deserialize_message(ir, Image), deserialize_message(vi, Image)
        np.testing.assert_array_equal(decode_infrared(ir), read_gray(pair.infrared))
        np.testing.assert_array_equal(decode_visible(vi), read_rgb(pair.visible))
        assert vi.header.frame_id == "visible_optical"
        assert ir.header.stamp == vi.header.stamp
    expected = [1_000_000_000 + index * 100_000_000 for index in range(FRAMES)]
    assert stamps_ns(visible, Image) == expected
    for topic in TOPICS:
        assert f"{topic}: {FRAMES} messages published" in out
    assert "nobody subscribed" not in out


def test_rate_scales_the_time(pairs, tmp_path, listener):
    write_pairs(pairs, 2.5, tmp_path / "slow")  # 3.6 s from the first to the last
    subscribe_images(listener)
    heard_by(listener, tmp_path / "slow", "--rate", 4)
    assert_ten_per_second(listener)


def test_rhythm_is_the_recorded_one(heard):
    listener, _ = heard
    assert_ten_per_second(listener)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_loop_starts_over_until_a_signal(bag, listener, number):
    subscribe_images(listener)
    with replaying(bag, "--loop") as process:
        visible = listener.received["/visible/image_raw"]
        listener.spin_until(lambda: len(visible) > FRAMES + 2)
        process.send_signal(number)
        out = finish(process)
    stamps = stamps_ns(visible, Image)
    assert stamps[FRAMES : FRAMES + 3] == stamps[:3]
    assert stamps[0] == 1_000_000_000
    assert "/visible/image_raw: " in out


def test_a_signal_while_waiting_for_subscribers_ends_it(bag, listener):
    with replaying(bag, "--wait", 60) as process:
        listener.spin_until(lambda: listener.node.count_publishers("/visible/image_raw"))
        process.send_signal(signal.SIGINT)
        out = finish(process)
    assert "/visible/image_raw: 0 messages published" in out


def test_it_begins_without_subscribers_and_says_so(bag, capsys):
    out = printed(capsys, bag, "--wait", 0.2, "--rate", 10)
    line = "nobody subscribed to /infrared/image_raw, /visible/image_raw in 0.2 s"
    assert line in out
    assert f"/visible/image_raw: {FRAMES} messages published" in out


def test_clock_follows_the_bag(bag, listener):
    subscribe_images(listener)
    listener.subscribe(Clock, "/clock", 1000)
    heard_by(listener, bag, "--clock", "--rate", 0.25)
    clocks = [deserialize_message(raw, Clock).clock for raw in listener.received["/clock"]]
    times = [clock.sec * 1_000_000_000 + clock.nanosec for clock in clocks]
    assert times == sorted(set(times))
    assert times[-1] == 1_900_000_000
    assert len(times) > 160  # 100 Hz for 3.6 s, on a busy machine
    assert np.median(np.diff(times)) < 0.25 * 30_000_000


def test_a_clock_that_was_set_is_not_waited_for(tmp_path, capsys):
    """The first messages are of 1970, the others of 2025, 55 years later."""
    late_ns = 1_750_000_000_000_000_000
    times = [0, 100_000_000, late_ns, late_ns + 100_000_000, late_ns + 12_100_000_000]
    messages = [("/text", time_ns, TEXT, b"\0\1\0\0") for time_ns in times]
    path = write_bag(tmp_path / "bag", messages)
    out = printed(capsys, path, "--wait", 0, "--rate", 10)
    assert "/text: 5 messages published" in out
    assert "skipped 1749999999.9 s without a message, see --max-gap\n" in out
    assert "skipped 12.0 s" in out
    out = printed(capsys, path, "--rate", 10, "--wait", 0, "--max-gap", 13)
    assert out.count("skipped") == 1


def test_types_that_are_not_installed_are_skipped_in_one_line(tmp_path, capsys):
    messages = [("/known", 5, TEXT, b"\0\1\0\0"), ("/odd", 6, "odd_msgs/msg/Odd", b"\0\1\0\0")]
    path = write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)
    out = printed(capsys, path)
    assert "skipped, their message types are not installed: /odd (odd_msgs/msg/Odd)\n" in out
    assert "/known: 1 message published" in out


def test_what_a_cut_bag_holds_is_played(bag, tmp_path, capsys):
    path = shutil.copytree(bag, tmp_path / "cut")
    file = path / "recording.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    left = Counter(message.topic for message in read_bag(path))
    assert 0 < left["/visible/image_raw"] < FRAMES
    out = printed(capsys, path, "--wait", 0, "--rate", 10)
    assert "fault: recording.mcap is cut off: its end is missing" in out
    for topic, count in left.items():
        assert f"{topic}: {count} message{'s' * (count > 1)} published" in out


def test_damage_that_shows_meanwhile_is_played_around(tmp_path, capsys):
    """The index of the database is whole, pages in the middle are not."""
    messages = [("/text", i, TEXT, bytes(4000)) for i in range(100)]
    path = write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)
    content = bytearray((path / "bag.db3").read_bytes())
    half = len(content) // 2
    content[half : half + 20_000] = bytes(20_000)
    (path / "bag.db3").write_bytes(content)
    left = read_bag(path)
    assert left[-1].timestamp_ns == 99
    out = printed(capsys, path)
    assert "fault: bag.db3 is cut off or damaged" in out
    assert 60 < len(left) < 100
    assert f"/text: {len(left)} messages published" in out


def test_only_unknown_types_is_a_failure(tmp_path, capsys):
    path = write_bag(tmp_path / "bag", [("/odd", 6, "odd_msgs/msg/Odd", b"\0\1\0\0")])
    assert main(["bag", "replay", str(path)]) == 1
    assert "/odd (odd_msgs/msg/Odd)" in capsys.readouterr().err
