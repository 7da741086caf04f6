"""`dreamif bag info`: what is told of a bag is so, and the advice fits what the node does."""

import json
import shlex
import shutil

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from dreamif_model.cameras import Both, Camera
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.image_sources import ImageSource, Shot
from dreamif_ros.bag.make import make_bag
from dreamif_ros.bag.recorded_pairs import PairingOptions, RecordedImage
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli import build_parser, main
from dreamif_ros.codec.message_builder import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, encoding_for
from dreamif_ros.evaluation import node_advice
from dreamif_ros.evaluation.bag_info import inspect_bag
from dreamif_ros.evaluation.node_advice import advise, commands
from dreamif_ros.evaluation.survey import pair_all
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS
from dreamif_ros.node.transport import input_topic

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
INFRARED = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
VISIBLE = np.zeros((48, 64, 3), np.uint8)


def image(stamp_ns, pixels, frame_id="optical", **changes):
    message = MESSAGES.image(pixels, encoding_for(pixels), MESSAGES.header(stamp_ns, frame_id))
    for name, value in changes.items():
        setattr(message, name, value)
    return IMAGE, bytes(MESSAGES.serialize(message))


def compressed(stamp_ns, pixels):
    message = MESSAGES.compressed(pixels, "png", MESSAGES.header(stamp_ns, "optical"))
    return COMPRESSED_IMAGE, bytes(MESSAGES.serialize(message))


def camera_info(stamp_ns):
    message = MESSAGES.camera_info(48, 64, MESSAGES.header(stamp_ns, "optical"))
    return CAMERA_INFO, bytes(MESSAGES.serialize(message))


def write(path, messages, plugin=StoragePlugin.MCAP, compression=None):
    """A bag of (topic, time recorded, (type, bytes))."""
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, time_ns, (kind, data) in sorted(messages, key=lambda message: message[1]):
            key = topic, kind
            if key not in connections:
                connections[key] = writer.add_connection(topic, kind, typestore=MESSAGES.store)
            writer.write(connections[key], time_ns, data)
    return path


def drive(infrared_stamp=0, visible_stamp=0, infrared_period=40, count=25, late=3):
    """Two cameras under names of their own: 25 Hz visible, recorded ``late`` ms after the stamp.

    infrared_stamp, visible_stamp: ms added to the stamps alone.
    """
    messages = []
    for index in range(count):
        for topic, period, off, pixels in (
            ("/thermal/image_raw", infrared_period, infrared_stamp, INFRARED),
            ("/camera/image_raw", 40, visible_stamp, VISIBLE),
        ):
            time_ns = START_NS + index * period * MS
            messages.append((topic, time_ns + late * MS, image(time_ns + off * MS, pixels)))
        messages.append(("/camera/camera_info", time_ns + late * MS, camera_info(time_ns)))
    return messages


def told(info):
    return "\n".join(advise(info))


def topic(info, name):
    (found,) = (topic for topic in info.topics if topic.name == name)
    return found


