"""`dreamif bag evaluate`: its numbers are the pipeline's and the metrics', run after run."""

import argparse
import csv
import json
import sys

import cv2
import numpy as np
import pytest
import yaml
from helpers.bag_files import (
    START_NS,
    STORE,
    TOPICS,
    Street,
    header,
    image,
    street_messages,
    write_bag,
)
from helpers.videos import camera, scene
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin

from dreamif_model import DreamIFError, FusionPipeline
from dreamif_model.comparison import BASELINES
from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.metrics import evaluate
from dreamif_model.metrics.flicker import flicker
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics
from dreamif_model.registration.warp import Calibration
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_ros.bag import read_pairs
from dreamif_ros.bag.recorded_pairs import PairingOptions
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli.bag_evaluate import add_evaluate
from dreamif_ros.codec.decode import decode_infrared, decode_visible
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag
from dreamif_ros.evaluation.result_files import row_values
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS

# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

INFO = "sensor_msgs/msg/CameraInfo"
LUMA = np.array((0.299, 0.587, 0.114), np.float32)
QUICK = ("--variant", "average", "--device", "cpu", "--no-check", "--metric-frames", "2")


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, arguments)])
    return options.run(options)


def evaluated(bag, tmp_path, write_bag=False, write_video=False, workers=1, **settings):
    """With the average variant, no check unless it is asked for."""
    values = {"check": False, "metric_frames": 0, "film_frames": 0} | settings
    return evaluate_bag(
        bag,
        FusionPipeline("average", "cpu"),
        EvaluationSettings(**values),
        tmp_path,
        write_bag=write_bag,
        write_video=write_video,
        workers=workers,
    )


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Two seconds at 10 Hz."""
    return write_bag(tmp_path_factory.mktemp("bags") / "street", street_messages())


def test_any_number_of_workers_gives_the_same(bag, tmp_path):
    one, many = (
        evaluated(bag, tmp_path, workers=workers, metric_frames=9, film_frames=5)
        for workers in (1, 4)
    )
    assert sum(bool(row.metrics) for row in one.rows) == 9
    assert len(one.film) == 5
    for name in ("rows", "film", "metrics", "flicker"):
        assert getattr(many, name) == getattr(one, name)


def camera_info(stamp_ns, size, focal=100.0):
    types = STORE.types
    roi = types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    matrix = np.array([focal, 0, (size[0] - 1) / 2, 0, focal, (size[1] - 1) / 2, 0, 0, 1])
    message = types[INFO](
        header=header(stamp_ns), height=size[1], width=size[0], distortion_model="plumb_bob",
        d=np.zeros(5), k=matrix, r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=roi,
    )  # fmt: skip
    return INFO, STORE.serialize_cdr(message, INFO)


def read_bag(path):
    """By topic: (time in ns, message)."""
    with AnyReader([path], default_typestore=STORE) as reader:
        found = {}
        for connection, time_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


class TestCommand:
    def test_the_same_bag_gives_the_same_bytes(self, bag, tmp_path, nano_weights):
        options = ["--device", "cpu", "--weights", nano_weights, "--metric-frames", "3"]
        for out in ("one", "two"):
            assert run(bag, "--out", tmp_path / out, *options) == 0
        for name in ("metrics.json", "frames.csv"):
            first = (tmp_path / "one" / name).read_bytes()
            assert first == (tmp_path / "two" / name).read_bytes()
            assert str(tmp_path).encode() not in first
        with (tmp_path / "one" / "frames.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 20
        assert [int(row["stamp_ns"]) for row in rows[:2]] == [START_NS, START_NS + 100_000_000]
        assert [bool(row["fused_Qabf"]) for row in rows].count(True) == 3

    def test_without_the_extra_nothing_is_evaluated_in_vain(self, bag, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "plotly.offline", None)
        work = "dreamif_ros.evaluation.evaluation_job.evaluate_bag"
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("too late"))
        with pytest.raises(DreamIFError, match="the report needs plotly and jinja2: pip install"):
            run(bag, "--out", tmp_path / "out", *QUICK)
        assert not (tmp_path / "out").exists()

    def test_files_and_what_is_printed(self, bag, tmp_path, capsys):
        out, copy = tmp_path / "out", tmp_path / "copy.json"
        assert run(bag, "--out", out, "--write-bag", "--json", copy, *QUICK) == 0
        names = {path.name for path in out.iterdir()}
        assert names == {
            "report.html", "metrics.json", "frames.csv", "timings.json", "fused.mkv", "fused_bag",
        }  # fmt: skip
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        metrics = json.loads((out / "metrics.json").read_text())
        assert json.loads(copy.read_text()) == metrics
        assert (metrics["bag"], metrics["pairs"], metrics["fused"]) == ("street", 20, 20)
        assert metrics["infrared"]["rate_hz"] == pytest.approx(10)
        assert metrics["settings"]["variant"] == "average"
        assert "latency_ms" not in metrics
        timings = json.loads((out / "timings.json").read_text())
        assert set(timings["latency_ms"]) == {"decode", "normalize", "warp", "infer", "in all"}
        printed = capsys.readouterr().out
        assert "20 on /infrared/image_raw, 20 on /visible/image_raw; 20 pairs fused" in printed
        assert f"report in {out / 'report.html'}" in printed
        video = cv2.VideoCapture(str(out / "fused.mkv"))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
        frames = 0
        while video.read()[0]:
            frames += 1
        assert frames == 20

    def test_what_is_there_is_not_overwritten(self, bag, tmp_path):
        out = tmp_path / "out"
        assert run(bag, "--out", out, "--no-video", *QUICK) == 0
        before = (out / "metrics.json").read_bytes()
        with pytest.raises(BagError, match="--force replaces it"):
            run(bag, "--out", out, *QUICK)
        assert run(bag, "--out", out, "--force", "--every", 2, "--no-video", *QUICK) == 0
        assert (out / "metrics.json").read_bytes() != before
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("keep me")
        with pytest.raises(BagError, match="is no evaluation"):
            run(bag, "--out", tmp_path / "mine", "--force", *QUICK)

    def test_a_failure_leaves_nothing(self, bag, tmp_path):
        with pytest.raises(BagError, match="/odd"):
            run(bag, "--out", tmp_path / "out", "--ir", "/odd", *QUICK)
        assert list(tmp_path.iterdir()) == []

    def test_a_wrong_detector_is_refused_before_the_bag_is_read(self, bag, tmp_path, monkeypatch):
        survey = "dreamif_ros.evaluation.evaluate_bag.CamerasSurvey"
        monkeypatch.setattr(survey, lambda *_: pytest.fail("too late"))
        with pytest.raises(WeightsError, match=r"there is no model /nowhere\.pt"):
            run(bag, "--out", tmp_path / "out", *QUICK, "--detector", "/nowhere.pt")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["--every", "0"], "every is 0"),
            (["--jobs", "0"], "--jobs is 0, expected 1 or more"),
            (["--slop", "nan"], "slop is nan"),
            (["--infrared-offset", "inf"], "offset is inf"),
            (["--start", "-1"], "start is -1"),
            (["--start", "2", "--stop", "1"], "stop is 1"),
            (["--start", "1e300"], r"start is 1e\+300 s, but the bag is only 1\.9 s long"),
            (["--start", "2", "--stop", "inf"], r"start is 2 s, but the bag is only 1\.9 s long"),
            (["--metric-frames", "-1"], "metric_frames is -1"),
            (["--temporal-strength", "2"], r"temporal strength is 2\.0, expected 0 to 1"),
            (["--json", "/nowhere/x.json"], "make its folder"),
            (["--json", "/"], "--json / is a folder"),
            (["--out", "/dev/null/out"], "--out /dev/null is a file"),
            (["--thermal-low", "5"], "--thermal-low is for --thermal-mode fixed"),
            (
                ["--thermal-mode", "fixed", "--thermal-low", "5", "--thermal-high", "1"],
                r"low \(5\.0\) must be below high",
            ),
            (["--calibration", "/nowhere.yaml"], "cannot read /nowhere.yaml"),
        ],
    )
    def test_impossible_options_are_refused(self, bag, tmp_path, options, reason):
        with pytest.raises(ConfigError, match=reason):
            run(bag, "--out", tmp_path / "out", *QUICK, *options)
        assert list(tmp_path.iterdir()) == []


class TestFrames:
    def test_frames_are_the_pipelines(self, bag, tmp_path):
        found = evaluated(bag, tmp_path, write_bag=True)
        pipeline = FusionPipeline("average", "cpu")
        recorded = read_bag(found.fused_bag)
        names = ["/dominance/infrared", "/dominance/visible", "/fused/image_raw"]
        assert sorted(recorded) == names
        for index, pair in enumerate(read_pairs(bag)):
            result = pipeline.fuse(pair.visible, pair.infrared)
            time_ns, fused = recorded["/fused/image_raw"][index]
            np.testing.assert_array_equal(decode_visible(fused), result.fused)
            for name in ("infrared", "visible"):
                dominance = decode_infrared(recorded[f"/dominance/{name}"][index][1])
                np.testing.assert_array_equal(dominance, getattr(result, f"dominance_{name}"))
            assert time_ns == START_NS + index * 100_000_000
            assert fused.header.stamp.sec * 10**9 + fused.header.stamp.nanosec == pair.stamp_ns
            assert found.rows[index].dominance_infrared == 0.5
        assert index == 19

    def test_frames_are_the_streams_where_it_remembers(self, tmp_path, rng):
        truth, frames = (scene(1), scene(2)), []
        for number in range(6):
            time_ns = START_NS + number * 100_000_000
            for topic, picture in zip(TOPICS, truth, strict=True):
                message = image(camera(picture, 20, rng), time_ns)
                frames.append((topic, time_ns, *message))
        bag = write_bag(tmp_path / "noisy", frames)
        (tmp_path / "out").mkdir()
        config = TemporalConfig("auto")
        found = evaluated(bag, tmp_path / "out", write_bag=True, temporal=config)
        recorded = read_bag(found.fused_bag)["/fused/image_raw"]
        stream = FusionPipeline("average", "cpu").stream(config)
        for pair, (_, fused) in zip(read_pairs(bag), recorded, strict=True):
            expected = stream.fuse(pair.visible, pair.infrared, time_s=pair.time_s).fused
            np.testing.assert_array_equal(decode_visible(fused), expected)
        single = FusionPipeline("average", "cpu").fuse(pair.visible, pair.infrared).fused
        assert np.abs(single.astype(int) - expected).mean() > 3
        assert found.settings["temporal.mode"] == "auto"
        assert found.settings["temporal.strength"] == 0.5

    def test_thermal_range_is_the_normalizers(self, bag, tmp_path):
        row = evaluated(bag, tmp_path).rows[0]
        counts = next(read_pairs(bag)).infrared[::4, ::4]
        assert (row.thermal_low, row.thermal_high) == pytest.approx(
            tuple(np.percentile(counts, (1, 99.5)))
        )

    def test_thermal_options_are_the_nodes(self, bag, tmp_path):
        names = [p.name for p in FUSION_PARAMETERS if p.name.startswith("thermal.")]
        fixed = ("--thermal-mode", "fixed", "--thermal-low", 29000, "--thermal-high", 31000)
        assert run(bag, "--out", tmp_path / "out", *QUICK, *fixed, "--thermal-hot-black") == 0
        settings = json.loads((tmp_path / "out" / "metrics.json").read_text())["settings"]
        values = ["fixed", 29000, 31000, 0.03, 0, True, False, "auto", [0, 0, 0, 0]]
        assert {n: v for n, v in settings.items() if "thermal." in n} == dict(
            zip(names, values, strict=True)
        )
        with (tmp_path / "out" / "frames.csv").open() as file:
            row = next(csv.DictReader(file))
        assert (float(row["thermal_low"]), float(row["thermal_high"])) == (29000, 31000)

    def test_metrics_are_those_of_the_same_pictures(self, bag, tmp_path):
        found = evaluated(bag, tmp_path, metric_frames=100)
        assert all(row.metrics for row in found.rows)
        pipeline = FusionPipeline("average", "cpu")
        frames = {"fused": [], "max": []}
        for pair in read_pairs(bag):
            infrared = pipeline.normalizer.normalize(pair.infrared)
            visible = np.rint(pair.visible @ LUMA).astype(np.uint8)
            largest = BASELINES["max"].fuse(infrared, visible)
            frames["max"].append((largest, infrared, visible))
        expected = evaluate(*frames["max"][7])
        assert found.rows[7].metrics["max"] == pytest.approx(expected)
        values = [row.metrics["max"]["Qabf"] for row in found.rows]
        interval = found.metrics["max"]["Qabf"]
        assert interval.mean == pytest.approx(np.mean(values))
        assert interval.low < interval.mean < interval.high
        # Couple by couple, but the sum is that over the whole sequence.
        assert found.flicker["max"] == pytest.approx(flicker(frames["max"]).ratio)

    def test_a_sample_is_spread_evenly(self, bag, tmp_path):
        found = evaluated(bag, tmp_path, metric_frames=3, film_frames=5)
        measured = [row.index for row in found.rows if row.metrics]
        assert measured == [0, 10, 19]
        assert [frame.row.index for frame in found.film] == [0, 5, 10, 14, 19]
        pictures = found.film[2].pictures
        assert sorted(pictures) == ["dominance", "fused", "infrared", "visible"]
        decoded = cv2.imdecode(np.frombuffer(pictures["fused"], np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (72, 96, 3)
        assert "max_SSIM" in row_values(found.rows[10])
        assert "max_SSIM" not in row_values(found.rows[11])

    def test_every_start_and_stop(self, bag, tmp_path):
        found = evaluated(bag, tmp_path, every=4)
        assert (found.pairs, found.fused) == (20, 5)
        assert [row.time_s for row in found.rows] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
        found = evaluated(bag, tmp_path, start_s=0.5, stop_s=1.0)
        assert [row.time_s for row in found.rows] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])

    def test_a_stop_beyond_all_times_is_none(self, bag, tmp_path):
        rows = evaluated(bag, tmp_path, start_s=1.5).rows
        for stop_s in (1e300, float("inf")):
            assert evaluated(bag, tmp_path, start_s=1.5, stop_s=stop_s).rows == rows

    def test_sqlite_gives_the_same_rows(self, bag, tmp_path):
        other = write_bag(tmp_path / "street", street_messages(), StoragePlugin.SQLITE3)
        rows = evaluated(bag, tmp_path).rows
        assert evaluated(other, tmp_path).rows == rows
        assert evaluated(other, tmp_path, stop_s=1e300).rows == rows

    def test_stamps_a_nanosecond_apart_make_no_absurd_video(self, tmp_path):
        street = Street()
        messages = [
            (topic, START_NS + i * 10**8, *image(pixels, START_NS + i))
            for i in range(3)
            for topic, pixels in zip(TOPICS, (street.infrared(i), street.visible(i)), strict=True)
        ]
        found = evaluated(write_bag(tmp_path / "bag", messages), tmp_path, write_video=True)
        assert found.visible.rate_hz == pytest.approx(1e9)
        assert cv2.VideoCapture(str(found.video)).get(cv2.CAP_PROP_FPS) == pytest.approx(120)

    def test_a_span_without_images_is_no_time(self, tmp_path):
        late = ("/imu", START_NS + 9 * 10**9, *camera_info(START_NS, (8, 8)))
        bag = write_bag(tmp_path / "bag", [*street_messages(1), late])
        found = evaluated(bag, tmp_path, start_s=5.0)
        assert (found.duration_s, found.fused) == (0, 0)
        assert "hold no images in this span" in found.warnings[0]

    def test_objects_are_counted_and_recorded(self, pairs_root, tmp_path):
        pytest.importorskip("ultralytics")
        model = pairs_root.parent / "yolo11n_int8_openvino_model"
        if not model.is_dir():
            pytest.skip(f"needs a detector in {model}")
        people = sorted((pairs_root / "llvip").rglob("*.jpg"))
        visible = cv2.cvtColor(cv2.imread(str(people[-1])), cv2.COLOR_BGR2RGB)
        infrared = cv2.imread(str(people[0]), cv2.IMREAD_GRAYSCALE)
        messages = [
            (topic, START_NS, *image(np.ascontiguousarray(pixels), START_NS))
            for topic, pixels in zip(TOPICS, (infrared, visible), strict=True)
        ]
        people_bag = write_bag(tmp_path / "people", messages)
        found = evaluated(people_bag, tmp_path, write_bag=True, detector=str(model), film_frames=1)
        (row,) = found.rows
        assert row.detections["visible"] > 0
        assert found.detections["visible"]["objects"] == row.detections["visible"]
        assert 0.25 <= found.detections["visible"]["confidence"] <= 1
        assert "boxes" in found.film[0].pictures
        ((_, message),) = read_bag(found.fused_bag)["/detections"]
        assert len(message.detections) == row.detections["detection_image"]
        ((_, recorded),) = read_bag(found.fused_bag)["/fused/detection_image"]
        expected = FusionPipeline("average", "cpu").fuse(visible, infrared, detection_image=True)
        np.testing.assert_array_equal(decode_visible(recorded), expected.detection_image)


class TestCameras:
    def test_the_clocks_offset_is_told_with_its_sign(self, tmp_path):
        """Infrared stamps are 84 ms too early, so 84 ms are to be added to them."""
        street = Street((160, 120))
        bag = write_bag(tmp_path / "bag", street_messages(5, 15, street, -0.084))
        found = evaluated(bag, tmp_path, check=True)
        assert found.clock_offset.seconds == pytest.approx(0.084, abs=0.01)
        (warning,) = [w for w in found.warnings if "clock" in w]
        assert warning.startswith("the thermal clock lags by 8")
        assert float(warning.rsplit("sync.infrared_offset_s: ")[1]) == pytest.approx(
            0.084, abs=0.01
        )
        set_now = evaluated(
            bag, tmp_path, check=True, pairing=PairingOptions(infrared_offset_s=0.084)
        )
        assert not [w for w in set_now.warnings if "clock" in w]
        assert set_now.skew_ms["median"] == pytest.approx(0, abs=0.1)
        assert found.alignment.homography is not None
        assert found.alignment.shift_px < 1
        assert not [w for w in found.warnings if "beside" in w]

    def test_an_infrared_clock_that_is_ahead(self, tmp_path):
        bag = write_bag(tmp_path / "bag", street_messages(5, 15, Street((160, 120)), 0.12))
        found = evaluated(bag, tmp_path, check=True)
        (warning,) = [w for w in found.warnings if "clock" in w]
        assert warning.startswith("the thermal clock is ahead by 1")
        assert float(warning.rsplit("sync.infrared_offset_s: ")[1]) == pytest.approx(
            -0.12, abs=0.01
        )

    def test_misaligned_cameras_are_told_in_pixels(self, tmp_path):
        """Infrared's pixel (x, y) is visible's (x + 9, y + 5)."""
        moved = Street((192, 144))
        straight = moved.infrared

        def messages():
            for index in range(8):
                time_ns = START_NS + index * 100_000_000
                infrared = np.roll(straight(index / 10), (-5, -9), (0, 1))
                yield TOPICS[0], time_ns, *image(np.ascontiguousarray(infrared), time_ns)
                yield TOPICS[1], time_ns, *image(moved.visible(index / 10), time_ns)

        bag = write_bag(tmp_path / "bag", messages())
        found = evaluated(bag, tmp_path, check=True)
        assert found.alignment.shift_px == pytest.approx(np.hypot(9, 5), abs=1)
        (warning,) = [w for w in found.warnings if "beside" in w]
        assert warning.startswith("infrared lies 10 pixels beside")
        assert sorted(found.alignment_pictures) == ["after", "before"]
        calibration = Calibration(
            Homography(np.array([[1.0, 0, 9], [0, 1, 5], [0, 0, 1]])), moved.size, moved.size
        )
        write_calibration(calibration, tmp_path / "c.yaml")
        calibrated = evaluated(bag, tmp_path, check=True, calibration=tmp_path / "c.yaml")
        assert calibrated.alignment.shift_px < 1
        assert not [w for w in calibrated.warnings if "beside" in w]
        assert calibrated.rows[0].alignment > found.rows[0].alignment + 0.2

    def test_the_calibrations_clock_offset_is_used(self, tmp_path):
        street = Street((48, 36))
        bag = write_bag(tmp_path / "bag", street_messages(1, 10, street, -0.2))
        assert evaluated(bag, tmp_path, pairing=PairingOptions(0.02)).skew_ms["median"] < 1e-3
        size = street.size
        calibration = Calibration(Homography(np.eye(3)), size, size, clock_offset_s=0.195)
        write_calibration(calibration, tmp_path / "c.yaml")
        found = evaluated(
            bag, tmp_path, calibration=tmp_path / "c.yaml", pairing=PairingOptions(0.02, 0.003)
        )
        assert found.skew_ms["median"] == pytest.approx(2)

    def test_intrinsics_are_read_from_the_bag(self, tmp_path):
        size = (96, 72)
        camera = Intrinsics(
            size, np.array([[100.0, 0, 47.5], [0, 100, 35.5], [0, 0, 1]]), (0.0,) * 5
        )
        pair = CameraPair(camera, camera, np.eye(3), np.array([-0.2, 0, 0]), 4.0)
        write_calibration(Calibration(pair, size, size), tmp_path / "c.yaml")
        content = yaml.safe_load((tmp_path / "c.yaml").read_text())
        content["infrared"] = content["visible"] = "camera_info"
        (tmp_path / "topics.yaml").write_text(yaml.safe_dump(content))
        messages = list(street_messages(1))
        infos = [
            (f"/{name}/camera_info", START_NS, *camera_info(START_NS, size))
            for name in ("infrared", "visible")
        ]
        bag = write_bag(tmp_path / "bag", [*infos, *messages])
        by_topic = evaluated(bag, tmp_path, calibration=tmp_path / "topics.yaml", write_bag=True)
        by_file = evaluated(bag, tmp_path, calibration=tmp_path / "c.yaml")
        assert by_topic.rows == by_file.rows
        assert by_topic.rows != evaluated(bag, tmp_path).rows
        _, info = read_bag(by_topic.fused_bag)["/fused/camera_info"][3]
        assert (info.width, info.k[0], info.header.stamp.nanosec) == (96, 100.0, 300_000_000)
        without = write_bag(tmp_path / "without", [infos[1], *messages])
        with pytest.raises(BagError, match="the bag has none on /infrared/camera_info"):
            evaluated(without, tmp_path, calibration=tmp_path / "topics.yaml")


class TestReadPairs:
    def test_pairs_are_what_was_recorded(self, bag):
        street = Street()
        for index, pair in enumerate(read_pairs(bag)):
            np.testing.assert_array_equal(pair.infrared, street.infrared(index / 10))
            np.testing.assert_array_equal(pair.visible, street.visible(index / 10))
            assert pair.stamp_ns == pair.infrared_stamp_ns == START_NS + index * 100_000_000
            assert (pair.skew_ms, pair.time_s) == (0, pytest.approx(index / 10))
        assert index == 19

    def test_it_reads_no_further_than_asked(self, bag):
        pairs = read_pairs(str(bag), visible_offset_s=0.01)
        assert next(pairs).skew_ms == pytest.approx(-10)
        pairs.close()
        assert [p.stamp_ns for p in read_pairs(bag, start_s=1.8)] == [2_800_000_000, 2_900_000_000]
