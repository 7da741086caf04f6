"""infrared/registered: what was measured at the visible pixels, over real DDS."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from helpers import ROOT
from helpers.fusion_rig import NODE, PATIENT, QOS, VISIBLE, Rig
from helpers.ros_processes import client, parameters, running, spin_until
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

pytestmark = pytest.mark.realtime
TOPIC = "infrared/registered"
COUNTS = np.random.default_rng(1).integers(7000, 9000, (48, 64), dtype=np.uint16)
CELSIUS = (COUNTS / 100 - 50).astype(np.float32)
SHIFT = {  # 10 pixels to the right and 5 down
    "model": "homography",
    "infrared_size": [64, 48],
    "visible_size": [64, 48],
    "homography": [[1.0, 0.0, 10.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]],
}


@contextmanager
def registering(folder, outputs, module=NODE):
    file = folder / "calibration.yaml"
    file.write_text(yaml.safe_dump(SHIFT))
    values = parameters(variant="average", registration__file=file, **PATIENT)
    with running(module, *values, log=folder / "log") as process, client() as node:
        yield Rig(node, process, outputs=outputs)


def visible():
    return ROS_MESSAGES.image(VISIBLE, "bgr8", Header())


def test_every_type_keeps_its_values(tmp_path):
    """Each camera image has another type; the last one is no image, so that nothing is sent."""
    with registering(tmp_path, (TOPIC,)) as rig:
        cases = [
            (COUNTS, "mono16", 0),
            (CELSIUS, "32FC1", np.nan),
            ((COUNTS // 40).astype(np.uint8), "mono8", 0),
        ]
        for count, (image, encoding, unknown) in enumerate(cases, 1):
            header = rig.send(visible(), ROS_MESSAGES.image(image, encoding, Header()))
            rig.wait(count)
            message = rig.heard[TOPIC][-1]
            assert (message.header, message.encoding) == (header, encoding)
            expected = np.full((48, 64), unknown, image.dtype)
            expected[5:, 10:] = image[:-5, :-10]
            np.testing.assert_array_equal(codec.decode(message), expected)
        fused = []
        rig.node.create_subscription(Image, "fused/image_raw", fused.append, QOS)
        assert spin_until(rig.node, lambda: rig.node.count_subscribers("fused/image_raw"))
        spin_until(rig.node, lambda: False, 0.5)  # until the node has found it, too
        rig.send(visible(), ROS_MESSAGES.image(COUNTS[:0], "mono16", Header()))
        assert spin_until(rig.node, lambda: fused), rig.process.output()
        np.testing.assert_array_equal(codec.decode_visible(fused[0]), VISIBLE)  # alone
        spin_until(rig.node, lambda: False, 0.5)
        assert len(rig.heard[TOPIC]) == len(cases)


def test_it_is_computed_only_for_subscribers(tmp_path, monkeypatch):
    """In a node that fails to make it, the fused image comes until somebody wants the other."""
    python_path = os.pathsep.join([str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", python_path)
    with registering(tmp_path, ("fused/image_raw",), "helpers.broken_measurement") as rig:
        rig.send(*rig.good_pair())
        rig.wait(1)
        assert "out of luck" not in rig.process.output()
        rig.node.create_subscription(Image, TOPIC, lambda _: None, QOS)
        assert spin_until(rig.node, lambda: rig.node.count_subscribers(TOPIC))
        spin_until(rig.node, lambda: False, 0.5)  # until the node has found it, too
        rig.send(*rig.good_pair())
        rig.process.wait_for_output("fusion failed: RuntimeError('out of luck')")
