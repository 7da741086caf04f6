"""What the files of a bag hold is read in order of time, whatever metadata.yaml says."""

import shlex
import shutil
import sqlite3
import struct
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import yaml
from helpers.bag_files import STORE, TOPICS, Street, image, street_messages, write_bag
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from dreamif_ros.bag.compression import ROOM_BYTES, unpack, zstd
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import MAX_BYTES, BagError, printable
from dreamif_ros.cli import main

SMALL = Street((48, 36))
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
TEXT = "std_msgs/msg/String"


def texts(*moments, topic="/a"):
    """(topic, time, type, CDR) of texts that hold their own time."""
    kinds = STORE.types
    return [
        (topic, time_ns, TEXT, STORE.serialize_cdr(kinds[TEXT](data=str(time_ns)), TEXT))
        for time_ns in moments
    ]


def read(path):
    """All messages, and the faults once they are read."""
    with Recording(path) as recording:
        messages = list(recording.messages(recording.topics))
        return messages, recording.faults


def times(path):
    return [message.timestamp_ns for message in read(path)[0]]


def split_bag(folder, plugin, *parts):
    """A bag of several files, and a metadata.yaml that is right."""
    folder.mkdir()
    suffix = "mcap" if plugin is MCAP else "db3"
    told = []
    for number, messages in enumerate(parts):
        name = f"part_{number}"
        write_bag(folder.parent / name, messages, plugin)
        shutil.move(folder.parent / name / f"{name}.{suffix}", folder)
        told.append(metadata(folder.parent / name))
        shutil.rmtree(folder.parent / name)
    whole = told[-1]
    begins = [t["starting_time"]["nanoseconds_since_epoch"] for t in told]
    ends = [b + t["duration"]["nanoseconds"] for b, t in zip(begins, told, strict=True)]
    counts = Counter()
    for part in told:
        for entry in part["topics_with_message_count"]:
            counts[entry["topic_metadata"]["name"]] += entry["message_count"]
    for entry in whole["topics_with_message_count"]:
        entry["message_count"] = counts[entry["topic_metadata"]["name"]]
    whole["starting_time"]["nanoseconds_since_epoch"] = min(begins)
    whole["duration"]["nanoseconds"] = max(ends) - min(begins)
    whole["message_count"] = sum(counts.values())
    whole["relative_file_paths"] = [f"part_{number}.{suffix}" for number in range(len(parts))]
    write_metadata(folder, whole)
    return folder


def metadata(bag):
    return yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]


def write_metadata(bag, told):
    text = yaml.safe_dump({"rosbag2_bagfile_information": told})
    (bag / "metadata.yaml").write_text(text)


@pytest.fixture(params=[MCAP, SQLITE], ids=["mcap", "sqlite"])
def split(request, tmp_path):
    """60 pairs in three files, 0.1 s apart."""
    messages = list(street_messages(6, street=SMALL))
    return split_bag(tmp_path / "bag", request.param, *(messages[i : i + 40] for i in (0, 40, 80)))


