"""Bags: what is written is what is read back and what a subscriber gets, and what is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import pytest
import rclpy
import yaml
from helpers import ROOT
from helpers.bag_files import write_pairs
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import find_pairs, read_gray, read_rgb
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError, Topic
from dreamif_ros.cli import main
from dreamif_ros.codec.decode import decode_infrared, decode_visible

FRAMES = 10
RATE_HZ = 10.0
WIDTH, HEIGHT = 32, 24
TOPICS = ["/infrared/image_raw", "/visible/camera_info", "/visible/image_raw"]
# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

MAIN = "import sys; from dreamif_ros.cli import main; sys.exit(main(sys.argv[1:]))"


def make_folders(folder, depth=np.uint8, frames=FRAMES):
    """Two folders of noise images; the infrared is smaller than the visible."""
    rng = np.random.default_rng(7)
    top = np.iinfo(depth).max
    for name in ("ir", "vi"):
        (folder / name).mkdir(parents=True)
    for index in range(frames):
        infrared = rng.integers(0, top, (HEIGHT // 2, WIDTH // 2), depth, endpoint=True)
        visible = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8, endpoint=True)
        cv2.imwrite(str(folder / "ir" / f"{index:03}.png"), infrared)
        cv2.imwrite(str(folder / "vi" / f"{index:03}.png"), visible)
    return find_pairs(folder / "ir", folder / "vi")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def bag(pairs, tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "recording"
    write_pairs(pairs, RATE_HZ, path)
    return path


def cut(bag, into):
    """A copy of the bag whose MCAP file ends in the middle."""
    shutil.copytree(bag, into)
    file = into / "recording.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return into


def write_bag(path, messages, plugin=StoragePlugin.MCAP):
    """A bag of (topic, type, time in ns, CDR bytes)."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connections = {}
        for topic, kind, stamp_ns, data in messages:
            if topic not in connections:
                known = kind in store.types
                description = (
                    {"typestore": store} if known else {"msgdef": "int32 x", "rihs01": "RIHS01_0"}
                )
                connections[topic] = writer.add_connection(topic, kind, **description)
            writer.write(connections[topic], stamp_ns, data)
    return path


