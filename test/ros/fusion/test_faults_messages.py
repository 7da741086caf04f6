"""Messages that no camera should send, and more of them than the node can use."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.camera_rig import WITHOUT
from helpers.camera_source import Settings
from helpers.ros_processes import spin_until

from dreamif_model.cameras import Camera

pytestmark = pytest.mark.realtime

FORMATS = [  # visible, infrared
    ({"encoding": "bgr8"}, {"encoding": "mono16"}),
    ({"encoding": "rgb8", "width": 80, "height": 60}, {"encoding": "mono16"}),
    ({"encoding": "rgb8", "width": 80, "height": 60}, {"encoding": "32FC1", "width": 31}),
    ({"encoding": "mono8", "width": 33, "height": 65}, {"encoding": "32FC1", "height": 9}),
    ({}, {}),
]


def test_size_and_encoding_change_mid_stream(rig):
    """32FC1 has rows of NaN, Inf and -Inf."""
    modes = len(rig.modes)
    for visible, infrared in FORMATS:
        rig.cameras.visible.heal(**visible)
        rig.cameras.infrared.heal(**infrared)
        rig.spin(0.3)
        rig.hear("fused")
    assert rig.modes[modes:] == []


def test_infrared_of_nothing_but_nan(rig):
    failed_s = time.monotonic()
    rig.cameras.infrared.tell(encoding="32FC1", nan=True)
    rig.expect("visible_only", failed_s)
    rig.process.wait_for_output("infrared: the infrared image must be finite somewhere", 5.0)


def test_1_x_1_images(rig):
    """One pixel shows one level: such a camera is blank, but two of them are equals."""
    failed_s = time.monotonic()
    rig.cameras.infrared.tell(width=1, height=1, pictures=2)
    rig.expect("visible_only", failed_s)
    rig.wait_for_status(DiagnosticStatus.WARN, "infrared is blank")
    failed_s = time.monotonic()
    rig.cameras.visible.tell(width=1, height=1, pictures=2)
    rig.expect("fused", failed_s)
    failed_s = time.monotonic()
    rig.cameras.infrared.heal()
    rig.wait_for_mode("infrared_only", failed_s)


@pytest.mark.parametrize("camera", Camera)
def test_8000_x_6000_images(rig, camera):
    """Refused, as each would cost a second and gigabytes; what the node knew of it before stays."""
    rig.cameras[camera].tell(width=8000, height=6000, rate_hz=2.0, pictures=1)
    rig.process.wait_for_output(f"{camera}: 8000x6000 is above max_megapixels (8.5 Mpx)", 20.0)
    rig.spin(1.0)
    assert spin_until(rig.node, lambda: rig.modes[-1][1] == WITHOUT[camera]), rig.report()
    rig.hear(WITHOUT[camera], seconds=2.0, min_hz=0.5, **{camera.value: Settings()})


ZERO, FUTURE, PAST, BACKWARDS = (
    {"stamps": "zero"},
    {"ahead_s": 3600.0},
    {"ahead_s": -3600.0},
    {"stamps": "backwards"},
)


@pytest.mark.parametrize("stamps", [ZERO, FUTURE, PAST, {"ahead_s": -0.2}])
def test_stamps_that_are_wrong_alike_are_pairs_all_the_same(rig, stamps):
    modes = len(rig.modes)
    for camera in rig.cameras:
        camera.tell(**stamps)
    rig.spin(0.5)
    rig.hear("fused")
    assert rig.modes[modes:] == []
    if stamps is ZERO:
        rig.wait_for_status(
            DiagnosticStatus.WARN, "infrared stamps are unset; visible stamps are unset"
        )


@pytest.mark.parametrize("stamps", [FUTURE, PAST, BACKWARDS])
@pytest.mark.parametrize("camera", Camera)
def test_stamps_that_meet_no_partner_leave_the_visible_camera_alone(rig, camera, stamps):
    failed_s = time.monotonic()
    rig.cameras[camera].tell(**stamps)
    rig.expect("visible_only", failed_s)
    rig.wait_for_status(DiagnosticStatus.WARN, "infrared is stale")
    healed_s = time.monotonic()
    rig.cameras[camera].heal()
    rig.expect("fused", healed_s)


def test_time_that_goes_backwards_all_the_time(rig):
    """Every run of late messages starts pairing anew: a few images come."""
    for camera in rig.cameras:
        camera.tell(**BACKWARDS, rate_hz=60.0)  # and far less than health.timeout_s apart
    rig.process.wait_for_output("time went back", 5.0)
    rig.spin(0.5)
    rig.hear("fused", seconds=2.0, min_hz=1.0)