class TestMetadata:
    def test_what_is_right_is_no_fault(self, split):
        messages, faults = read(split)
        assert faults == []
        assert Counter(m.topic for m in messages) == {TOPICS[0]: 60, TOPICS[1]: 60}

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            (
                {"starting_time": {"nanoseconds_since_epoch": 5_000_000_000}},
                "gives a wrong start: 1970-01-01 00:00:05.000000, and the files begin at "
                "1970-01-01 00:00:01.000000",
            ),
            (
                {"duration": {"nanoseconds": 1_900_000_000}},
                "duration: 1.900 s, and the files last 5.9",
            ),
            ({"message_count": 40}, "gives a wrong number of messages: 40, and the files hold 120"),
            ({"message_count": 0}, "gives a wrong number of messages: 0, and the files hold 120"),
        ],
    )
    def test_each_difference_is_told_and_all_is_read(self, split, change, fault):
        write_metadata(split, metadata(split) | change)
        messages, faults = read(split)
        assert len(messages) == 120
        assert len(faults) == 1
        assert fault in faults[0]

    def test_counts_of_topics(self, split):
        told = metadata(split)
        told["topics_with_message_count"][0]["message_count"] = 0
        del told["topics_with_message_count"][1]
        write_metadata(split, told)
        messages, faults = read(split)
        assert len(messages) == 120
        assert faults == [
            f"metadata.yaml gives a wrong number of messages of {topic} (sensor_msgs/msg/Image): "
            "0, and the files hold 60"
            for topic in TOPICS
        ]

    @pytest.mark.parametrize("qos", ["", "no yaml: [", "- depth: all\n  history: 77", [1], None])
    def test_quality_of_service_takes_no_topic_away(self, split, qos):
        told = metadata(split)
        told["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"] = qos
        write_metadata(split, told)
        messages, faults = read(split)
        assert (len(messages), faults) == (120, [])

    def test_files_that_are_not_listed_or_missing(self, split):
        told = metadata(split)
        unlisted = told["relative_file_paths"].pop(1)
        told["relative_file_paths"].append("part_9.mcap")
        write_metadata(split, told)
        messages, faults = read(split)
        assert len(messages) == 120
        assert faults == [
            f"metadata.yaml does not list {unlisted}: read too",
            "metadata.yaml lists part_9.mcap, which is missing",
        ]

    @pytest.mark.parametrize("value", [float("inf"), "soon", None, [], {"nanoseconds": {}}, -1])
    @pytest.mark.parametrize("key", ["duration", "message_count", "relative_file_paths"])
    def test_values_of_any_kind(self, split, key, value):
        write_metadata(split, metadata(split) | {key: value})
        messages, faults = read(split)
        assert len(messages) == 120
        (fault,) = faults
        assert fault.startswith("metadata.yaml ")

    def test_of_another_storage(self, split):
        write_metadata(split, metadata(split) | {"storage_identifier": "other", "version": 77})
        assert len(read(split)[0]) == 120

    def test_info_says_it(self, split, capfd):
        write_metadata(split, metadata(split) | {"duration": {"nanoseconds": 0}})
        assert main(["bag", "info", str(split)]) == 0
        out = capfd.readouterr().out
        assert "120 messages in 5.90 s" in out
        assert "fault: metadata.yaml gives a wrong duration: 0.000 s" in out


class TestOrder:
    @pytest.mark.parametrize("plugin", [MCAP, SQLITE])
    def test_files_that_overlap(self, tmp_path, plugin):
        parts = [texts(10, 30, 50), texts(20, 40, 60), texts(5, 55)]
        assert times(split_bag(tmp_path / "bag", plugin, *parts)) == [5, 10, 20, 30, 40, 50, 55, 60]

    def test_overlap_is_no_clock_that_is_set_back(self, tmp_path, capfd):
        messages = list(street_messages(4, street=SMALL))
        parts = [[m for m in messages if m[0] == topic] for topic in TOPICS]
        bag = split_bag(tmp_path / "bag", MCAP, *parts)
        write_metadata(bag, metadata(bag))
        assert main(["bag", "info", str(bag)]) == 0
        out = capfd.readouterr().out
        assert "pairs: 40 of 40 infrared and 40 visible" in out
        assert "stamped before" not in out
        assert "set back" not in out

    @pytest.mark.parametrize("plugin", [MCAP, SQLITE])
    @pytest.mark.parametrize("mode", [None, CompressionMode.MESSAGE, CompressionMode.FILE])
    def test_within_a_file(self, tmp_path, plugin, mode):
        order = [7, 3, 9, 1, 5]
        how = mode and (mode, CompressionFormat.ZSTD)
        assert times(write_bag(tmp_path / "bag", texts(*order), plugin, how)) == sorted(order)

    def test_chunks_that_overlap(self, tmp_path):
        """Chunks of 1 MB: messages of 400 kB that were not written in order."""
        moments = [20, 30, 90, 10, 40, 80, 50, 60, 70]
        messages = [("/a", time_ns, TEXT, bytes(400_000)) for time_ns in moments]
        assert times(write_bag(tmp_path / "bag", messages)) == sorted(moments)

    def test_a_part_of_the_time(self, split):
        with Recording(split) as recording:
            found = list(recording.messages(recording.topics, 1.95, 4.0))
        assert [m.timestamp_ns for m in found][::2] == [
            1_000_000_000 + n * 100_000_000 for n in range(20, 40)
        ]

    def test_an_unpacked_copy_is_read_once(self, tmp_path):
        how = CompressionMode.FILE, CompressionFormat.ZSTD
        bag = write_bag(tmp_path / "bag", texts(1, 2, 3), SQLITE, how)
        (packed,) = bag.glob("*.zstd")
        packed.with_suffix("").write_bytes(zstd.decompress(packed.read_bytes()))
        messages, faults = read(bag)
        assert [m.timestamp_ns for m in messages] == [1, 2, 3]
        assert faults == ["bag.db3 is there packed too: it was read once"]


