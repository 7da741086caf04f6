"""More than the node expects: bursts, parameter storms, two nodes at once."""

import time
from contextlib import ExitStack

import numpy as np
import pytest
from camera_rig import NODE, SETTLED_S, STATELESS, camera_rig, unaccounted
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from ros_processes import client, parameters, running, spin_until
from std_msgs.msg import Header
from test_fusion_node import INFRARED, STILL, VISIBLE, Rig

from dreamif_model import FusionPipeline
from dreamif_ros import codec

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


@pytest.fixture(scope="module")
def rigs(tmp_path_factory):
    with camera_rig(tmp_path_factory.mktemp("faults") / "log") as rig:
        yield rig


@pytest.fixture
def rig(rigs):
    """Everything runs well."""
    rigs.recover()
    return rigs


@pytest.fixture
def counted(rig):
    """Afterwards: every image is accounted for, those sent, received, paired and published."""
    before = rig.pause()
    yield rig
    missing = unaccounted(before, rig.pause())
    assert set(missing.values()) == {0}, missing


def test_a_burst_at_200_hz(counted):
    rig = counted
    for camera in rig.cameras.values():
        camera.tell(rate_hz=200.0)
    rig.wait_for_mode("fused", time.monotonic())
    rig.spin(SETTLED_S)
    rig.hear("fused", seconds=3.0)


def test_a_storm_of_parameters(counted):
    rig = counted
    rig.recover()
    client = AsyncParameterClient(rig.node, "fusion_node")
    assert spin_until(rig.node, client.services_are_ready)
    for k in range(200):
        name, value, refusal = STORM[k % len(STORM)]
        future = client.set_parameters([Parameter(name, value=value)])
        assert spin_until(rig.node, future.done)
        (result,) = future.result().results
        assert result.successful == (not refusal)
        assert refusal in result.reason
    future = client.get_parameters([name for name, _, refusal in STORM if not refusal])
    assert spin_until(rig.node, future.done)
    values = [parameter_value_to_python(value) for value in future.result().values]
    assert values == [value for _, value, refusal in STORM if not refusal]
    rig.hear("fused")


def test_two_nodes_in_two_namespaces(tmp_path):
    """The same stamps, other images: each makes its own."""
    images = {"left": (VISIBLE, INFRARED), "right": (255 - VISIBLE, INFRARED // 2)}
    rigs = {}
    with ExitStack() as stack:
        for name in images:
            space = ["-r", f"__ns:=/{name}"]
            arguments = [*parameters(variant="average", **STILL), *space]
            process = stack.enter_context(running(NODE, *arguments, log=tmp_path / name))
            rigs[name] = Rig(stack.enter_context(client(namespace=name)), process)
        for _ in range(10):
            for name, (visible, infrared) in images.items():
                pair = codec.encode(visible, "rgb8", Header()), codec.encode(infrared, "mono8", Header())
                rigs[name].send(*pair)
                rigs[name].spin(0.05)
