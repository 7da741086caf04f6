"""Registration follows the distance of the scene: messages, maps, and the node over real DDS."""

import json
import time
from contextlib import contextmanager

import numpy as np
import pytest
from helpers.fusion_rig import INFRARED, NODE, PATIENT, K, Rig
from helpers.ros_processes import RemoteParameters, client, parameters, running, spin_until
from sensor_msgs.msg import Range
from std_msgs.msg import Float64

from dreamif_model import ConfigError, FusionPipeline, read_calibration
from dreamif_ros import codec
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.distances import STALE_S, Distances, refusal
from dreamif_ros.fusion.registration import Registration

LENS = {
    "image_width": 64,
    "image_height": 48,
    "camera_matrix": {"rows": 3, "cols": 3, "data": K},
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.0] * 5},
}
CALIBRATION = {
    "model": "cameras",
    "infrared": LENS,
    "visible": LENS,
    "rotation": np.eye(3).tolist(),
    "translation": [0.5, 0.0, 0.0],  # 32 pixels at 1 m, 8 at 4 m
    "distance_m": 4.0,
}
HOMOGRAPHY = {
    "model": "homography",
    "infrared_size": [64, 48],
    "visible_size": [64, 48],
    "homography": np.eye(3).tolist(),
}


def file(folder, content=CALIBRATION):
    path = folder / "calibration.yaml"
    path.write_text(json.dumps(content))  # which is YAML without aliases
    return path


def metres(distance_m, low=0.25, high=64.0):
    return Range(range=distance_m, min_range=low, max_range=high)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (metres(float("nan")), "nan m is not from 0.25 to 64 m"),
        (metres(float("inf")), "inf m is not from 0.25 to 64 m"),
        (metres(float("-inf")), "-inf m is not"),
        (metres(0.125), "0.125 m is not from 0.25 to 64 m"),
        (metres(65.0), "65 m is not from 0.25 to 64 m"),
        (metres(65.0, 0.0, 0.0), ""),  # the driver sets no limits
        (metres(0.25), ""),
        (metres(0.0625, 0.0, 0.0), "0.0625 m is not from 0.1 to 20000 m"),
        (Float64(data=120.5), ""),
        (Float64(data=-0.3), "-0.3 m is not from 0.1 to 20000 m"),
        (Float64(data=float("nan")), "nan m is not"),
    ],
)
def test_what_is_no_distance_is_refused(message, words):
    assert refusal(message).startswith(words)
    assert bool(refusal(message)) == bool(words)


def test_the_median_of_three_counts():
    distances, found = Distances(), []
    for now_s, distance_m in enumerate((4.0, 5.0, 50.0, 6.0, 7.0)):
        distances.take(metres(distance_m), now_s)
        found.append(distances.now_m(now_s))
    assert found == [4.0, 4.5, 5.0, 6.0, 7.0]


def test_without_messages_the_fixed_distance_counts():
    distances = Distances(9.0)
    assert (distances.now_m(0.0), distances.is_fresh(0.0)) == (9.0, False)
    distances.take(metres(4.0), 10.0)
    assert distances.now_m(10.0 + STALE_S) == 4.0
    assert distances.now_m(10.1 + STALE_S) == 9.0
    distances.take(metres(float("nan")), 20.0)
    assert (distances.now_m(20.0), distances.used, distances.refused) == (9.0, 1, 1)
    assert distances.refusal.startswith("nan m")
    distances.take(metres(6.0), 21.0)  # and the old one is no part of its median
    assert (distances.now_m(21.0), distances.refusal) == (6.0, "")


class Following:
    """A registration, and frames that are fused one after the other."""

    def __init__(self, path):
        self.warnings = []
        self.pipeline = FusionPipeline("average", "cpu")
        self.distances = Distances()
        self.registration = Registration(self.pipeline, self.distances, self.warnings.append)
        self.registration.register(read_calibration(path))
        self.column()

    def column(self):
        """The infrared column that is laid on visible column 10."""
        ramp = np.tile(np.arange(64, dtype=np.uint8), (48, 1))
        self.registration.follow()
        return int(self.pipeline.fuse(ramp, ramp).measured()[20, 10])

    def settle(self, fixed_m, done, timeout_s=10.0):
        """Set a distance and fuse until ``done``; returns the column."""
        self.distances.fixed_m = fixed_m
        end = time.monotonic() + timeout_s
        while not done():
            self.column()
            assert time.monotonic() < end
            time.sleep(0.01)
        return self.column()


@pytest.fixture
def following(tmp_path):
    following = Following(file(tmp_path))
    yield following
    following.registration.close()