class TestQualityOfService:
    @pytest.mark.parametrize("plugin", [MCAP, SQLITE])
    def test_is_that_of_the_files(self, tmp_path, plugin):
        zero = QosTime(0, 0)
        qos = Qos(
            QosHistory.KEEP_LAST, 1, QosReliability.BEST_EFFORT, QosDurability.TRANSIENT_LOCAL,
            zero, zero, QosLiveliness.AUTOMATIC, zero, False,
        )  # fmt: skip
        with Writer(tmp_path / "bag", version=8, storage_plugin=plugin) as writer:
            latched = writer.add_connection("/a", TEXT, typestore=STORE, offered_qos_profiles=[qos])
            plain = writer.add_connection("/b", TEXT, typestore=STORE)
            for connection in (latched, plain):
                writer.write(connection, 1, b"\0\1\0\0")
        (tmp_path / "bag" / "metadata.yaml").unlink()
        with Recording(tmp_path / "bag") as recording:
            assert [topic.latched for topic in recording.topics] == [True, False]
            assert recording.reliabilities == {"/a": "best_effort", "/b": ""}


class TestRead:
    """Read and named is held."""

    def test_a_count_that_is_wrong_is_told(self, tmp_path):
        """The summary counts more messages than there are."""
        (file,) = write_bag(tmp_path / "bag", texts(1, 2, 3)).glob("*.mcap")
        data = bytearray(file.read_bytes())
        place = data.index(struct.pack("<IHQ", 10, 1, 3)) + 6
        data[place : place + 8] = struct.pack("<Q", 5)
        file.write_bytes(data)
        messages, faults = read(file)
        assert len(messages) == 3
        assert faults == ["the files count 5 messages of /a, and 3 can be read"]

    def test_other_formats_are_told(self, tmp_path):
        messages = texts(1, 2) + texts(3, topic="/b")
        (file,) = write_bag(tmp_path / "bag", messages, SQLITE).glob("*.db3")
        change(file, "UPDATE topics SET serialization_format = 'json' WHERE name = '/b'")
        found, faults = read(file)
        assert [m.timestamp_ns for m in found] == [1, 2]
        assert faults == [
            "messages that are not in cdr, the format of ROS 2, are left out: 1 in json"
        ]
        change(file, "UPDATE topics SET serialization_format = 'protobuf'")
        with pytest.raises(BagError, match=r"not in cdr, the format of ROS 2: 3 in protobuf"):
            Recording(file)

    def test_hidden_files_are_no_part_of_a_bag(self, tmp_path):
        bag = write_bag(tmp_path / "bag", texts(1, 2))
        (bag / "._bag.mcap").write_bytes(b"\0\5\x16\7")
        assert read(bag)[1] == []


