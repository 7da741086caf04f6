"""Damaged bags: what can be read is evaluated, what is wrong is named, nothing is raised."""

import shutil
import struct
from contextlib import suppress

import numpy as np
import pytest
from helpers.bag_files import Street, street_messages, write_bag
from helpers.street_bags import (
    COMPRESSIONS,
    MCAP,
    SMALL,
    SQLITE,
    cut,
    evaluated,
    one_fault,
    storage_file,
    street_bag,
)

from dreamif_ros.bag.storage import BagError

# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


def without_index(file):
    """An MCAP file without its summary, otherwise whole."""
    data = file.read_bytes()
    (summary,) = struct.unpack("<Q", data[-28:-20])
    file.write_bytes(data[:summary] + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + data[-8:])


class TestDamagedFiles:
    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_whole_bags_of_every_kind_give_the_same_rows(self, how, tmp_path):
        bag = street_bag(tmp_path / "bag", how)
        found = evaluated(bag, tmp_path)
        assert found.faults == ()
        assert found.rows == evaluated(street_bag(tmp_path / "plain"), tmp_path).rows
        (bag / "metadata.yaml").unlink()
        salvaged = evaluated(bag, tmp_path)
        assert salvaged.rows == found.rows
        (fault,) = salvaged.faults
        assert fault.startswith("metadata.yaml is missing")

    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_a_bag_that_is_cut_off_is_read_up_to_there(self, how, tmp_path):
        street = Street((192, 144))  # several chunks
        bag = street_bag(tmp_path / "bag", how, street, seconds=4)
        whole = evaluated(bag, tmp_path).rows
        cut(storage_file(bag), 0.6)
        found = evaluated(bag, tmp_path)
        assert 8 < found.fused < 32
        assert found.rows == whole[: found.fused]
        one_fault(found, "is cut off")
        one_fault(evaluated(storage_file(bag), tmp_path), "is cut off")

    def test_mcap_without_an_index(self, tmp_path):
        bag = street_bag(tmp_path / "bag")
        whole = evaluated(bag, tmp_path).rows
        without_index(storage_file(bag))
        found = evaluated(bag, tmp_path)
        assert found.rows == whole
        one_fault(found, "has no index")

    def test_mcap_without_an_index_nor_order(self, tmp_path):
        messages = list(street_messages(2, street=SMALL))
        messages[10], messages[12] = messages[12], messages[10]
        bag = write_bag(tmp_path / "bag", messages)
        without_index(storage_file(bag))
        found = evaluated(bag, tmp_path)
        assert found.rows == evaluated(street_bag(tmp_path / "plain"), tmp_path).rows
        assert found.faults == ("bag.mcap has no index: it was read from beginning to end",)

    @pytest.mark.parametrize("how", ["mcap, chunks", "sqlite"])
    def test_damage_in_the_middle_is_left_out(self, how, tmp_path):
        bag = street_bag(tmp_path / "bag", how, Street((192, 144)), seconds=4)
        whole = evaluated(bag, tmp_path).rows
        file = storage_file(bag)
        data = bytearray(file.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 40_000] = b"\x77" * 40_000
        file.write_bytes(data)
        found = evaluated(bag, tmp_path)
        assert 20 < found.fused < 40
        stamps = {row.stamp_ns for row in whole}
        assert {row.stamp_ns for row in found.rows} < stamps
        assert found.rows[-1].stamp_ns == whole[-1].stamp_ns
        one_fault(found, "damaged")

    @pytest.mark.parametrize("plugin", [MCAP, SQLITE])
    def test_damage_anywhere_is_named_or_refused(self, plugin, tmp_path):
        bag = write_bag(tmp_path / "bag", street_messages(1, street=SMALL), plugin)
        file = storage_file(bag)
        good = file.read_bytes()
        rng = np.random.default_rng(5)
        for number in range(25):
            damaged = bytearray(good)
            start = int(rng.integers(len(good)))
            damaged[start : start + 64] = rng.bytes(64)
            file.write_bytes(damaged if number % 2 else damaged[:start])
            with suppress(BagError):
                assert evaluated(bag, tmp_path).fused <= 10

    def test_an_index_that_counts_the_messages_of_a_damaged_chunk(self, tmp_path):
        """Found by `make fuzz`."""
        file = storage_file(street_bag(tmp_path / "bag", "mcap, chunks"))
        length, name = b"\x04\0\0\0", b"zstd"  # of the compression, in the head of the chunk
        damaged = file.read_bytes().replace(length + name, b"\xff" * 4 + name, 1)
        file.write_bytes(damaged)
        with pytest.raises(BagError, match=r"holds no messages: .* has damaged records"):
            evaluated(file, tmp_path)

    @pytest.mark.parametrize("text", ["", "x", "{", "rosbag2_bagfile_information: {version: 8}"])
    def test_broken_metadata(self, text, tmp_path):
        bag = street_bag(tmp_path / "bag")
        (bag / "metadata.yaml").write_text(text)
        found = evaluated(bag, tmp_path)
        assert found.fused == 20
        (fault,) = found.faults
        assert fault.startswith("metadata.yaml ")
        assert fault.count("metadata.yaml") <= 2
        assert str(tmp_path) not in fault

    def test_the_parts_of_a_split_bag_are_read_in_order(self, tmp_path):
        messages = list(street_messages(2.2, street=SMALL))
        bag = tmp_path / "bag"
        bag.mkdir()
        for part in range(11):  # bag_10 comes after bag_9
            name = f"bag_{part}"
            write_bag(tmp_path / name, messages[4 * part : 4 * part + 4])
            shutil.move(tmp_path / name / f"{name}.mcap", bag)
        found = evaluated(bag, tmp_path)
        assert [row.index for row in found.rows] == list(range(22))
        assert found.infrared.disordered == 0
        cut(bag / "bag_4.mcap", 0.5)
        (bag / "bag_7.mcap").write_bytes(b"no bag")
        found = evaluated(bag, tmp_path)
        one_fault(found, "bag_4.mcap is cut off")
        one_fault(found, "bag_7.mcap is no MCAP file")
        assert found.fused == 22 - 1 - 2

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("x.txt", b"", "is no bag"),
            ("x.mcap", b"", "is no MCAP file: it is empty"),
            ("x.mcap", b"\x89MCAP0\r\n", "holds no messages"),
            ("x.db3", b"SQLite format 3\0", "cannot read the bag"),
            ("x.db3", b"", "no such table"),
            ("x.mcap.zstd", b"\x28\xb5\x2f\xfd", "is no MCAP file"),
        ],
    )
    def test_what_is_no_bag_is_refused_in_one_line(self, name, content, reason, tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BagError, match=reason) as refusal:
            evaluated(tmp_path / name, tmp_path)
        assert "\n" not in str(refusal.value)

    def test_a_missing_bag_and_an_empty_folder(self, tmp_path):
        with pytest.raises(BagError, match="no such bag"):
            evaluated(tmp_path / "nothing", tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(BagError, match=r"no \.mcap or \.db3 file"):
            evaluated(tmp_path / "empty", tmp_path)
        bag = write_bag(tmp_path / "bag", [])
        with pytest.raises(BagError, match="holds no messages"):
            evaluated(bag, tmp_path)
