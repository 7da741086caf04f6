"""The check of the alignment in a running stream: what it says and corrects."""

import os
import time

import numpy as np
import pytest
import yaml
from helpers import ROOT
from helpers.drifting_street import SIZE, laid, moved, street
from helpers.fusion_rig import PATIENT, Rig
from helpers.ros_processes import client, parameters, running, spin_until
from std_msgs.msg import Header

from dreamif_model import Calibration, FusionPipeline
from dreamif_model.registration import drift
from dreamif_model.registration.drift import LaidPair, size_px
from dreamif_model.registration.geometry import Homography
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.fusion import drift_check
from dreamif_ros.fusion.distances import Distances
from dreamif_ros.fusion.drift_check import DriftCheck
from dreamif_ros.fusion.registration import Registration

SAME = Calibration(Homography(np.eye(3)), SIZE, SIZE)
COUNT = 3  # different frames, which are repeated
LOOKS = 3  # whose median counts, so that the tests are quick


@pytest.fixture(scope="module")
def frames():
    return street(COUNT)


class Watching:
    """A registration that is checked, and frames that go through it."""

    def __init__(self, mode):
        self.pipeline = FusionPipeline("average", "cpu")
        self.lines = []
        self.registration = Registration(self.pipeline, Distances(), self.lines.append)
        self.registration.register(SAME)
        self.check = DriftCheck(self.registration, self.lines.append)
        self.check.mode, self.check.limit_px = mode, 2.5

    def show(self, frames, looks, **how):
        """Fuse street frames with moved infrared until so many more were looked at."""
        for k in range(looks):
            visible, infrared = frames[k % len(frames)]
            self.registration.follow()
            result = self.pipeline.fuse(visible, moved(infrared, **how)[0], score_alignment=True)
            self.look(result.laid)

    def look(self, pair):
        before = self.check.judged + self.check.refused
        self.check.look(pair)
        end = time.monotonic() + 10.0
        while self.check.judged + self.check.refused == before:
            assert time.monotonic() < end
            time.sleep(0.005)

    def close(self):
        self.check.close()
        self.registration.close()


@pytest.fixture
def watching(monkeypatch):
    monkeypatch.setattr(drift_check, "PERIOD_S", 0.0)
    monkeypatch.setattr(drift, "LOOKS", LOOKS)
    made = []

    def make(mode="warn"):
        made.append(Watching(mode))
        return made[-1]

    yield make
    for watch in made:
        watch.close()


def test_aligned_frames_are_no_drift(watching, frames):
    watch = watching()
    watch.show(frames, 2 * LOOKS)
    assert (watch.lines, watch.check.fault) == ([], "")
    assert watch.check.judged == 2 * LOOKS
    assert size_px(watch.check.moves) < 0.5


def test_a_drift_is_said_once_with_its_direction(watching, frames):
    watch = watching()
    watch.show(frames, LOOKS)
    watch.show(frames, LOOKS, x=4)
    assert watch.lines == [watch.lines[0]]
    assert "infrared lies 4." in watch.lines[0] or "infrared lies 3.9" in watch.lines[0]
    assert " px right" in watch.lines[0]
    assert watch.lines[0].endswith("calibrate again, or see follow_drift")
    assert watch.check.fault
    assert watch.pipeline.registrar.calibration.adjustment is None
    watch.show(frames, LOOKS)
    assert watch.check.fault == ""


def test_a_turn_is_a_drift_too(watching, frames):
    watch = watching()
    watch.show(frames, LOOKS)
    watch.show(frames, LOOKS, degrees=2.0)  # 7 px at the corners
    assert "turned or scaled by" in watch.check.fault


def test_a_drift_is_corrected_if_asked(watching, frames):
    watch = watching("correct")
    watch.show(frames, LOOKS)
    watch.show(frames, 4 * LOOKS, x=4)
    assert len(watch.lines) == 1
    assert watch.check.fault == ""
    adjusted = watch.registration.adjusted_px(SIZE).mean(axis=0)
    assert -4.3 < adjusted[0] < -2.7  # to within the noise that is not followed
    assert abs(adjusted[1]) < 0.5


def test_frames_that_do_not_tell_raise_no_alarm(watching, frames, rng):
    watch = watching()
    watch.show(frames, LOOKS)
    for _ in range(LOOKS):
        noise = rng.integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8)
        watch.look(LaidPair(noise, frames[0][0][..., 1]))
    assert (watch.check.refused, watch.lines) == (LOOKS, [])
    assert watch.check.refusal


def test_another_calibration_starts_anew(watching, frames):
    watch = watching()
    watch.show(frames, LOOKS)
    watch.show(frames, LOOKS, x=4)
    assert watch.check.fault
    watch.registration.register(Calibration(Homography(np.eye(3)), SIZE, SIZE))
    watch.show(frames, 1, x=4)
    assert (watch.check.moves, watch.check.fault) == (None, "")


def test_off_and_before_its_time_it_does_not_look(watching, frames, monkeypatch):
    pair = laid(*frames[0])
    off = watching("off")
    off.check.look(pair)
    monkeypatch.setattr(drift_check, "PERIOD_S", 60.0)
    early = watching()
    early.look(pair)
    early.check.look(pair)
    time.sleep(0.3)
    assert (off.check.judged, early.check.judged) == (0, 1)


@pytest.mark.realtime
def test_the_node_says_a_drift_and_corrects_it(tmp_path, monkeypatch, frames):
    """A node that looks as often as it can."""
    path = tmp_path / "calibration.yaml"
    matrix = np.eye(3).tolist()
    content = {"model": "homography", "infrared_size": [*SIZE], "visible_size": [*SIZE]}
    path.write_text(yaml.safe_dump(content | {"homography": matrix}))
    values = {"registration__file": path, "registration__follow_drift": "correct", **PATIENT}
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    )
    node_arguments = parameters(variant="average", **values)
    module = "helpers.hasty_drift_check"
    with running(module, *node_arguments, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process, outputs=("fused/image_raw",))

        def until(done, **how):
            end, k = time.monotonic() + 60.0, 0
            while not done():
                visible, infrared = frames[(k := k + 1) % COUNT]
                rig.send(
                    ROS_MESSAGES.image(visible, "rgb8", Header()),
                    ROS_MESSAGES.image(moved(infrared, **how)[0], "mono16", Header()),
                )
                spin_until(node, lambda: False, 0.1)
                assert time.monotonic() < end, f"{rig.state} {process.output()}"

        def value(key):
            return float(rig.state.get(key, "nan"))

        until(lambda: value("alignment looks judged") > LOOKS)
        assert value("drift (px)") < 1.0
        assert "infrared lies" not in process.output()
        until(lambda: value("drift corrected (px)") > 2.0, x=4)
        assert " px right" in process.output()
        until(lambda: value("drift (px)") < 1.5, x=4)