class TestRos1:
    def mcap(self, path):
        """Messages of ROS 1, as `mcap convert` writes them."""

        def text(value):
            return struct.pack("<I", len(value)) + value.encode()

        def record(kind, content):
            return struct.pack("<BQ", kind, len(content)) + content

        magic = b"\x89MCAP0\r\n"
        path.write_bytes(
            magic
            + record(1, text("ros1") + text(""))
            + record(3, struct.pack("<H", 1) + text("std_msgs/String") + text("ros1msg") + text(""))
            + record(4, struct.pack("<HH", 1, 1) + text("/a") + text("ros1") + bytes(4))
            + record(5, struct.pack("<HIQQ", 1, 0, 5, 5) + text("hello"))
            + record(15, bytes(4))
            + record(2, bytes(20))
            + magic
        )
        return path

    def test_an_mcap_file(self, tmp_path, capfd):
        path = self.mcap(tmp_path / "old.mcap")
        assert main(["bag", "info", str(path)]) == 1
        error = capfd.readouterr().err
        assert error.startswith(f"dreamif: {path} holds messages of ROS 1, which ROS 2 cannot read")
        assert "`rosbags-convert --src FILE.bag --dst FOLDER`" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize("is_folder", [False, True])
    def test_a_bag_file(self, tmp_path, capfd, is_folder):
        path = tmp_path / "my drive.bag"
        path.write_bytes(b"#ROSBAG V2.0\n")
        assert main(["bag", "info", str(tmp_path if is_folder else path)]) == 1
        error = capfd.readouterr().err
        assert "is a recording of ROS 1" in error
        command = shlex.split(error.partition("`")[2].partition("`")[0])
        assert command == [
            "rosbags-convert",
            "--src",
            str(path),
            "--dst",
            str(tmp_path / "my drive"),
        ]


def change(file, script):
    """Change a database whose columns take values of any type."""
    connection = sqlite3.connect(file)
    connection.executescript(script)
    connection.commit()
    connection.close()