class TestFacts:
    @pytest.mark.parametrize(
        ("plugin", "compression", "expected"),
        [
            (StoragePlugin.MCAP, None, ("mcap", "none")),
            (StoragePlugin.MCAP, CompressionMode.STORAGE, ("mcap", "chunks by zstd")),
            (StoragePlugin.MCAP, CompressionMode.FILE, ("mcap", "files by zstd")),
            (StoragePlugin.SQLITE3, None, ("sqlite3", "none")),
            (StoragePlugin.SQLITE3, CompressionMode.MESSAGE, ("sqlite3", "messages by zstd")),
            (StoragePlugin.SQLITE3, CompressionMode.FILE, ("sqlite3", "files by zstd")),
        ],
    )
    def test_of_every_kind_of_bag(self, tmp_path, plugin, compression, expected):
        info = inspect_bag(write(tmp_path / "bag", drive(), plugin, compression))
        assert (info.storage, info.compression) == expected
        assert (info.messages, info.start_ns) == (75, START_NS + 3 * MS)
        assert info.duration_s == pytest.approx(0.96)
        thermal, camera = (topic(info, f"/{n}/image_raw") for n in ("thermal", "camera"))
        assert (thermal.messages, camera.type_name) == (25, IMAGE)
        assert thermal.rate_hz == pytest.approx(25)
        assert thermal.longest_gap_s == pytest.approx(0.04)
        assert (thermal.images.encodings, thermal.images.sizes) == (["mono16"], [(32, 24)])
        assert (camera.images.encodings, camera.images.sizes) == (["rgb8"], [(64, 48)])
        assert camera.images.first == "uint8 48 × 64 × 3"
        assert camera.images.frame_id == "optical"
        assert topic(info, "/camera/camera_info").images is None
        assert info.cameras.infrared is thermal
        assert info.cameras.visible is camera
        assert info.cameras.pairing.pairs == 25
        assert info.faults == ()

    def test_one_file_of_a_bag(self, tmp_path):
        bag = write(tmp_path / "bag", drive())
        info = inspect_bag(bag / "bag.mcap")
        assert (info.storage, info.messages) == ("mcap", 75)

    def test_pairs_and_skew_of_two_rates(self, tmp_path):
        """Infrared at 12.5 Hz and 7 ms late meets every second visible image."""
        info = inspect_bag(write(tmp_path / "bag", drive(infrared_stamp=7, infrared_period=80)))
        pairing = info.cameras.pairing
        assert topic(info, "/thermal/image_raw").rate_hz == pytest.approx(12.5)
        # The other infrared images come after the last visible one.
        assert pairing.pairs == 13
        waiting = pairing.unpaired.get("waiting at the end", 0)
        assert sum(pairing.unpaired.values()) == 50 - 2 * 13
        assert 0 < waiting <= 12
        values = pairing.skew_median_ms, pairing.distance_median_ms, pairing.distance_greatest_ms
        assert values == pytest.approx((7, 7, 7))

    def test_skew_statistics_are_those_of_numpy(self, rng):
        jitter = rng.integers(-15, 15, 40)
        arrivals = []
        for index, off in enumerate(jitter):
            time_ns = START_NS + index * 100 * MS
            arrivals.append(RecordedImage(Camera.VISIBLE, time_ns, time_ns, None))
            stamp_ns = time_ns + int(off) * MS
            arrivals.append(RecordedImage(Camera.INFRARED, time_ns + 50 * MS, stamp_ns, None))
        pairing = pair_all(arrivals, PairingOptions())
        paired = jitter[: pairing.pairs]
        assert pairing.pairs >= 38
        assert pairing.skew_median_ms == pytest.approx(np.median(paired))
        assert pairing.distance_p95_ms == pytest.approx(np.percentile(np.abs(paired), 95))
        assert pairing.distance_greatest_ms == np.abs(paired).max()

    def test_zero_and_disordered_stamps_are_counted(self, tmp_path):
        messages = drive(late=0)
        times = [START_NS + index * 40 * MS for index in range(25)]
        stamps = [0 if index in (3, 4) else time for index, time in enumerate(times)]
        stamps[10], stamps[11] = stamps[11], stamps[10]
        messages = [m for m in messages if m[0] != "/thermal/image_raw"]
        messages += [
            ("/thermal/image_raw", time, image(stamp, INFRARED))
            for time, stamp in zip(times, stamps, strict=True)
        ]
        info = inspect_bag(write(tmp_path / "bag", messages))
        thermal = info.cameras.infrared
        assert (thermal.images.unstamped, thermal.images.disordered) == (2, 1)
        assert "2 of 25 thermal messages have no stamp" in told(info)
        assert "1 thermal messages are stamped before the one that came before" in told(info)
        assert info.cameras.pairing.pairs >= 23  # those without stamps too

    def test_damaged_messages_are_counted(self, tmp_path):
        messages = drive(count=5)
        kind, data = image(START_NS, INFRARED)
        messages.append(("/thermal/image_raw", START_NS + 500 * MS, (kind, data[:30])))
        info = inspect_bag(write(tmp_path / "bag", messages))
        assert info.cameras.infrared.images.damaged == 1
        assert (
            "1 of 6 thermal messages are no image that can be fused: the message is damaged"
            in told(info)
        )
        assert info.cameras.pairing.pairs == 5

    def test_gaps(self, tmp_path):
        messages = [m for m in drive(count=60) if m[0][:4] != "/the" or not 20 <= index(m) < 40]
        info = inspect_bag(write(tmp_path / "bag", messages))
        thermal = info.cameras.infrared
        assert (thermal.gaps, info.cameras.visible.gaps) == (1, 0)
        assert thermal.longest_gap_s == pytest.approx(0.84)
        assert (
            "the thermal camera is silent for 0.8 s at t = 0.8 s: the node shows the other"
            in told(info)
        )

    def test_a_bag_of_bag_make(self, tmp_path):
        shots = Both(INFRARED, VISIBLE).map(
            lambda pixels: iter([Shot(index * 100 * MS, pixels) for index in range(8)])
        )
        make_bag(ImageSource(shots), tmp_path / "bag", infrared_offset_s=0.02)
        info = inspect_bag(tmp_path / "bag")
        # The last one waits: a nearer partner might still come.
        assert info.cameras.pairing.pairs >= 7
        assert info.cameras.pairing.skew_median_ms == pytest.approx(20)
        assert commands(info) == ["fusion_node", f"dreamif bag replay {tmp_path / 'bag'}"]


