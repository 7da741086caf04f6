"""What is wrong with a camera, when, and what is fused then."""

import numpy as np
import pytest
from std_msgs.msg import Header

from dreamif_model.cameras import Both, Camera
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.fusion.camera_health import (
    FAULTS,
    CameraWatch,
    FusionMode,
    HealthConfig,
    Severity,
    choose_mode,
    find_faults,
    severity,
)
from dreamif_ros.fusion.fusion_stream import mixup, picture_bytes
from dreamif_ros.stamps import NANOSECONDS as SECOND


def feed(watch, start_s, seconds, rate_hz=30.0, content=None, stamp_ns=None, ahead_s=0.0):
    """Messages from `start_s` on, of own pictures and stamps unless given; returns the end."""
    count = round(seconds * rate_hz)
    for k in range(count):
        now_s = start_s + k / rate_hz
        stamp = round((now_s + ahead_s) * SECOND) if stamp_ns is None else stamp_ns
        watch.received(now_s, stamp, k if content is None else content)
        watch.seen(now_s, blank=False)
    return start_s + (count - 1) / rate_hz


def kind(watch, now_s):
    fault = watch.fault(now_s)
    return fault and fault.kind


def test_a_camera_that_sends_is_well():
    watch = CameraWatch(10.0)
    end = feed(watch, 10.1, 2.0)
    assert watch.fault(end + 0.4) is None
    assert watch.is_heard(end + 0.4)


def test_a_camera_that_never_sent_is_silent_after_the_timeout():
    watch = CameraWatch(10.0)
    assert kind(watch, 10.5) is None
    assert watch.fault(10.51).text == "no image has come yet"


def test_how_long_a_camera_is_waited_for():
    watch = CameraWatch(10.0, HealthConfig(timeout_s=0.0))
    assert watch.unheard_s(14.0) == 4.0
    watch.received(14.0, 1, b"")
    assert watch.unheard_s(20.0) == 0.0


def test_a_camera_that_stops_is_silent_and_comes_back():
    watch = CameraWatch(0.0)
    end = feed(watch, 0.0, 1.0)
    fault = watch.fault(end + 0.6)
    assert (fault.kind, fault.text) == ("silent", "no image for 0.6 s")
    assert not watch.is_heard(end + 0.6)
    feed(watch, end + 5, 0.1)
    assert kind(watch, end + 5.1) is None


def test_a_slow_camera_is_given_three_of_its_periods():
    watch = CameraWatch(0.0)
    end = feed(watch, 0.0, 10.0, rate_hz=1.0)
    assert kind(watch, end + 2.9) is None
    assert kind(watch, end + 3.1) == "silent"


def test_a_frozen_camera_repeats_one_picture():
    watch = CameraWatch(0.0)
    end = feed(watch, 0.0, 1.0)
    end = feed(watch, end + 0.03, 0.4, content=b"same")
    assert kind(watch, end) is None
    end = feed(watch, end + 0.03, 0.2, content=b"same")
    assert kind(watch, end) == "frozen"
    end = feed(watch, end + 0.03, 0.1)
    assert kind(watch, end) is None


def test_two_equal_pictures_far_apart_are_not_frozen():
    watch = CameraWatch(0.0)
    for now_s in (0.0, 0.45, 0.9):
        watch.received(now_s, round(now_s * SECOND), b"same")
    assert kind(watch, 0.95) is None  # the first repetition is 0.45 s old


def test_a_blank_camera():
    watch = CameraWatch(0.0)
    for k in range(30):
        watch.received(k / 30, k, k)
        watch.seen(k / 30, blank=True)
    assert kind(watch, 1.0) == "blank"
    watch.seen(1.0, blank=False)
    assert kind(watch, 1.0) is None


def test_a_broken_camera_until_an_image_could_be_used():
    watch = CameraWatch(0.0)
    feed(watch, 0.0, 0.2)
    watch.refused("step is 10")
    watch.seen(0.2, blank=False)
    assert (watch.fault(0.2).kind, watch.fault(0.2).text) == ("broken", "step is 10")
    watch.accepted()
    assert kind(watch, 0.2) is None


def test_stamps_that_stand_still_are_stale():
    watch = CameraWatch(0.0)
    end = feed(watch, 0.0, 1.0, stamp_ns=5)
    assert kind(watch, end) == "stale"


@pytest.mark.parametrize("check", ["timeout_s", "frozen_s", "blank_s"])
def test_zero_switches_a_check_off(check):
    watch = CameraWatch(0.0, HealthConfig(**{check: 0.0}))
    feed(watch, 0.0, 1.0, content=b"same")
    for k in range(30):
        watch.seen(k / 30, blank=True)
    now_s = 1.0 if check != "timeout_s" else 99.0
    found = {kind(watch, now_s)} if check != "frozen_s" else {watch.fault(now_s).kind}
    off = {"timeout_s": "silent", "frozen_s": "frozen", "blank_s": "blank"}[check]
    assert off not in found
    assert found <= {"frozen", "blank"}


