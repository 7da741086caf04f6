"""Bags: what is written is what is read back, and what is refused."""

import shutil
from contextlib import suppress

import numpy as np
import pytest
import yaml
from helpers.bag_files import noise_pairs, read_bag, write_bag, write_pairs
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

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import read_gray, read_rgb
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError, Topic
from dreamif_ros.cli import main

FRAMES = 10
RATE_HZ = 10.0
WIDTH, HEIGHT = 32, 24
TOPICS = ["/infrared/image_raw", "/visible/camera_info", "/visible/image_raw"]
# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


class TestMake:
    @pytest.mark.parametrize(("depth", "encoding"), [(np.uint8, "mono8"), (np.uint16, "mono16")])
    def test_every_pixel_stamp_and_header_comes_back(self, tmp_path, depth, encoding):
        pairs = noise_pairs(tmp_path, depth)
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
        pairs = noise_pairs(tmp_path / "images", frames=3)
        pairs[-1].visible.write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"002\.png"):
            write_pairs(pairs, RATE_HZ, tmp_path / "out" / "bag")
        assert list((tmp_path / "out").iterdir()) == []

    def test_an_unwritable_place_is_one_line(self, pairs, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(BagError, match="cannot write the bag") as refusal:
            write_pairs(pairs, RATE_HZ, tmp_path / "file" / "bag")
        assert "\n" not in str(refusal.value)


def stored(message):
    """A message in the order that write_bag() takes."""
    topic, kind, time_ns, data = message
    return topic, time_ns, kind, data


class TestRead:
    def test_messages_in_time_order_of_both_storages(self, tmp_path):
        store = get_typestore(Stores.ROS2_HUMBLE)
        kind = "std_msgs/msg/String"
        data = [store.serialize_cdr(store.types[kind](data=str(i)), kind) for i in range(4)]
        written = [("/a", kind, 30, data[0]), ("/b", kind, 10, data[1]), ("/a", kind, 20, data[2])]
        for plugin in StoragePlugin:
            path = write_bag(tmp_path / plugin.name, map(stored, written), plugin)
            ordered = sorted(written, key=lambda message: message[2])
            assert read_bag(path) == ordered
            with Recording(path) as recording:
                assert list(recording.messages([Topic("/b", kind)])) == [written[1]]
            file = next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
            assert read_bag(file) == ordered

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
        messages = [("/a", i, kind, bytes(range(256)) * 40) for i in range(20)]
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


def read_or_refuse(path):
    """Not every damage shows, but what shows must be a BagError."""
    with suppress(BagError):
        read_bag(path)


class TestCommand:
    def test_make_prints_what_it_wrote(self, pairs, tmp_path, capsys):
        folder, out = pairs[0].visible.parent.parent, tmp_path / "bag"
        arguments = ["--ir", folder / "ir", "--vi", folder / "vi", "--rate", 25, "--out", out]
        assert main(["bag", "make", *map(str, arguments)]) == 0
        assert capsys.readouterr().out == f"10 pairs, 0.40 s, in {out}\n"
        with Reader(out) as reader:
            assert reader.message_count == 3 * FRAMES

    def test_unpaired_files_are_refused(self, tmp_path, capsys):
        noise_pairs(tmp_path, frames=3)[0].visible.unlink()
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
