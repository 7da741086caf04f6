"""More than the node expects: bursts, parameter storms, two nodes at once."""

import time
from contextlib import ExitStack

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from helpers.camera_rig import NODE, unaccounted
from helpers.fusion_rig import INFRARED, PATIENT, VISIBLE, Rig
from helpers.ros_processes import RemoteParameters, client, parameters, running, spin_until
from std_msgs.msg import Header

from dreamif_model import FusionPipeline
from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

pytestmark = pytest.mark.realtime

STORM = [  # changes that are taken, and such as are refused, with words of the reason
    ("jpeg_quality", 80, ""),
    ("jpeg_quality", 0, "jpeg_quality out of range. Min: 1, Max: 100"),
    ("sync.slop_s", 0.04, ""),
    ("sync.slop_s", -1.0, "sync.slop_s"),
    ("sync.queue_size", 20, ""),
    ("sync.queue_size", "many", "parameter sync.queue_size must be int, got 'many'"),
    ("health.frozen_s", 0.7, ""),
    ("variant", "tiny", "parameter variant cannot change while the node is configured"),
]


def test_two_nodes_in_two_namespaces(tmp_path):
    """At once, with the same stamps: each fuses its own images."""
    images = {"left": (VISIBLE, INFRARED), "right": (255 - VISIBLE, INFRARED // 2)}
    rigs, names = {}, set()
    with ExitStack() as stack:
        for side in images:
            arguments = [*parameters(variant="average", **PATIENT), "-r", f"__ns:=/{side}"]
            process = stack.enter_context(running(NODE, *arguments, log=tmp_path / side))
            rigs[side] = process
        for side, process in rigs.items():
            rigs[side] = Rig(stack.enter_context(client(namespace=side)), process)
        rigs["left"].node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda array: names.add(array.status[0].name), 10
        )
        end = time.monotonic() + 20
        while min(len(rig.heard["fused/image_raw"]) for rig in rigs.values()) < 10:
            assert time.monotonic() < end, [rig.process.output() for rig in rigs.values()]
            for side, (visible, infrared) in images.items():
                rigs[side].send(
                    ROS_MESSAGES.image(visible, "rgb8", Header()),
                    ROS_MESSAGES.image(infrared, "mono8", Header()),
                )
                spin_until(rigs[side].node, lambda: False, 0.05)
        for side, (visible, infrared) in images.items():
            expected = FusionPipeline("average", "cpu").fuse(visible, infrared).fused
            for message in rigs[side].heard["fused/image_raw"]:
                np.testing.assert_array_equal(codec.decode_visible(message), expected)
            assert spin_until(rigs[side].node, lambda rig=rigs[side]: "fused" in rig.modes, 5.0)
        both = {"/left/fusion_node", "/right/fusion_node"}
        assert spin_until(rigs["left"].node, lambda: names == both, 5.0), names


@pytest.fixture
def counted(rig):
    """Afterwards: every image is accounted for, those sent, received, paired and published."""
    before = rig.pause()
    yield rig
    missing = unaccounted(before, rig.pause())
    assert set(missing.values()) == {0}, missing


def test_a_burst_at_200_hz(counted):
    rig = counted
    for camera in rig.cameras:
        camera.tell(rate_hz=200.0)
    rig.spin(1.0)
    rig.hear("fused", seconds=3.0)


def test_a_storm_of_parameters(counted):
    rig = counted
    rig.recover()
    remote = RemoteParameters(rig.node, "fusion_node")
    for k in range(200):
        name, value, refusal = STORM[k % len(STORM)]
        reason = "".join(remote.set(**{name: value}))
        assert refusal in reason
        assert bool(reason) == bool(refusal)
    values = remote.get(*(name for name, _, refusal in STORM if not refusal))
    assert values == [value for _, value, refusal in STORM if not refusal]
    rig.hear("fused")
