"""What is said of thermal images that are shown otherwise, and of strange shapes."""

import numpy as np
import pytest
from helpers.bag_files import START_NS, STORE, TOPICS, image, write_bag

from dreamif_model import FusionPipeline
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.cli import main
from dreamif_ros.evaluation.bag_info import inspect_bag
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag
from dreamif_ros.evaluation.node_advice import advise

SIZE = (60, 80)


def scene(index, noise=3.0):
    """(h, w) counts of a warm slope on which something hot moves."""
    rng = np.random.default_rng(index)
    counts = 29000 + 4.0 * np.add.outer(np.arange(SIZE[0]), np.arange(SIZE[1]))
    counts[20:40, 10 + 2 * index : 20 + 2 * index] += 900
    return (counts + rng.normal(0, noise, SIZE)).astype(np.uint16)


def colour(index, noise=2.0, moves=True):
    rng = np.random.default_rng(100 + index)
    picture = np.full((*SIZE, 3), (120, 90, 60), float)
    left = 10 + 2 * index * moves
    picture[20:40, left : left + 10] = (30, 30, 200)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def bag_of(path, infrared, visible=colour, count=12):
    """Pairs at 10 Hz of two functions of the index."""
    messages = []
    for index in range(count):
        time_ns = START_NS + index * 100_000_000
        for topic, pixels in zip(TOPICS, (infrared(index), visible(index)), strict=True):
            messages.append((topic, time_ns, *image(pixels, time_ns)))
    return write_bag(path, messages)


def evaluated(bag, tmp_path, thermal=None):
    pipeline = FusionPipeline("average", "cpu")
    pipeline.normalizer = ThermalNormalizer(thermal)
    settings = EvaluationSettings(check=False, metric_frames=0, film_frames=0)
    return evaluate_bag(bag, pipeline, settings, tmp_path, write_video=False)


def telemetry(index):
    counts = scene(index)
    counts[:2] = 40 + index
    return counts


def dead(index):
    counts = scene(index)
    counts[::4, ::4] = 0
    return counts


REMARKS = [
    (telemetry, "the first 2 rows are no picture (telemetry): left out; to cut them off set "),
    (dead, "% of the pixels are 0, far below all others"),
    (lambda index: scene(index).byteswap(), "the bytes of its 16-bit pixels are exchanged"),
]


class TestRemarks:
    @pytest.mark.parametrize(("infrared", "words"), REMARKS)
    def test_are_said_once_with_the_share_of_frames(self, tmp_path, infrared, words):
        bag = bag_of(tmp_path / "bag", infrared)
        (told,) = [line for line in advise(inspect_bag(bag)) if words in line]
        assert told.startswith("infrared: ")
        (told,) = [line for line in evaluated(bag, tmp_path).warnings if words in line]
        assert told.startswith("the thermal images, in 12 of 12 frames: ")

    def test_a_range_that_shows_nothing(self, tmp_path):
        bag = bag_of(tmp_path / "bag", scene)
        found = evaluated(bag, tmp_path, ThermalConfig(mode="fixed", low=0, high=100))
        (told,) = [line for line in found.warnings if "shows everything white" in line]
        assert told.startswith("the thermal images, in 12 of 12 frames: thermal.mode fixed")

    def test_good_images_have_none(self, tmp_path):
        bag = bag_of(tmp_path / "bag", scene)
        assert inspect_bag(bag).cameras.remarks == ()
        assert not [line for line in evaluated(bag, tmp_path).warnings if "thermal images" in line]


class TestDoubleHeight:
    @pytest.mark.parametrize(
        ("shape", "is_double"),
        [
            ((384, 256), True),
            ((392, 256), True),
            ((1024, 640), True),
            ((192, 256), False),
            ((512, 640), False),
            ((640, 480), False),
            ((640, 512), False),
            ((156, 208), False),
        ],
    )
    def test_it_is_told(self, tmp_path, shape, is_double):
        counts = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint16)
        bag = bag_of(tmp_path / "bag", lambda _: counts, count=1)
        told = [line for line in advise(inspect_bag(bag)) if "two pictures on each other" in line]
        assert bool(told) == is_double