LOOSE = """
CREATE TABLE t2(id INTEGER PRIMARY KEY, name, type, serialization_format, offered_qos_profiles);
INSERT INTO t2 SELECT id, name, type, serialization_format, offered_qos_profiles FROM topics;
DROP TABLE topics; ALTER TABLE t2 RENAME TO topics;
CREATE TABLE m2(id INTEGER PRIMARY KEY, topic_id, timestamp, data);
INSERT INTO m2 SELECT * FROM messages; DROP TABLE messages; ALTER TABLE m2 RENAME TO messages;
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


class TestNonsense:
    """Databases whose tables are not what they seem, and data that cost more than they say."""

    @pytest.fixture
    def file(self, tmp_path):
        messages = texts(10, 20, 30) + texts(15, 25, topic="/b")
        (file,) = write_bag(tmp_path / "bag", messages, SQLITE).glob("*.db3")
        change(file, LOOSE)
        return file

    @pytest.mark.parametrize(
        ("script", "left", "fault"),
        [
            ("UPDATE messages SET timestamp = 'soon' WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET timestamp = x'ff' WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET timestamp = -5 WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET timestamp = 1.5 WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET data = 'hello' WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET data = NULL WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE messages SET topic_id = 'x' WHERE id = 1", [15, 20, 25, 30], "damaged"),
            ("UPDATE topics SET name = x'ff00' WHERE id = 2", [10, 20, 30], "is no text"),
            ("UPDATE topics SET name = 7 WHERE id = 2", [10, 20, 30], "is no text"),
            ("UPDATE topics SET type = NULL WHERE id = 2", [10, 20, 30], "is no text"),
            ("UPDATE topics SET id = 99 WHERE id = 2", [10, 20, 30], "damaged"),
        ],
    )
    def test_what_is_good_is_read(self, file, script, left, fault):
        change(file, script)
        messages, faults = read(file)
        assert [m.timestamp_ns for m in messages] == left
        assert fault in faults[0]

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            (
                f"DROP TABLE messages; CREATE VIEW messages AS {ENDLESS} SELECT i AS id, "
                "1 AS topic_id, i AS timestamp, x'00' AS data FROM n",
                "no such table as messages",
            ),
            (
                f"DROP TABLE topics; CREATE VIEW topics AS {ENDLESS} SELECT i AS id, "
                "'/a' || i AS name, 'x' AS type, 'cdr' AS serialization_format FROM n",
                "no such table as topics",
            ),
            (
                "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, "
                "timestamp, data AS (zeroblob(900000000)) VIRTUAL); "
                "INSERT INTO messages(topic_id, timestamp) VALUES (1, 5)",
                "no plain values",
            ),
            ("DROP TABLE messages; CREATE TABLE messages(id)", "has no data and no timestamp"),
            ("UPDATE messages SET timestamp = 'soon'", "holds no messages"),
        ],
    )
    def test_what_is_no_table_is_refused(self, file, script, reason):
        change(file, script)
        with pytest.raises(BagError, match=reason) as refusal:
            Recording(file)
        assert "\n" not in str(refusal.value)

    def test_names_cannot_write_to_the_terminal(self, tmp_path, capfd):
        hostile = "/a\x1b]0;owned\x07\nfault: none\u202e" + "x" * 5000
        message = STORE.deserialize_cdr(
            bytes(image(SMALL.visible(0), 1)[1]), "sensor_msgs/msg/Image"
        )
        message.encoding = message.header.frame_id = "\x1b[2J\nx"
        kind = "sensor_msgs/msg/Image"
        data = STORE.serialize_cdr(message, kind)
        bag = write_bag(tmp_path / "bag", [(topic, 1, kind, data) for topic in (hostile, "/b")])
        for arguments in (["info"], ["evaluate", "--out", str(tmp_path / "out")]):
            main(["bag", *arguments[:1], str(bag), *arguments[1:]])
            captured = capfd.readouterr()
            shown = captured.out + captured.err
            assert not set(shown) & {"\x1b", "\x07", "\u202e"}
            assert "\nfault: none" not in shown
            assert max(map(len, shown.splitlines())) < 1000

    def test_bombs_are_damage(self, tmp_path):
        bomb = zstd.compress(bytes(MAX_BYTES + 1))
        assert len(bomb) < 100_000
        assert unpack("zstd", bomb) == b""
        file = tmp_path / "x.mcap.zstd"
        file.write_bytes(b"".join(zstd.compress(bytes(ROOM_BYTES // 8)) for _ in range(10)))
        with pytest.raises(BagError, match="unpacks to endless data"):
            Recording(file)


def test_printable():
    assert printable("/a/é 1") == "/a/é 1"
    assert printable("a\x1b[0m\n") == r"a\x1b[0m\n"
    assert len(printable("\x1b" * 10_000)) <= 201


def test_random_bytes_are_one_line(tmp_path):
    rng = np.random.default_rng(1)
    for name, magic in (("x.mcap", b"\x89MCAP0\r\n"), ("x.db3", b"SQLite format 3\0")):
        for size in (0, 10, 200, 5000):
            (tmp_path / name).write_bytes(magic + rng.bytes(size))
            with pytest.raises(BagError) as refusal:
                Recording(tmp_path / name)
            assert "\n" not in str(refusal.value)


def test_chunks_that_lie_of_their_size_cost_no_memory(tmp_path):
    """Ten chunks of 100 kB that become 100 MB each, and say that they are empty."""
    packed = zstd.compress(bytes(100 << 20))
    head = struct.pack("<QQQI", 1, 2, 0, 0) + struct.pack("<I", 4) + b"zstd"
    content = head + struct.pack("<Q", len(packed)) + packed
    chunk = struct.pack("<BQ", 6, len(content)) + content
    (tmp_path / "x.mcap").write_bytes(b"\x89MCAP0\r\n" + 10 * chunk)
    tracemalloc.start()
    try:
        with pytest.raises(BagError, match=r"holds no messages: x\.mcap .* damaged blocks"):
            Recording(tmp_path / "x.mcap")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