def test_frames_are_registered_for_the_distance(following):
    registration = following.registration
    assert following.column() == 10 + 8
    assert following.settle(2.0, lambda: registration.moves == 1) == 10 + 16
    assert registration.registered_m == 2.0
    assert following.settle(1.0, lambda: registration.moves == 2) == 10 + 32
    assert following.settle(None, lambda: registration.moves == 3) == 10 + 8
    assert following.warnings == []


def test_a_change_below_half_a_pixel_makes_no_maps(following):
    registration, before = following.registration, following.pipeline.registrar
    following.distances.fixed_m = 4.2  # 0.38 pixels
    for _ in range(20):
        following.column()
        time.sleep(0.01)
    assert following.pipeline.registrar is before
    following.settle(4.3, lambda: registration.moves == 1)  # 0.56 pixels
    assert registration.registered_m == 4.3


def test_a_distance_that_cannot_be_used_is_said_and_changes_nothing(following):
    following.settle(0.3, lambda: following.warnings)  # infrared is 107 pixels aside
    assert following.warnings[0].startswith("the registration stays as it is: the calibration puts")
    assert following.column() == 10 + 8
    assert following.settle(2.0, lambda: following.registration.moves == 1) == 10 + 16


def test_another_calibration_is_registered_at_once(following, tmp_path):
    wider = file(tmp_path, CALIBRATION | {"translation": [1.0, 0.0, 0.0]})
    following.registration.register(read_calibration(wider))
    assert following.column() == 10 + 16


def test_a_homography_has_no_distance_to_follow(tmp_path):
    CameraInfos(file(tmp_path)).check_distances()
    with pytest.raises(ConfigError, match=r"both cameras: .*calibration\.yaml: a homography holds"):
        CameraInfos(file(tmp_path, HOMOGRAPHY)).check_distances()
    with pytest.raises(ConfigError, match=r"distance_m need registration\.file$"):
        CameraInfos(None).check_distances()


@pytest.mark.realtime
def test_the_node_refuses_a_homography(tmp_path):
    values = {"registration__file": file(tmp_path, HOMOGRAPHY), "registration__distance_m": 5.0}
    arguments = parameters(variant="average", **values)
    with running(NODE, *arguments, log=tmp_path / "log") as process:
        assert process.popen.wait(60) == 1
        assert "cannot configure: registration.distance_topic and" in process.output()


class Laying:
    """A running node that lays infrared on the visible pixels, and is told distances."""

    def __init__(self, rig, kind):
        self.rig, self.node = rig, rig.node
        self.ground = rig.node.create_publisher(kind, "ground", 10)

    def shows(self, shift, message=None):
        """Whether infrared is soon laid on the visible pixels with this shift."""
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            if message:
                self.ground.publish(message)
            self.rig.send(*self.rig.good_pair())
            spin_until(self.node, lambda: False, 0.1)
            images = self.rig.heard["infrared/registered"]
            image = codec.decode(images[-1]) if images else np.zeros((0, 0))
            if np.array_equal(image[:, : 64 - shift], INFRARED[:, shift:]):
                return True
        return False


@contextmanager
def laying(folder, kind, **values):
    values |= {"registration__file": file(folder), "registration__distance_topic": "ground"}
    arguments = parameters(variant="average", **values, **PATIENT)
    with running(NODE, *arguments, log=folder / "log") as process, client() as node:
        yield Laying(Rig(node, process, outputs=("infrared/registered",)), kind)


@pytest.mark.realtime
def test_the_nodes_output_follows_the_messages(tmp_path):
    with laying(tmp_path, Range, registration__distance_m=8.0) as node:
        rig = node.rig
        assert node.shows(4), rig.process.output()
        assert node.shows(16, metres(2.0)), rig.process.output()
        assert node.shows(32, metres(1.0)), rig.process.output()
        assert spin_until(rig.node, lambda: rig.state.get("registered distance (m)") == "1.000")
        assert node.shows(4, metres(float("nan"))), rig.process.output()  # once the last is stale
        why = f"no distance on /ground for {STALE_S:g} s (the last one is refused: nan m is not"
        rig.process.wait_for_output(why)
        assert spin_until(rig.node, lambda: int(rig.state["distance messages refused"]) > 1)
        assert int(rig.state["distance messages used"]) > 1
        assert RemoteParameters(rig.node, "/fusion_node").set(registration__distance_m=4.0) == []
        assert node.shows(8), rig.process.output()


@pytest.mark.realtime
def test_an_altitude_is_a_distance(tmp_path):
    with laying(tmp_path, Float64, registration__distance_type="float64") as node:
        assert node.shows(16, Float64(data=2.0)), node.rig.process.output()