def index(message):
    return (message[1] - START_NS) // (40 * MS)


def test_defaults_are_the_nodes():
    node = {row.name: row.default for row in FUSION_PARAMETERS}
    options = PairingOptions()
    assert (options.slop_s, options.queue_size) == (node["sync.slop_s"], node["sync.queue_size"])
    assert node["max_megapixels"] == node_advice.MAX_MEGAPIXELS


class TestAdvice:
    def test_clocks_that_differ_are_measured_and_cured(self, tmp_path):
        info = inspect_bag(write(tmp_path / "bag", drive(infrared_stamp=-10_000)))
        assert info.cameras.pairing.pairs == 0
        assert info.cameras.clock_offset_s == pytest.approx(10)
        assert info.cameras.pairing_with_offset.pairs == 25
        words = "the thermal clock lags by 10.000 s, by when images were recorded: set "
        assert f"{words}sync.infrared_offset_s: 10.000, which gives 25 pairs" in told(info)
        assert "-p sync.infrared_offset_s:=10.000" in commands(info)[0]

    def test_a_constant_skew_is_told(self, tmp_path):
        bag = write(tmp_path / "bag", drive(infrared_stamp=12))
        assert "infrared is stamped 12.0 ms after visible" in told(inspect_bag(bag))
        bag = write(tmp_path / "synchronous", drive())
        assert "infrared is stamped" not in told(inspect_bag(bag))

    def test_few_pairs_are_told(self, tmp_path):
        messages = drive(infrared_stamp=10, infrared_period=400, late=0)
        text = told(inspect_bag(write(tmp_path / "bag", messages)))
        assert "88 % of the messages of /thermal/image_raw are in no pair" in text

    @pytest.mark.parametrize(
        ("pixels", "changes", "words"),
        [
            (INFRARED, {}, "infrared is mono16: 16-bit counts, shown by their 1st"),
            (INFRARED.astype(np.uint8), {}, "infrared is mono8: 8 bit, shown as it is"),
            (VISIBLE, {}, "infrared is rgb8: a colour palette"),
            (INFRARED, {"encoding": "odd16"}, "infrared is refused: encoding 'odd16' is unknown"),
            (INFRARED, {"step": 3}, "infrared is refused: mono16 image of 32×24 needs a step"),
            (np.zeros((24, 64), np.uint16), {"encoding": "32FC1", "width": 32}, "32FC1: °C"),
        ],
    )
    def test_what_the_decoder_does(self, tmp_path, pixels, changes, words):
        messages = [
            ("/thermal/image_raw", START_NS, image(START_NS, pixels, **changes)),
            ("/camera/image_raw", START_NS, image(START_NS, VISIBLE)),
        ]
        assert words in told(inspect_bag(write(tmp_path / "bag", messages)))

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((48, 64), "both are 64x48: pixel is laid on pixel"),
            ((24, 32), "infrared 32x24 is resized to 64x48, unless registration.file"),
            ((32, 32), "infrared 32x32 is resized to 64x48, which distorts it, unless"),
            ((3000, 3000), "/thermal/image_raw is refused: above max_megapixels (8.5)"),
        ],
    )
    def test_sizes(self, tmp_path, shape, words):
        messages = [
            ("/thermal/image_raw", START_NS, image(START_NS, np.zeros(shape, np.uint8))),
            ("/camera/image_raw", START_NS, image(START_NS, VISIBLE)),
        ]
        assert words in told(inspect_bag(write(tmp_path / "bag", messages)))

    def test_camera_info_that_is_missing(self, tmp_path):
        messages = [m for m in drive(count=2) if m[0] != "/camera/camera_info"]
        assert "no camera_info" in told(inspect_bag(write(tmp_path / "bag", messages)))
        assert "no camera_info" not in told(inspect_bag(write(tmp_path / "with", drive(count=2))))

    def test_without_two_cameras_nothing_can_be_fused(self, tmp_path):
        messages = [m for m in drive(count=2) if m[0] != "/thermal/image_raw"]
        info = inspect_bag(write(tmp_path / "bag", messages))
        assert info.cameras is None
        assert "nothing can be fused: two cameras are needed" in told(info)
        assert commands(info) == []


