"""A real recording through real DDS: what the node publishes is what `dreamif fuse` writes."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from helpers.ros_processes import client, parameters, running, spin_until
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from dreamif_model.image_files import read_rgb
from dreamif_ros import cli, codec
from dreamif_ros.bag.storage import START_NS

pytestmark = pytest.mark.realtime

FRAMES = 30
PACE = 1.8  # the bag's period over the time of one fusion, so that the node keeps up


@pytest.fixture(scope="module")
def sequence(pairs_root, tmp_path_factory):
    """Folders with the consecutive frames of one fixed camera at night."""
    folder = tmp_path_factory.mktemp("sequence")
    for modality in ("ir", "vi"):
        (folder / modality).mkdir()
        for number in range(1, FRAMES + 1):
            name = f"0100{number:02d}.jpg"
            (folder / modality / name).symlink_to(pairs_root / "llvip" / modality / name)
    return folder


class Heard:
    """Fused frames by stamp, and the node's account of all pairs."""

    def __init__(self, node):
        self.fused, self.state = {}, {}
        node.create_subscription(Image, "fused/image_raw", self._on_fused, QoSProfile(depth=30))
        node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=5)
        )

    def _on_fused(self, message):
        self.fused[codec.stamp_ns(message)] = message

    def _on_diagnostics(self, message):
        self.state = {item.key: item.value for item in message.status[0].values}

    def __repr__(self):
        keys = ("pairs", "published", *(k for k in self.state if k.startswith(("pairs ", "mess"))))
        account = ", ".join(f"{key} {self.state.get(key)}" for key in keys)
        return f"{len(self.fused)} heard of {account}"

    def everything(self):
        """Whether every frame was published and heard, or overtaken and counted."""
        published = int(self.state.get("published", 0))
        missed = sum(int(self.state.get(f"pairs {why}", 0)) for why in ("superseded", "unwatched"))
        return published + missed == FRAMES and len(self.fused) == published


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_frame_of_a_replayed_bag_equals_dreamif_fuse(sequence, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # for the processes started here
    inputs = ["--ir", str(sequence / "ir"), "--vi", str(sequence / "vi")]
    started = time.monotonic()
    with running(
        "dreamif_ros.cli", "fuse", *inputs, "--out", str(tmp_path), log=tmp_path / "l"
    ) as fuse:
        assert fuse.popen.wait(280) == 0, fuse.output()
    period_s = PACE * (time.monotonic() - started) / FRAMES
    bag = tmp_path / "bag"
    assert cli.main(["bag", "make", *inputs, "--rate", str(1 / period_s), "--out", str(bag)]) == 0
    # A frame whose partner is late is not used alone: images are seconds apart.
    values = {"variant": "nano", "health__timeout_s": 0.0}
    expected = [read_rgb(path) for path in sorted(tmp_path.glob("0100*.png"))]

    with (
        running("dreamif_ros.fusion.node", *parameters(**values), log=tmp_path / "n") as node,
        client() as listener,
    ):
        heard = Heard(listener)
        node.wait_for_output("fusing with nano")
        assert spin_until(listener, lambda: heard.state, 20.0)
        spin_until(listener, lambda: False, 1.0)  # until the node knows its listener, too
        with running("dreamif_ros.cli", "bag", "replay", str(bag), log=tmp_path / "r") as replay:
            assert spin_until(
                listener, lambda: replay.popen.poll() is not None, FRAMES * period_s + 60
            )
            assert replay.popen.returncode == 0, replay.output()
        assert spin_until(listener, heard.everything, 30.0), heard

    assert len(heard.fused) >= 0.8 * FRAMES  # on a busy machine some are overtaken
    for stamp, message in heard.fused.items():
        index = round((stamp - START_NS) / 1e9 / period_s)
        np.testing.assert_array_equal(codec.decode_visible(message), expected[index])
