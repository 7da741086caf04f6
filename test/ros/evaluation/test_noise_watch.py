"""The noise of a recording: as it was drawn, and as much as the memory took out."""

import csv

import cv2
import numpy as np
import pytest
from helpers.bag_files import START_NS, TOPICS, image, write_bag
from helpers.street_bags import evaluated
from helpers.videos import camera, scene

from dreamif_model import FusionPipeline
from dreamif_model.cameras import Both
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_ros.bag import read_pairs
from dreamif_ros.evaluation.evaluation_results import NOISE
from dreamif_ros.evaluation.noise_watch import NoiseWatch, WatchedFilter
from dreamif_ros.evaluation.result_files import metrics_content, write_frames

# rclpy's wheels bring a lark that imports what Python 3.11 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

AUTO = TemporalConfig("auto")
SIGMA = Both(20.0, 8.0)
STRIPES = 6.0


def striped(image, rng):
    return image + STRIPES * rng.standard_normal((1, image.shape[1]))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Twelve pairs of a scene at rest: noise on both cameras, stripes on infrared."""
    rng, messages = np.random.default_rng(0), []
    truth = Both(striped(scene(1), rng), scene(2))
    for number in range(12):
        time_ns = START_NS + number * 100_000_000
        for topic, one in zip(TOPICS, ("infrared", "visible"), strict=True):
            noisy = camera(getattr(truth, one), getattr(SIGMA, one), rng)
            messages.append((topic, time_ns, *image(noisy, time_ns)))
    return write_bag(tmp_path_factory.mktemp("bags") / "noisy", messages)


def test_the_noise_of_each_camera_is_that_which_was_drawn(bag, tmp_path):
    found = evaluated(bag, tmp_path)
    for row in found.rows:
        assert row.noise_infrared == pytest.approx(SIGMA.infrared, rel=0.15)
        assert row.noise_visible == pytest.approx(SIGMA.visible, rel=0.15)
    assert found.rows[-1].stripes == pytest.approx(STRIPES, rel=0.3)
    assert found.rows[-1].stripes_counts == pytest.approx(found.rows[-1].stripes)  # 8 bit
    assert found.rows[-1].removed_infrared is None  # the memory is off
    assert found.noise.keys() == set(NOISE[:4])
    middle = np.median([row.noise_visible for row in found.rows])
    assert metrics_content(found)["noise"]["noise_visible"] == pytest.approx(middle)


def test_what_was_taken_out_is_the_change_of_the_memorys_images(bag, tmp_path):
    rows = evaluated(bag, tmp_path, temporal=AUTO).rows
    memory = FusionPipeline("average", "cpu").stream(AUTO).memory
    for row, pair in zip(rows, read_pairs(bag), strict=True):
        left = memory.without_stripes(pair.infrared)
        visible, infrared, _ = memory.filter(pair.visible, left, pair.time_s)
        assert row.removed_visible == pytest.approx(change(pair.visible, visible))
        assert row.removed_infrared == pytest.approx(change(pair.infrared, infrared), rel=0.05)
    # Nearly all of the noise: eight frames leave an eighth of its power.
    assert rows[-1].removed_visible == pytest.approx(SIGMA.visible, rel=0.2)
    assert rows[-1].removed_infrared == pytest.approx(SIGMA.infrared, rel=0.2)


def change(before, after):
    return np.sqrt(np.mean((before.astype(float) - after) ** 2))


def test_the_file_of_frames_has_the_columns(bag, tmp_path):
    found = evaluated(bag, tmp_path, temporal=AUTO)
    write_frames(found.rows, tmp_path / "frames.csv")
    with (tmp_path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in NOISE:
        assert float(rows[5][name]) == getattr(found.rows[5], name)


def test_a_clean_recording_is_left_as_it_is(rng):
    watch, memory = NoiseWatch(), WatchedFilter()
    clean = Both(camera(scene(1), 0, rng), camera(scene(2), 0, rng))
    for _ in range(10):
        found = watch.look(clean.visible, clean.infrared)
        memory.filter(clean.visible, memory.without_stripes(clean.infrared))
    assert found.cameras.infrared < 1
    assert found.cameras.visible < 1
    assert found.stripes == 0
    assert memory.removed == Both(0, 0)


def test_images_of_any_size_are_measured(rng):
    watch = NoiseWatch()
    small = camera(scene(2)[:3, :50], 10, rng)
    assert watch.look(small, small).cameras == Both(None, None)
    for size in ((96, 128), (61, 83), (96, 128)):
        noisy = camera(cv2.resize(scene(2), size[::-1]), 10, rng)
        found = watch.look(np.dstack([noisy] * 3), noisy)
        assert found.cameras.visible == pytest.approx(10, rel=0.25)