class TestCommands:
    """The command line that is printed makes a node listen to the bag's topics."""

    def listens_to(self, command, transport):
        words = shlex.split(command)
        assert words[0] == "fusion_node"
        context = rclpy.Context()
        rclpy.init(context=context, args=words[1:])
        node = Node("fusion_node", context=context, enable_rosout=False)
        try:
            names = [
                input_topic(node, f"{c}/image_raw", transport) for c in ("infrared", "visible")
            ]
            return [node.resolve_topic_name(name) for name in (*names, "visible/camera_info")]
        finally:
            node.destroy_node()
            context.try_shutdown()

    def test_raw(self, tmp_path):
        info = inspect_bag(write(tmp_path / "a bag", drive(count=2)))
        fusion, replay = commands(info)
        topics = ["/thermal/image_raw", "/camera/image_raw", "/camera/camera_info"]
        assert self.listens_to(fusion, "raw") == topics
        options = build_parser().parse_args(shlex.split(replay)[1:])
        assert options.bag == tmp_path / "a bag"

    def test_calibrate_is_given_the_topics(self, tmp_path):
        text = told(inspect_bag(write(tmp_path / "bag", drive(count=2))))
        command = text.partition("registration.file is set (")[2].partition(")")[0]
        options = build_parser().parse_args(shlex.split(command)[1:])
        assert options.bag == tmp_path / "bag"
        topics = options.ir_topic, options.vi_topic
        assert topics == ("/thermal/image_raw", "/camera/image_raw")

    @pytest.mark.parametrize("name", ["/thermal/image/compressed", "/thermal/jpeg"])
    def test_compressed(self, tmp_path, name):
        messages = [
            (name, START_NS, compressed(START_NS, INFRARED)),
            ("/camera/image_raw/compressed", START_NS, compressed(START_NS, VISIBLE)),
        ]
        info = inspect_bag(write(tmp_path / "bag", messages))
        assert info.cameras.infrared.images.sizes == [(32, 24)]
        (fusion, _) = commands(info)
        assert "image_transport:=compressed" in fusion
        topics = [name, "/camera/image_raw/compressed", "/visible/camera_info"]
        assert self.listens_to(fusion, "compressed") == topics

    def test_one_raw_and_one_compressed_cannot_be_subscribed(self, tmp_path):
        messages = [
            ("/thermal/image_raw", START_NS, image(START_NS, INFRARED)),
            ("/camera/image_raw/compressed", START_NS, compressed(START_NS, VISIBLE)),
        ]
        info = inspect_bag(write(tmp_path / "bag", messages))
        assert commands(info) == []
        assert "/camera/image_raw/compressed is compressed and /thermal/image_raw is not" in told(
            info
        )


