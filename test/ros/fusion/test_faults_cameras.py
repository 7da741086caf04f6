"""Cameras that fail and come back: the node says so, goes on with the other one, and recovers."""

import signal
import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.camera_rig import DECLARED_S, FOUND_S, SETTLED_S, WITHOUT
from helpers.ros_processes import spin_until, take_shared_memory

from dreamif_model.cameras import Camera
from dreamif_ros.node.transport import listened_ports

pytestmark = pytest.mark.realtime

FAULTS = [
    ("silent", {"rate_hz": 0.0}),
    ("stale", {"stamps": "stopped"}),
    ("frozen", {"pictures": 1}),
    ("blank", {"blank": True}),
    ("broken", {"step": 10}),
    ("broken", {"data_bytes": 100}),
    ("broken", {"told_encoding": "yuv9"}),
]


@pytest.mark.parametrize("camera", Camera)
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


@pytest.mark.parametrize("camera", Camera)
def test_a_killed_camera_and_a_new_one(rig, camera):
    rig.kill(camera)
    killed_s = time.monotonic()
    rig.expect(WITHOUT[camera], killed_s)
    rig.wait_for_silence_to_be_logged(camera)
    rig.cameras[camera].start()
    rig.expect("fused", time.monotonic(), FOUND_S)


def test_both_cameras_killed_and_new_ones(rig):
    rig.kill(*Camera)
    killed_s = time.monotonic()
    rig.wait_for_mode("none", killed_s)
    rig.wait_for_status(DiagnosticStatus.ERROR, "infrared is silent; visible is silent")
    for camera in Camera:
        rig.wait_for_silence_to_be_logged(camera)
    since_ns = rig.spin(0.5)
    assert [sent_ns for sent_ns, _ in rig.images if sent_ns > since_ns] == []
    for camera in Camera:
        rig.cameras[camera].start()
    rig.expect("fused", time.monotonic(), FOUND_S)


@pytest.mark.parametrize("camera", Camera)
def test_a_camera_that_is_stopped_for_5_seconds(rig, camera):
    stopped_s = time.monotonic()
    rig.cameras[camera].signal(signal.SIGSTOP)
    rig.expect(WITHOUT[camera], stopped_s)
    rig.spin(5.0 - (time.monotonic() - stopped_s))
    continued_s = time.monotonic()
    rig.cameras[camera].signal(signal.SIGCONT)
    rig.expect("fused", continued_s)


def test_the_node_stopped_for_a_second_blames_no_camera(rig):
    """Twice health.timeout_s."""
    modes = len(rig.modes)
    rig.process.popen.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    rig.process.popen.send_signal(signal.SIGCONT)
    rig.spin(DECLARED_S)
    rig.hear("fused")
    assert rig.modes[modes:] == []


def test_the_node_stopped_for_5_seconds_fuses_again(rig):
    """Fast DDS may take its shared memory away, for good (transport.py): then it starts anew."""
    rig.process.popen.send_signal(signal.SIGSTOP)
    rig.spin(5.0)
    rig.process.popen.send_signal(signal.SIGCONT)
    rig.spin(2 * DECLARED_S)
    assert spin_until(rig.node, lambda: rig.modes[-1][1] == "fused"), rig.report()
    rig.hear("fused")


def test_a_node_without_its_shared_memory_starts_anew_in_its_process(rig):
    """This is the last test: the counts of the node begin again."""
    rig.process.forget_output()
    modes = len(rig.modes)
    take_shared_memory(rig.process)
    rig.cameras.visible.kill()
    rig.cameras.visible.start()
    rig.wait_for_status(DiagnosticStatus.ERROR, "Fast DDS gave up its shared memory")
    rig.process.wait_for_output("gave up its shared memory: the process starts anew")
    rig.process.wait_for_output("fusing with average")  # and wait_for_output sees that it runs
    assert spin_until(rig.node, lambda: "fused" in [m for _, m in rig.modes[modes:]]), rig.report()
    rig.spin(SETTLED_S)
    rig.hear("fused")
    ports = listened_ports(rig.process.popen.pid)
    assert ports
    assert all(port.exists() for port in ports)