class TestMake:
    @pytest.mark.parametrize(("depth", "encoding"), [(np.uint8, "mono8"), (np.uint16, "mono16")])
    def test_every_pixel_stamp_and_header_comes_back(self, tmp_path, depth, encoding):
        pairs = make_folders(tmp_path, depth)
        assert write_pairs(pairs, 30, tmp_path / "bag") == FRAMES
        read = {topic: [] for topic in TOPICS}
        with AnyReader([tmp_path / "bag"]) as reader:
            for connection, stamp_ns, raw in reader.messages():
                message = reader.deserialize(raw, connection.msgtype)
                read[connection.topic].append((stamp_ns, message))
        stamps = [1_000_000_000 + round(index * 1e9 / 30) for index in range(FRAMES)]
        for messages in read.values():
            assert [stamp for stamp, _ in messages] == stamps
            headers = [message.header.stamp for _, message in messages]
            assert [h.sec * 1_000_000_000 + h.nanosec for h in headers] == stamps
        for index, pair in enumerate(pairs):
            infrared, info, visible = (read[topic][index][1] for topic in TOPICS)
            frames = [m.header.frame_id for m in (infrared, info, visible)]
            assert frames == ["infrared_optical", "visible_optical", "visible_optical"]
            assert (infrared.encoding, visible.encoding) == (encoding, "rgb8")
            assert (infrared.is_bigendian, visible.is_bigendian) == (0, 0)
            assert infrared.step == WIDTH // 2 * np.dtype(depth).itemsize
            assert visible.step == WIDTH * 3
            pixels = infrared.data.view(np.dtype(depth).newbyteorder("<"))
            expected = read_gray(pair.infrared)
            np.testing.assert_array_equal(pixels.reshape(infrared.height, infrared.width), expected)
            np.testing.assert_array_equal(
                visible.data.reshape(visible.height, visible.width, 3), read_rgb(pair.visible)
            )
            assert (info.width, info.height) == (WIDTH, HEIGHT)
            assert not np.any(info.k)
            assert info.distortion_model == ""

    def test_metadata_is_what_ros2_bag_reads(self, bag):
        metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
        information = metadata["rosbag2_bagfile_information"]
        assert information["version"] == 8
        assert information["storage_identifier"] == "mcap"
        assert information["relative_file_paths"] == ["recording.mcap"]
        assert information["message_count"] == 3 * FRAMES
        assert information["starting_time"]["nanoseconds_since_epoch"] == 1_000_000_000
        assert information["duration"]["nanoseconds"] == 900_000_000
        topics = [t["topic_metadata"] for t in information["topics_with_message_count"]]
        assert sorted(topic["name"] for topic in topics) == TOPICS
        # A list here is what Humble's rosbag2 cannot parse.
        assert all(isinstance(topic["offered_qos_profiles"], str) for topic in topics)

    def test_the_same_files_give_the_same_bytes(self, pairs, bag, tmp_path):
        write_pairs(pairs, RATE_HZ, tmp_path / "recording")
        for name in ("metadata.yaml", "recording.mcap"):
            assert (tmp_path / "recording" / name).read_bytes() == (bag / name).read_bytes()

    def test_existing_output_is_left_alone(self, pairs, tmp_path):
        (tmp_path / "bag").mkdir()
        with pytest.raises(BagError, match="exists already"):
            write_pairs(pairs, RATE_HZ, tmp_path / "bag")
        assert list((tmp_path / "bag").iterdir()) == []

    @pytest.mark.parametrize("rate", [0, -1, 1000.1, float("nan"), float("inf")])
    def test_impossible_rates_are_refused(self, pairs, tmp_path, rate):
        with pytest.raises(ConfigError, match="more than 0 to 1000 Hz"):
            write_pairs(pairs, rate, tmp_path / "bag")

    def test_an_unreadable_image_leaves_nothing_behind(self, tmp_path):
        pairs = make_folders(tmp_path / "images", frames=3)
        pairs[-1].visible.write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"002\.png"):
            write_pairs(pairs, RATE_HZ, tmp_path / "out" / "bag")
        assert list((tmp_path / "out").iterdir()) == []

    def test_an_unwritable_place_is_one_line(self, pairs, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(BagError, match="cannot write the bag") as refusal:
            write_pairs(pairs, RATE_HZ, tmp_path / "file" / "bag")
        assert "\n" not in str(refusal.value)


class TestRead:
    def test_messages_in_time_order_of_both_storages(self, tmp_path):
        store = get_typestore(Stores.ROS2_HUMBLE)
        kind = "std_msgs/msg/String"
        data = [store.serialize_cdr(store.types[kind](data=str(i)), kind) for i in range(4)]
        written = [("/a", kind, 30, data[0]), ("/b", kind, 10, data[1]), ("/a", kind, 20, data[2])]
        for plugin in StoragePlugin:
            path = write_bag(tmp_path / plugin.name, written, plugin)
            ordered = sorted(written, key=lambda message: message[2])
            assert read(path) == ordered
            with Recording(path) as recording:
                assert list(recording.messages([Topic("/b", kind)])) == [written[1]]
            file = next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
            assert read(file) == ordered

    def test_topics(self, bag):
        with Recording(bag) as recording:
            assert [topic.name for topic in recording.topics] == TOPICS
            assert (recording.start_ns, recording.end_ns) == (1_000_000_000, 1_900_000_000)

    def test_transient_local_topics_stay_latched(self, tmp_path):
        store, kind = get_typestore(Stores.ROS2_HUMBLE), "std_msgs/msg/String"
        zero = QosTime(0, 0)
        reliability, durability = QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL
        qos = Qos(
            QosHistory.KEEP_LAST, 1, reliability, durability, zero, zero,
            QosLiveliness.AUTOMATIC, zero, False,
        )  # fmt: skip
        with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection(
                "/a", kind, typestore=store, offered_qos_profiles=[qos]
            )
            writer.write(connection, 1, b"\0\1\0\0")
        with Recording(tmp_path / "bag") as recording:
            assert recording.topics == [Topic("/a", kind, latched=True)]

    def test_what_is_no_bag_is_refused(self, tmp_path):
        (tmp_path / "text.txt").write_text("hello")
        for path, reason in (
            (tmp_path / "absent", "no such bag"),
            (tmp_path, r"no \.mcap or \.db3 file"),
            (tmp_path / "text.txt", "is no bag"),
        ):
            with pytest.raises(BagError, match=reason):
                Recording(path)

    def test_a_bag_without_messages_is_refused(self, tmp_path):
        with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP):
            pass
        with pytest.raises(BagError, match="holds no messages"):
            Recording(tmp_path / "bag")

    @pytest.mark.parametrize("plugin", StoragePlugin)
    def test_damage_anywhere_is_a_bag_error(self, tmp_path, plugin):
        kind = "std_msgs/msg/String"
        messages = [("/a", kind, i, bytes(range(256)) * 40) for i in range(20)]
        path = write_bag(tmp_path / "recording", messages, plugin)
        file = next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
        good = file.read_bytes()
        rng = np.random.default_rng(3)
        for size in (0, 1, 20, len(good) // 2, len(good) - 10):
            file.write_bytes(good[:size])
            read_or_refuse(path)
        for _ in range(60):
            damaged = bytearray(good)
            start = int(rng.integers(len(good)))
            damaged[start : start + 16] = rng.bytes(16)
            file.write_bytes(damaged)
            read_or_refuse(path)
        file.unlink()
        with pytest.raises(BagError, match=r"no \.mcap or \.db3 file"):
            Recording(path)

    @pytest.mark.parametrize("text", ["", "x", "{", "rosbag2_bagfile_information: {version: 8}"])
    def test_damaged_metadata_is_a_fault(self, bag, tmp_path, text):
        shutil.copytree(bag, tmp_path / "bag")
        (tmp_path / "bag" / "metadata.yaml").write_text(text)
        with Recording(tmp_path / "bag") as recording:
            (fault,) = recording.faults
            assert fault.startswith("metadata.yaml ")
            assert "the files" in fault
            assert len(list(recording.messages(recording.topics))) == 3 * FRAMES


def read(path):
    with Recording(path) as recording:
        return list(recording.messages(recording.topics))


def read_or_refuse(path):
    """Not every damage shows, but what shows must be a BagError."""
    with suppress(BagError):
        read(path)


@pytest.fixture(scope="module")
def environment():
    """The variables of the replaying process."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def listener():
    """Subscribes and collects serialized messages in ``received``: {topic: [bytes]}."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    node = Node("listener", context=context, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    class Listener:
        def __init__(self):
            self.received = {}  # by topic
            self.sent_ns = {}  # by topic: when each was sent, of wall time

        def subscribe(self, kind, topic, qos=10):
            self.received[topic], self.sent_ns[topic] = [], []

            def store(raw, info):
                self.received[topic].append(raw)
                self.sent_ns[topic].append(info["source_timestamp"])

            node.create_subscription(kind, topic, store, qos, raw=True)

        def publishers(self, topic):
            return node.count_publishers(topic)

        def spin_until(self, done, timeout_s=30):
            end = time.monotonic() + timeout_s
            while not done():
                assert time.monotonic() < end, {t: len(r) for t, r in self.received.items()}
                executor.spin_once(timeout_sec=0.05)

        def drain(self):
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                executor.spin_once(timeout_sec=0.05)

    yield Listener()
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


@contextmanager
def replaying(environment, *arguments):
    """``dreamif bag replay`` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "bag", "replay", "--wait", "30", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
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


@pytest.mark.realtime
class TestReplay:
    def test_every_frame_arrives_as_it_is_in_the_files(self, bag, pairs, listener, environment):
        subscribe_images(listener)
        with replaying(environment, bag) as process:
            listener.spin_until(lambda: process.poll() is not None)
            listener.drain()
            out = finish(process)
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

    def test_rate_scales_the_time(self, pairs, tmp_path, listener, environment):
        write_pairs(pairs, 2.5, tmp_path / "slow")  # 3.6 s from the first to the last
        subscribe_images(listener)
        with replaying(environment, tmp_path / "slow", "--rate", 4) as process:
            listener.spin_until(lambda: process.poll() is not None)
            finish(process)
        listener.drain()
        assert_ten_per_second(listener)

    def test_rhythm_is_the_recorded_one(self, bag, listener, environment):
        subscribe_images(listener)
        with replaying(environment, bag) as process:
            listener.spin_until(lambda: process.poll() is not None)
            finish(process)
        listener.drain()
        assert_ten_per_second(listener)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_loop_starts_over_until_a_signal(self, bag, listener, environment, number):
        subscribe_images(listener)
        with replaying(environment, bag, "--loop") as process:
            visible = listener.received["/visible/image_raw"]
            listener.spin_until(lambda: len(visible) > FRAMES + 2)
            process.send_signal(number)
            out = finish(process)
        stamps = stamps_ns(visible, Image)
        assert stamps[FRAMES : FRAMES + 3] == stamps[:3]
        assert stamps[0] == 1_000_000_000
        assert "/visible/image_raw: " in out

    def test_a_signal_while_waiting_for_subscribers_ends_it(self, bag, listener, environment):
        with replaying(environment, bag, "--wait", 60) as process:
            listener.spin_until(lambda: listener.publishers("/visible/image_raw"))
            process.send_signal(signal.SIGINT)
            out = finish(process)
        assert "/visible/image_raw: 0 messages published" in out

    def test_it_begins_without_subscribers_and_says_so(self, bag, environment):
        with replaying(environment, bag, "--wait", 0.2, "--rate", 10) as process:
            out = finish(process)
        line = "nobody subscribed to /infrared/image_raw, /visible/image_raw in 0.2 s"
        assert line in out
        assert f"/visible/image_raw: {FRAMES} messages published" in out

    def test_clock_follows_the_bag(self, bag, listener, environment):
        subscribe_images(listener)
        listener.subscribe(Clock, "/clock", 1000)
        with replaying(environment, bag, "--clock", "--rate", 0.25) as process:
            listener.spin_until(lambda: process.poll() is not None)
            finish(process)
        listener.drain()
        clocks = [deserialize_message(raw, Clock).clock for raw in listener.received["/clock"]]
        times = [clock.sec * 1_000_000_000 + clock.nanosec for clock in clocks]
        assert times == sorted(set(times))
        assert times[-1] == 1_900_000_000
        assert len(times) > 160  # 100 Hz for 3.6 s, on a busy machine
        assert np.median(np.diff(times)) < 0.25 * 30_000_000

    def test_a_clock_that_was_set_is_not_waited_for(self, tmp_path, environment):
        """The first messages are of 1970, the others of 2025, 55 years later."""
        late_ns = 1_750_000_000_000_000_000
        times = [0, 100_000_000, late_ns, late_ns + 100_000_000, late_ns + 12_100_000_000]
        messages = [("/text", "std_msgs/msg/String", time_ns, b"\0\1\0\0") for time_ns in times]
        path = write_bag(tmp_path / "bag", messages)
        with replaying(environment, path, "--wait", 0, "--rate", 10) as process:
            out = finish(process)
        assert "/text: 5 messages published" in out
        assert "skipped 1749999999.9 s without a message, see --max-gap\n" in out
        assert "skipped 12.0 s" in out
        with replaying(environment, path, "--rate", 10, "--wait", 0, "--max-gap", 13) as process:
            out = finish(process)
        assert out.count("skipped") == 1

    def test_types_that_are_not_installed_are_skipped_in_one_line(self, tmp_path, environment):
        store = get_typestore(Stores.ROS2_HUMBLE)
        data = store.serialize_cdr(
            store.types["std_msgs/msg/String"](data="x"), "std_msgs/msg/String"
        )
        messages = [
            ("/known", "std_msgs/msg/String", 5, data),
            ("/odd", "odd_msgs/msg/Odd", 6, data),
        ]
        path = write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)
        with replaying(environment, path) as process:
            out = finish(process)
        assert "skipped, their message types are not installed: /odd (odd_msgs/msg/Odd)\n" in out
        assert "/known: 1 message published" in out

    def test_what_a_cut_bag_holds_is_played(self, bag, tmp_path, environment):
        path = cut(bag, tmp_path / "cut")
        left = Counter(message.topic for message in read(path))
        assert 0 < left["/visible/image_raw"] < FRAMES
        with replaying(environment, path, "--wait", 0, "--rate", 10) as process:
            out = finish(process)
        assert "fault: recording.mcap is cut off: its end is missing" in out
        for topic, count in left.items():
            assert f"{topic}: {count} message{'s' * (count > 1)} published" in out

    def test_damage_that_shows_meanwhile_is_played_around(self, tmp_path, environment):
        """The index of the database is whole, pages in the middle are not."""
        messages = [("/text", "std_msgs/msg/String", i, bytes(4000)) for i in range(100)]
        path = write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3)
        content = bytearray((path / "bag.db3").read_bytes())
        half = len(content) // 2
        content[half : half + 20_000] = bytes(20_000)
        (path / "bag.db3").write_bytes(content)
        left = read(path)
        assert left[-1].timestamp_ns == 99
        with replaying(environment, path) as process:
            out = finish(process)
        assert "fault: bag.db3 is cut off or damaged" in out
        assert 60 < len(left) < 100
        assert f"/text: {len(left)} messages published" in out

    def test_only_unknown_types_is_a_failure(self, tmp_path, capsys):
        path = write_bag(tmp_path / "bag", [("/odd", "odd_msgs/msg/Odd", 6, b"\0\1\0\0")])
        assert main(["bag", "replay", str(path)]) == 1
        assert "/odd (odd_msgs/msg/Odd)" in capsys.readouterr().err


class TestCommand:
    def test_make_prints_what_it_wrote(self, pairs, tmp_path, capsys):
        folder, out = pairs[0].visible.parent.parent, tmp_path / "bag"
        arguments = ["--ir", folder / "ir", "--vi", folder / "vi", "--rate", 25, "--out", out]
        assert main(["bag", "make", *map(str, arguments)]) == 0
        assert capsys.readouterr().out == f"10 pairs, 0.40 s, in {out}\n"
        with Reader(out) as reader:
            assert reader.message_count == 3 * FRAMES

    def test_unpaired_files_are_refused(self, tmp_path, capsys):
        make_folders(tmp_path, frames=3)[0].visible.unlink()
        arguments = ["--ir", tmp_path / "ir", "--vi", tmp_path / "vi", "--rate", 5]
        assert main(["bag", "make", *map(str, arguments), "--out", str(tmp_path / "bag")]) == 1
        error = capsys.readouterr().err
        assert "no partner" in error
        assert error.count("\n") == 1

    def test_a_bag_of_which_nothing_is_left_fails_in_one_line(self, tmp_path, capsys):
        (tmp_path / "x.mcap").write_bytes(b"\x89MCAP0\r\n")
        assert main(["bag", "replay", str(tmp_path / "x.mcap")]) == 1
        error = capsys.readouterr().err
        assert "holds no messages: x.mcap is cut off" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        ("option", "value", "reason"),
        [
            ("--rate", "0", "rate is 0, expected more than 0"),
            ("--rate", "nan", "rate is nan, expected more than 0"),
            ("--rate", "inf", "rate is inf, expected more than 0 and finite"),
            ("--wait", "-1", "wait is -1 s, expected 0 s or more"),
            ("--max-gap", "0", "longest gap is 0 s, expected more than 0 s"),
            ("--max-gap", "nan", "longest gap is nan s, expected more than 0 s"),
            ("--wait", "inf", "wait is inf s, expected 0 s or more and finite"),
        ],
    )
    def test_impossible_options_are_refused(self, bag, capsys, option, value, reason):
        assert main(["bag", "replay", str(bag), option, value]) == 2
        assert reason in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["bag"], ["bag", "make"], ["bag", "replay"]])
    def test_a_wrong_call_is_status_2(self, arguments, capsys):
        with pytest.raises(SystemExit) as refusal:
            main(arguments)
        assert refusal.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith("dreamif: the following arguments are required: ")
        assert told.count("\n") == 1