def test_stamps_that_never_meet_are_the_infrared_cameras_fault():
    infrared, visible = CameraWatch(0.0), CameraWatch(0.0)
    feed(infrared, 0.0, 1.0, ahead_s=-10.0)
    end = feed(visible, 0.0, 1.0)
    faults = find_faults(Both(infrared, visible), end)
    assert faults.visible is None
    assert faults.infrared.kind == "stale"
    assert faults.infrared.text.startswith("its stamps are 10.000 s behind the visible camera's")
    for watch in (infrared, visible):
        watch.paired(end)
    assert find_faults(Both(infrared, visible), end) == Both(None, None)


@pytest.mark.parametrize("stands", Camera)
def test_without_pairs_stamps_that_stand_still_are_to_blame(stands):
    """As soon as there are no pairs: the other camera is not blamed in between."""
    watches = Both(CameraWatch(0.0), CameraWatch(0.0))
    for camera, watch in watches.items():
        feed(watch, 0.0, 0.51, stamp_ns=5 if camera is stands else None)
    assert find_faults(watches, 0.51) == Both(None, None)
    for camera, watch in watches.items():
        feed(watch, 0.51, 0.2, stamp_ns=5 if camera is stands else None)
    faults = find_faults(watches, 0.71)
    assert faults[stands].text == "its stamps stand still"
    assert faults[stands.other] is None


def test_a_camera_that_returns_is_given_time_to_find_partners():
    infrared, visible = CameraWatch(0.0), CameraWatch(0.0)
    feed(visible, 0.0, 5.0)
    end = feed(infrared, 4.8, 0.2)
    assert find_faults(Both(infrared, visible), end) == Both(None, None)


@pytest.mark.parametrize(
    ("infrared", "visible", "mode"),
    [
        (None, None, "fused"),
        ("silent", None, "visible_only"),
        (None, "broken", "infrared_only"),
        ("frozen", None, "visible_only"),
        (None, "blank", "infrared_only"),
        ("frozen", "blank", "fused"),  # nothing better: a bench that repeats one pair
        ("frozen", "silent", "infrared_only"),
        ("stale", "frozen", "visible_only"),
        ("silent", "broken", "none"),
    ],
)
def test_the_better_camera_is_used_and_equals_are_fused(infrared, visible, mode):
    of = {None: Severity.NONE, **FAULTS}
    assert choose_mode(Both(of[infrared], of[visible])) is FusionMode(mode)


def test_no_fault_has_no_severity():
    assert severity(None) is Severity.NONE


@pytest.mark.parametrize("visible_moves", [True, False])
def test_a_camera_that_repeats_a_scene_at_rest_is_not_frozen(visible_moves):
    """Frozen needs the other camera's word: a simulated thermal camera has no noise."""
    watches = Both.make(lambda _: CameraWatch(0.0))
    for k in range(60):
        now_s = k / 30
        watches.infrared.received(now_s, k, b"same")
        watches.infrared.seen(now_s, blank=False)
        watches.visible.received(now_s, k, k)  # its noise differs
        watches.visible.seen(now_s, blank=False, moved=visible_moves and k % 10 == 0)
        for watch in watches:
            watch.paired(now_s)
    faults = find_faults(watches, now_s)
    assert faults.visible is None
    assert (faults.infrared and faults.infrared.kind) == ("frozen" if visible_moves else None)


def test_rows_of_telemetry_do_not_hide_a_frozen_camera():
    def message(counter, scene=7):
        pixels = np.full((48, 64), scene, np.uint16)
        pixels[:2], pixels[-1] = counter, counter
        return ROS_MESSAGES.image(pixels, "mono16", Header())

    assert picture_bytes(message(1)) == picture_bytes(message(2))
    assert picture_bytes(message(1)) != picture_bytes(message(1, scene=8))
    small = ROS_MESSAGES.image(np.zeros((8, 8), np.uint16), "mono16", Header())
    assert len(picture_bytes(small)) == 128  # too small to have such rows


@pytest.mark.parametrize(
    ("infrared", "visible", "said"),
    [
        ("mono16", "rgb8", False),
        ("rgb8", "mono16", True),
        ("bgr8; jpeg compressed bgr8", "16UC1; png compressed ", True),
        ("rgb8", "rgb8", False),
        ("rgb8", "", False),
        ("mono8", "mono16", False),
    ],
)
def test_exchanged_cameras_are_recognized_by_their_encodings(infrared, visible, said):
    text = mixup(Both(infrared, visible))
    assert bool(text) == said
    assert text.startswith("the cameras seem exchanged: infrared images are") == said
