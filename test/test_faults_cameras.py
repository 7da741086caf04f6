"""Cameras that fail and come back: the node says so, goes on with the other one, and recovers."""

import signal
import time

import pytest
from camera_rig import CAMERAS, camera_rig
from diagnostic_msgs.msg import DiagnosticStatus

WITHOUT = {"infrared": "visible_only", "visible": "infrared_only"}
FAULTS = [
    ("silent", {"rate_hz": 0.0}),
    ("stale", {"stamps": "stopped"}),
    ("frozen", {"pictures": 1}),
    ("blank", {"blank": True}),
    ("broken", {"step": 10}),
    ("broken", {"data_bytes": 100}),
    ("broken", {"told_encoding": "yuv9"}),
]


@pytest.fixture(scope="module")
def rigs(tmp_path_factory):
    with camera_rig(tmp_path_factory.mktemp("faults") / "log") as rig:
        yield rig


@pytest.fixture
def rig(rigs):
    """Everything runs well."""
    rigs.hear("fused")
    return rigs


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize(("fault", "settings"), FAULTS)
def test_the_other_camera_goes_on_alone_until_a_fault_is_over(rig, camera, fault, settings):
    failed_s = time.monotonic()
    rig.cameras[camera].tell(**settings)
    rig.expect(WITHOUT[camera], failed_s)
    rig.wait_for_status(DiagnosticStatus.WARN, f"{camera} is {fault}")
    rig.wait_for_status(DiagnosticStatus.WARN, f"{fault}: ", name=f"/fusion_node: {camera}")
    healed_s = time.monotonic()
    rig.cameras[camera].heal()
    rig.expect("fused", healed_s)
    rig.wait_for_status(DiagnosticStatus.OK, "ok")


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_killed_camera_and_a_new_one(rig, camera):
    killed_s = time.monotonic()
    rig.cameras[camera].kill()
    rig.expect(WITHOUT[camera], killed_s)
    rig.process.wait_for_output(f"no {camera} image on /{camera}/image_raw: 1 publisher(s): ", 5.0)
    rig.cameras[camera].start()
    rig.expect("fused", time.monotonic())