class TestStillScenes:
    """A picture that is repeated is a freeze only where the other camera sees a change."""

    def still(self, _):
        return scene(0)

    def test_a_scene_without_noise_that_stands_still(self, tmp_path):
        bag = bag_of(tmp_path / "bag", self.still, lambda _: colour(0))
        found = evaluated(bag, tmp_path)
        assert found.infrared.freezes == found.visible.freezes == ()

    def test_noise_of_the_other_camera_is_no_change(self, tmp_path):
        bag = bag_of(tmp_path / "bag", self.still, lambda i: colour(i, noise=12.0, moves=False))
        assert evaluated(bag, tmp_path).infrared.freezes == ()
        bag = bag_of(tmp_path / "flat", lambda _: scene(0) // 400 + 29000, lambda _: colour(0))
        assert evaluated(bag, tmp_path).infrared.freezes == ()

    def test_motion_in_the_other_camera_is_one(self, tmp_path):
        found = evaluated(bag_of(tmp_path / "bag", self.still), tmp_path)
        (freeze,) = found.infrared.freezes
        assert (freeze.start_s, freeze.duration_s) == pytest.approx((0, 1.1))
        found = evaluated(bag_of(tmp_path / "other", scene, lambda _: colour(0)), tmp_path)
        assert [spell.duration_s for spell in found.visible.freezes] == pytest.approx([1.1])

    def test_something_small_and_hot_is_no_cap(self, tmp_path):
        """A simulated camera: all ambient, and a person of 0.6 % of the pixels."""

        def simulated(index):
            counts = np.full((120, 160), 29815, np.uint16)
            counts[50:70, 30 + 4 * index : 36 + 4 * index] = 31015
            return counts

        found = evaluated(bag_of(tmp_path / "bag", simulated), tmp_path)
        assert not [line for line in found.warnings if "cap on the lens" in line]
        assert found.infrared.freezes == ()


def strip(height, width):
    row = np.arange(width) % 251
    return np.tile(row.astype(np.uint8)[:, None], (height, 1, 3))


class TestShapes:
    """Images that cannot be laid on each other, or are no pictures, are fused or refused."""

    def run(self, bag, out, *options):
        arguments = [str(bag), "--out", str(out), "--variant", "average", "--device", "cpu"]
        return main(["bag", "evaluate", *arguments, "--metric-frames", "2", *options])

    @pytest.mark.parametrize("shape", [(0, 32), (0, 0), (24, 0)])
    def test_without_height_or_width(self, tmp_path, capfd, shape):
        kind, data = image(colour(0), START_NS)
        message = STORE.deserialize_cdr(bytes(data), kind)
        message.height, message.width = shape
        message.data = np.zeros(0, np.uint8)
        empty = kind, STORE.serialize_cdr(message, kind)
        bag = write_bag(
            tmp_path / "bag",
            [
                (TOPICS[0], START_NS, *image(scene(0), START_NS)),
                (TOPICS[1], START_NS, *empty),
            ],
        )
        assert main(["bag", "info", str(bag)]) == 0
        assert "visible is refused: " in capfd.readouterr().out
        assert self.run(bag, tmp_path / "out") == 1
        assert capfd.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize("shape", [(3, 70_000), (1, 1_000_000), (1, 1)])
    def test_a_video_of_a_strip_is_refused_by_its_size(self, tmp_path, capfd, shape):
        counts = np.tile(np.arange(shape[1]).astype(np.uint16), (shape[0], 1))
        bag = bag_of(tmp_path / "bag", lambda _: counts, lambda _: strip(*shape), count=2)
        assert main(["bag", "info", str(bag)]) == 0
        capfd.readouterr()
        assert self.run(bag, tmp_path / "out") == 1
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert f"a width of {shape[1]} and a height of {shape[0]} pixels" in error
        assert self.run(bag, tmp_path / "out", "--no-video") == 0

    @pytest.mark.parametrize("shape", [(70_000, 3), (1_000_000, 1)])
    def test_a_tall_strip_is_fused(self, tmp_path, shape):
        counts = np.tile(np.arange(shape[0]).astype(np.uint16)[:, None], (1, shape[1]))
        bag = bag_of(tmp_path / "bag", lambda _: counts, colour, count=2)
        assert self.run(bag, tmp_path / "out") == 0
        assert (tmp_path / "out" / "report.html").is_file()