class TestCommandLine:
    def test_text_and_json(self, tmp_path, capfd):
        bag = write(tmp_path / "bag", drive())
        assert main(["bag", "info", str(bag), "--json", str(tmp_path / "info.json")]) == 0
        captured = capfd.readouterr()
        assert captured.err == ""
        for words in (
            "mcap, compressed: none, 0.3 MB, 75 messages in 0.96 s from 2023-11-14 22:13:20 UTC",
            "infrared: /thermal/image_raw; visible: /camera/image_raw",
            "pairs: 25 of 25 infrared and 25 visible images; skew median +0.0 ms",
            "unpaired messages: none",
            f"    dreamif bag replay {bag}\n",
        ):
            assert words in captured.out
        report = json.loads((tmp_path / "info.json").read_text())
        info = inspect_bag(bag)
        assert report["cameras"]["pairing"]["pairs"] == 25
        assert report["advice"] == advise(info)
        assert report["commands"] == commands(info)
        assert [t["name"] for t in report["topics"]] == [t.name for t in info.topics]

    def test_topics_can_be_named(self, tmp_path, capfd):
        bag = str(write(tmp_path / "bag", drive(count=3)))
        swapped = ["--ir", "/camera/image_raw", "--vi", "/thermal/image_raw"]
        assert main(["bag", "info", bag, *swapped]) == 0
        out = capfd.readouterr().out
        assert "infrared: /camera/image_raw; visible: /thermal/image_raw" in out
        assert "visible is mono16: gray, and so fused" in out
        assert main(["bag", "info", bag, "--ir", "/absent"]) == 1
        error = capfd.readouterr().err
        assert "there are no images on /absent" in error
        assert error.count("\n") == 1

    def test_what_is_left_of_a_cut_bag_is_told(self, tmp_path, capfd):
        bag = write(tmp_path / "bag", drive())
        file = bag / "bag.mcap"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert main(["bag", "info", str(bag)]) == 0
        out = capfd.readouterr().out
        assert "fault: bag.mcap is cut off" in out
        pairs = int(out.partition("pairs: ")[2].partition(" ")[0])
        assert 8 <= pairs <= 13

    @pytest.mark.parametrize("where", [50, 300, 600])
    def test_damaged_blocks_are_one_line(self, tmp_path, where):
        """The index is whole: the damage shows, or messages are missing, only while reading."""
        bag = write(tmp_path / "bag", drive(), compression=CompressionMode.STORAGE)
        file = bag / "bag.mcap"
        content = bytearray(file.read_bytes())
        start = content.index(b"zstd") + where
        content[start : start + 64] = bytes(64)
        file.write_bytes(content)
        with pytest.raises(BagError, match="damaged") as refusal:
            inspect_bag(bag)
        assert "\n" not in str(refusal.value)

    def test_damage_in_the_middle_of_a_database_leaves_the_rest(self, tmp_path):
        bag = write(tmp_path / "bag", drive(), StoragePlugin.SQLITE3)
        file = bag / "bag.db3"
        content = bytearray(file.read_bytes())
        half = len(content) // 2
        content[half : half + 20_000] = bytes(20_000)
        file.write_bytes(content)
        info = inspect_bag(bag)
        assert info.faults
        assert 10 <= info.messages < 75

    @pytest.mark.parametrize("name", ["absent", "folder", "text.txt", "text.mcap", "text.db3"])
    def test_what_is_no_bag_is_one_line(self, tmp_path, capfd, name):
        (tmp_path / "folder").mkdir()
        if name.startswith("text"):
            (tmp_path / name).write_text("hello")
        assert main(["bag", "info", str(tmp_path / name)]) == 1
        captured = capfd.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.out == ""

    def test_a_json_file_without_a_folder_is_a_wrong_call(self, tmp_path, capfd):
        bag = write(tmp_path / "bag", drive(count=1))
        assert main(["bag", "info", str(bag), "--json", str(tmp_path / "no" / "x.json")]) == 2
        assert "make its folder first" in capfd.readouterr().err

    def test_a_real_folder_of_files(self, tmp_path):
        """A bag that was moved, with its parts still there."""
        bag = write(tmp_path / "bag", drive(count=4))
        shutil.move(bag, tmp_path / "elsewhere")
        assert inspect_bag(tmp_path / "elsewhere").messages == 12
