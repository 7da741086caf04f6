"""Bags in trouble: what can be read is evaluated, what is wrong is named, nothing is raised."""

import struct
import tracemalloc

import numpy as np
import pytest
from helpers.bag_files import (
    COMPRESSED_IMAGE,
    IMAGE,
    START_NS,
    STORE,
    TOPICS,
    Street,
    compressed,
    image,
    street_messages,
    write_bag,
)
from helpers.street_bags import SMALL, cut, evaluated, storage_file, street_bag, warned

from dreamif_model import FusionPipeline
from dreamif_ros.bag import read_pairs
from dreamif_ros.bag.recorded_pairs import PairingOptions
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli import main
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag
from dreamif_ros.evaluation.evaluation_results import Spell
from dreamif_ros.evaluation.report.words import why_no_pairs

# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


class TestMessages:
    def messages(self, count=10, rate_hz=10.0):
        """(topic, recorded in ns, pixels) of both cameras."""
        for index in range(count):
            time_s = index / rate_hz
            time_ns = START_NS + round(time_s * 1e9)
            yield TOPICS[0], time_ns, SMALL.infrared(time_s)
            yield TOPICS[1], time_ns, SMALL.visible(time_s)

    def test_zero_stamps_fall_back_to_the_time_of_recording(self, tmp_path):
        bag = write_bag(tmp_path / "bag", ((t, n, *image(p, 0)) for t, n, p in self.messages()))
        found = evaluated(bag, tmp_path)
        assert found.fused == 10
        assert found.infrared.unstamped == found.visible.unstamped == 10
        assert [row.stamp_ns for row in found.rows] == [0] * 10
        assert "10 of 10 thermal messages have no stamp: the time of recording" in warned(
            found, "thermal messages have no stamp"
        )
        assert next(read_pairs(bag)).stamp_ns == START_NS

    def test_unordered_stamps(self, tmp_path):
        """Every second message of infrared is stamped 0.15 s early."""
        messages = (
            (t, n, *image(p, n - (150_000_000 if t == TOPICS[0] and n // 10**8 % 2 else 0)))
            for t, n, p in self.messages(40)
        )
        bag = write_bag(tmp_path / "bag", messages)
        found = evaluated(bag, tmp_path)
        assert found.infrared.disordered == 20
        assert found.visible.disordered == 0
        assert warned(found, "stamped before").startswith("20 thermal messages")
        counts = found.infrared.messages + found.visible.messages
        assert 2 * found.pairs + sum(found.drops.values()) == counts == 80

    def test_a_clock_that_is_set_back(self, tmp_path):
        back_ns = 20_000_000_000
        messages = [
            (t, n + (back_ns if first else 1_000_000_000), *image(p, n + (back_ns if first else 0)))
            for first in (True, False)
            for t, n, p in self.messages()
        ]
        messages.sort(key=lambda message: message[1])
        bag = write_bag(tmp_path / "bag", messages)
        found = evaluated(bag, tmp_path)
        assert found.fused == 20

    def test_stamps_that_jump_are_told_and_all_else_too(self, tmp_path):
        """Both cameras' clock is set by years after 3 of 5 s; the recorder's is not."""
        late_ns = 1_700_000_000 * 10**9
        messages = (
            (t, n, *image(p, n + late_ns * (n >= START_NS + 3 * 10**9)))
            for t, n, p in self.messages(50)
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path, check=True)
        assert found.fused == 50
        assert found.clock_offset.seconds is None
        assert "jump by up to 1700000000 s" in found.clock_offset.reason
        assert found.alignment.score_before is not None
        assert found.visible.jumps == (Spell(3.0, 1.7e9),)
        assert warned(found, "thermal stamps jump").startswith(
            "the thermal stamps jump by +1700000000.0 s at t = 3.0 s while the recording goes on"
        )

    @pytest.mark.parametrize("suffix", ["", "/compressed"])
    def test_compressed_images(self, suffix, tmp_path):
        """16-bit PNG keeps every count; the topic may be named without its suffix."""
        messages = (
            (f"{t}/compressed", n, *compressed(p, n, "png" if p.ndim == 2 else "jpg"))
            for t, n, p in self.messages()
        )
        bag = write_bag(tmp_path / "bag", messages)
        found = evaluated(bag, tmp_path, infrared=f"{TOPICS[0]}{suffix}")
        assert found.fused == 10
        assert found.infrared.topic == f"{TOPICS[0]}/compressed"
        assert found.infrared.encodings == ("mono16; png compressed ",)
        assert found.infrared.size == (48, 36)
        pair = next(read_pairs(bag))
        np.testing.assert_array_equal(pair.infrared, SMALL.infrared(0))
        assert pair.infrared.dtype == np.uint16
        assert evaluated(bag, tmp_path).rows == found.rows  # ours, without naming them

    def test_a_topic_with_two_types(self, tmp_path):
        messages = [(t, n, *image(p, n)) for t, n, p in self.messages()]
        pictures = [(t, n, *compressed(p, n)) for t, n, p in self.messages() if p.ndim == 2]
        bag = write_bag(tmp_path / "bag", sorted(messages + pictures, key=lambda m: m[1]))
        found = evaluated(bag, tmp_path)
        assert (found.fused, found.infrared.messages) == (10, 10)
        (fault,) = found.faults
        assert fault == (
            f"{TOPICS[0]} has messages of two types ({COMPRESSED_IMAGE}, {IMAGE}): only those of "
            f"{IMAGE} were read"
        )

    def test_images_that_cannot_be_fused_are_counted_with_the_reason(self, tmp_path):
        def spoiled():
            for number, (topic, time_ns, pixels) in enumerate(self.messages(10)):
                kind, data = image(pixels, time_ns)
                if number == 4:  # infrared: cut off within its header
                    data = bytes(data)[:20]
                elif number == 9:  # visible, in °C
                    kind, data = image(SMALL.infrared(0).astype(np.float32), time_ns)
                elif number == 12:  # infrared: not enough pixels for its size
                    message = STORE.deserialize_cdr(bytes(data), kind)
                    message.height = 4000
                    data = STORE.serialize_cdr(message, kind)
                yield topic, time_ns, kind, data

        bag = write_bag(tmp_path / "bag", spoiled())
        found = evaluated(bag, tmp_path, check=True)
        assert found.infrared.refused == 2
        assert "the message is damaged" in found.infrared.refusal
        assert found.visible.refused == 1
        assert "expected 8 or 16 bit" in found.visible.refusal
        assert found.fused == 7
        assert found.drops == {"no partner": 1, "refused": 2}
        assert warned(found, "visible messages are no image").startswith("1 of 10")

    def test_damaged_messages_are_some_of_those_recorded(self, tmp_path):
        """Every third infrared message is cut off, the others are fused."""
        messages = (
            (t, n, kind, bytes(data)[: 20 if t == TOPICS[0] and n // 10**8 % 3 == 0 else None])
            for t, n, p in self.messages(15)
            for kind, data in [image(p, n)]
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path)
        camera = found.infrared
        assert (camera.messages, camera.damaged, camera.refused, camera.recorded) == (10, 5, 5, 15)
        assert found.fused == 10
        assert warned(found, "are no image").startswith("5 of 15 thermal messages are no image")
        assert why_no_pairs(found)[0].startswith("Both cameras have images")

    def test_nothing_can_be_fused(self, tmp_path):
        celsius = SMALL.infrared(0).astype(np.float32)
        messages = ((t, n, *image(celsius, n)) for t, n, _ in self.messages())
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path, check=True)
        assert (found.fused, found.drops) == (0, {"refused": 10})
        assert found.warnings[0].startswith("nothing was fused: all 10 pairs were refused")
        assert (found.metrics, found.flicker, found.skew_ms, found.film) == ({}, {}, {}, ())

    def test_stamps_that_never_meet(self, tmp_path):
        messages = (
            (t, n, *image(p, n + (t == TOPICS[0]) * 5_000_000_000)) for t, n, p in self.messages()
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path, check=True)
        assert found.fused == 0
        assert "set sync.infrared_offset_s" in found.warnings[0]
        assert found.clock_offset.seconds is None
        assert found.clock_offset.reason

    def test_one_camera_only(self, tmp_path):
        messages = ((t, n, *image(p, n)) for t, n, p in self.messages() if t == TOPICS[1])
        bag = write_bag(tmp_path / "bag", messages)
        with pytest.raises(BagError, match=r"two cameras are needed: .*: /visible/image_raw \("):
            evaluated(bag, tmp_path)

    def test_a_camera_that_stops_halfway(self, tmp_path):
        messages = (
            (t, n, *image(p, n))
            for t, n, p in self.messages(60)
            if t == TOPICS[1] or n < START_NS + 3_000_000_000
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path)
        assert (found.fused, found.infrared.messages) == (30, 30)
        assert found.infrared.last_s == pytest.approx(2.9)
        assert warned(found, "stops at").startswith("the thermal camera stops at t = 2.9 s")
        assert found.rates["infrared"] == [10, 10, 10, 0, 0, 0]
        assert found.rates["fused"] == [10, 10, 10, 0, 0, 0]

    def test_periodic_freezes_are_told_as_such(self, tmp_path):
        """Every 3 s infrared repeats one picture for 0.6 s."""

        def messages():
            for topic, time_ns, pixels in self.messages(120):
                since = (time_ns - START_NS) / 1e9
                frozen = topic == TOPICS[0] and since % 3 <= 0.65 and since >= 3
                shown = SMALL.infrared(since - since % 3) if frozen else pixels
                yield topic, time_ns, *image(shown, time_ns)

        found = evaluated(write_bag(tmp_path / "bag", messages()), tmp_path)
        starts = [spell.start_s for spell in found.infrared.freezes]
        assert starts == pytest.approx([3, 6, 9])
        assert [s.duration_s for s in found.infrared.freezes] == pytest.approx([0.6] * 3)
        assert found.visible.freezes == ()
        assert warned(found, "freezes").startswith(
            "every 3.0 s the thermal camera freezes for 0.6 s"
        )

    def test_gaps(self, tmp_path):
        messages = (
            (t, n, *image(p, n))
            for t, n, p in self.messages(40)
            if t == TOPICS[0] or not 1_500_000_000 <= n - START_NS < 2_300_000_000
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path)
        (gap,) = found.visible.gaps
        assert (gap.start_s, gap.duration_s) == pytest.approx((1.4, 0.9))
        assert "is silent for 0.9 s at t = 1.4 s" in warned(found, "is silent")
        assert found.drops == {"no partner": 8}
        # None of the rarer camera's messages is lost.
        assert not [warning for warning in found.warnings if "in no pair" in warning]

    def test_messages_without_partners_are_told(self, tmp_path):
        """Every second infrared stamp is 60 ms off its visible one."""
        messages = (
            (t, n, *image(p, n + 60_000_000 * (t == TOPICS[0] and n // 10**8 % 4 == 0)))
            for t, n, p in self.messages(40, 5)
        )
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path)
        assert found.pairs == 20
        warning = warned(found, "in no pair")
        assert warning.startswith(f"50 % of the messages of {TOPICS[0]} are in no pair (38 no p")

    def test_sizes_encodings_and_gain_that_change(self, tmp_path):
        def messages():
            for topic, time_ns, pixels in self.messages(40):
                index = (time_ns - START_NS) // 100_000_000
                if topic == TOPICS[0]:
                    gray = ((pixels - 28000) / 16).astype(np.uint8) // 2 + 60 * (index // 4 % 2)
                    yield topic, time_ns, *image(gray.astype(np.uint8), time_ns)
                elif index < 20:
                    yield topic, time_ns, *image(pixels, time_ns)
                else:
                    small = np.ascontiguousarray(pixels[::2, ::2, 0])
                    yield topic, time_ns, *image(small, time_ns)

        found = evaluated(write_bag(tmp_path / "bag", messages()), tmp_path)
        assert found.fused == 40
        assert found.visible.sizes_changed == 1
        assert "change their size 1 times" in warned(found, "size")
        assert "(rgb8, mono8)" in warned(found, "encoding")
        assert "jumps 9 times" in warned(found, "gain pumps")


class TestCommand:
    """The whole command: one line, no traceback, the status that scripts look at."""

    OPTIONS = ("--variant", "average", "--device", "cpu", "--no-check", "--no-video")

    def run(self, bag, out):
        return main(["bag", "evaluate", str(bag), "--out", str(out), *self.OPTIONS])

    def test_a_bag_that_is_cut_off_has_a_report(self, tmp_path, capsys):
        bag = street_bag(tmp_path / "bag")
        cut(storage_file(bag), 0.5)
        assert self.run(bag, tmp_path / "out") == 0
        assert "\nfault: bag.mcap is cut off: its end is missing" in capsys.readouterr().out
        assert "is cut off" in (tmp_path / "out" / "report.html").read_text()

    def test_a_stop_before_the_first_image_is_a_wrong_call(self, tmp_path, capsys):
        """A message of 1970 comes first: the images follow 55 years later."""
        early = ("/text", 5, "std_msgs/msg/String", b"\0\1\0\0")
        late_ns = 1_750_000_000 * 10**9
        images = [(t, n + late_ns, *rest) for t, n, *rest in street_messages(1, street=SMALL)]
        bag = write_bag(tmp_path / "bag", [early, *images])
        out = tmp_path / "out"
        options = ["--out", str(out), *self.OPTIONS, "--stop", "60"]
        assert main(["bag", "evaluate", str(bag), *options]) == 2
        error = capsys.readouterr().err
        assert "stop is 60 s, but the first image was recorded at 1750000001.0 s" in error
        assert self.run(bag, out) == 0

    def test_nothing_fused_is_a_failure_with_a_report(self, tmp_path, capsys):
        messages = street_messages(1, street=SMALL, infrared_clock_s=5)
        assert self.run(write_bag(tmp_path / "bag", messages), tmp_path / "out") == 1
        printed = capsys.readouterr()
        assert "warning: nothing was fused: no two stamps lie within 0.05 s" in printed.out
        assert printed.err.count("\n") == 1
        assert (tmp_path / "out" / "report.html").is_file()

    def test_a_missing_camera_is_one_line(self, tmp_path, capsys):
        messages = (m for m in street_messages(1, street=SMALL) if m[0] == TOPICS[0])
        assert self.run(write_bag(tmp_path / "bag", messages), tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert error.startswith("dreamif: two cameras are needed")
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_images_too_small_for_a_metric_are_fused_without(tmp_path):
    found = evaluated(street_bag(tmp_path / "bag"), tmp_path, metric_frames=3)
    assert (found.fused, found.metrics) == (20, {})
    assert "needs 41×41 pixels" in warned(found, "no metrics")


class TestMemory:
    def test_it_does_not_grow_with_the_bag(self, tmp_path):
        """60 MB in a bag, a few in memory; 2 GB: benchmarks/bag_memory.py."""
        street = Street((384, 288))

        def messages():
            infrared, visible = street.infrared(0), street.visible(0)
            for index in range(110):
                time_ns = START_NS + index * 40_000_000
                infrared[0, 0] = visible[0, 0, 0] = index
                yield TOPICS[0], time_ns, *image(infrared, time_ns)
                yield TOPICS[1], time_ns, *image(visible, time_ns)

        bag = write_bag(tmp_path / "bag", messages())
        assert storage_file(bag).stat().st_size > 58e6
        cut(storage_file(bag), 0.98)
        pipeline = FusionPipeline("average", "cpu")
        settings = EvaluationSettings(check=False, metric_frames=0, film_frames=4)
        tracemalloc.start()
        try:
            found = evaluate_bag(bag, pipeline, settings, tmp_path, write_bag=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found.fused > 100
        assert peak < 25e6

    def test_a_length_of_garbage_allocates_nothing(self, tmp_path):
        bag = street_bag(tmp_path / "bag")
        data = bytearray(storage_file(bag).read_bytes())
        data[-8:] = b"\x05" + struct.pack("<Q", 1 << 60)[:7]
        head = 9 + struct.unpack("<Q", data[9:17])[0] + 8
        lying = bytes(data[:head]) + b"\x05" + struct.pack("<Q", 1 << 60) + bytes(data[head:])
        file = tmp_path / "x.mcap"
        file.write_bytes(lying)
        with pytest.raises(BagError, match=r"holds no messages: x\.mcap is damaged"):
            Recording(file)


def test_a_clock_since_boot_is_corrected_by_what_is_advised(tmp_path):
    """Infrared is stamped by wall time, visible by the device's time since boot."""
    messages = street_messages(2, street=SMALL, infrared_clock_s=1.75e9)
    bag = write_bag(tmp_path / "bag", messages)
    advice = warned(evaluated(bag, tmp_path), "the thermal clock is ahead by 1750000000.000 s")
    offset_s = float(advice.partition("sync.infrared_offset_s: ")[2].partition(",")[0])
    assert offset_s == -1.75e9
    assert evaluated(bag, tmp_path, pairing=PairingOptions(0.05, offset_s)).fused == 20


def test_offsets_reach_the_pairing(tmp_path):
    bag = write_bag(tmp_path / "bag", street_messages(1, street=SMALL, infrared_clock_s=2.0))
    found = evaluated(bag, tmp_path, pairing=PairingOptions(0.0, -2.5, -0.5))
    assert found.fused == 10
    assert {row.skew_ms for row in found.rows} == {0.0}
