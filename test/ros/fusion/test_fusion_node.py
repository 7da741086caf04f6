"""The fusion node as a process, over real DDS: values, headers, bad input."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ROOT
from helpers.fusion_rig import INFRARED, NODE, PATIENT, QOS, VISIBLE, Rig
from helpers.ros_processes import (
    RemoteParameters,
    client,
    parameters,
    running,
    spin_until,
    wait_until_heard,
)
from helpers.videos import camera, scene
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dreamif_model import FusionPipeline
from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

pytestmark = pytest.mark.realtime


def test_on_a_cpu_it_is_small_and_does_without_torch(tmp_path):
    """Without the segment of shared memory that Fast DDS has for large images."""
    values = parameters(device="cpu", **PATIENT)
    with running(NODE, *values, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process, outputs=("fused/image_raw",))
        rig.send(*rig.good_pair())
        rig.wait(1)
        assert spin_until(node, lambda: "backend" in rig.state)
        assert (rig.state["backend"], rig.state["variant"]) == ("openvino", "nano")
        folder = Path("/proc") / str(process.popen.pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        own_mb = sum(int(status[key].split()[0]) for key in ("RssAnon", "RssFile")) / 1024
        assert own_mb < 250, own_mb
        assert "libtorch" not in (folder / "maps").read_text()


def test_the_detection_image_is_made_only_for_subscribers(tmp_path, monkeypatch):
    """In a node that fails to make it, the fused image comes until somebody wants the other."""
    python_path = os.pathsep.join([str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", python_path)
    arguments = parameters(variant="average", **PATIENT)
    module = "helpers.broken_detection_image"
    with running(module, *arguments, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process, outputs=("fused/image_raw",))
        for count in (1, 2, 3):
            rig.send(*rig.good_pair())
            rig.wait(count)
        assert "out of luck" not in process.output()
        node.create_subscription(Image, "fused/detection_image", lambda _: None, QOS)
        assert spin_until(node, lambda: node.count_subscribers("fused/detection_image"))
        spin_until(node, lambda: False, 0.5)  # until the node has found it, too
        rig.send(*rig.good_pair())
        process.wait_for_output("fusion failed: RuntimeError('out of luck')")


def test_the_detection_image_is_the_pipelines(tmp_path):
    """Nobody subscribes to the fused image."""
    arguments = parameters(**PATIENT)
    topics = ("fused/detection_image",)
    with running(NODE, *arguments, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process, outputs=topics)
        header = rig.send(*rig.good_pair())
        rig.wait(1)
        (message,) = rig.heard[topics[0]]
        pipeline = FusionPipeline("nano", "cpu")
        expected = pipeline.fuse(VISIBLE, INFRARED, detection_image=True).detection_image
        assert message.header == header
        assert message.encoding == "rgb8"
        difference = np.abs(codec.decode_visible(message).astype(int) - expected)
        assert difference.mean() < 0.1


def test_swapped_topics_stay_swapped_after_following_the_publishers(tmp_path):
    swap = [
        *("-r", "infrared/image_raw:=/visible/image_raw"),
        *("-r", "visible/image_raw:=/infrared/image_raw"),
    ]
    arguments = [*parameters(variant="average", **PATIENT), *swap]
    with running(NODE, *arguments, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process)
        header = Header(frame_id="swapped")
        header.stamp.sec = 7
        rig.visible.publish(ROS_MESSAGES.image(INFRARED, "mono8", header))
        rig.infrared.publish(ROS_MESSAGES.image(VISIBLE, "bgr8", header))
        rig.wait(1)
        expected = FusionPipeline("average", "cpu").fuse(visible=VISIBLE, infrared=INFRARED)
        fused = codec.decode_visible(rig.heard["fused/image_raw"][0])
        np.testing.assert_array_equal(fused, expected.fused)


def test_the_memory_of_earlier_frames_is_switched_on_while_it_runs(tmp_path, rng):
    truth = scene(1), np.stack([scene(seed) for seed in (2, 3, 4)], axis=2)
    pipeline = FusionPipeline("average", "cpu")
    stream = pipeline.stream()
    arguments = parameters(variant="average", temporal__mode="off", **PATIENT)
    with running(NODE, *arguments, log=tmp_path / "log") as process, client() as node:
        rig = Rig(node, process, outputs=("fused/image_raw",))
        remote = RemoteParameters(node, "fusion_node")
        for number in range(6):
            if number == 2:
                assert remote.set(temporal__mode="auto") == []
            infrared, visible = (camera(image, 20, rng) for image in truth)
            rig.send(
                ROS_MESSAGES.image(visible, "rgb8", Header()),
                ROS_MESSAGES.image(infrared, "mono8", Header()),
            )
            rig.wait(number + 1)
            fused = codec.decode_visible(rig.heard["fused/image_raw"][-1])
            fuser = pipeline if number < 2 else stream
            np.testing.assert_array_equal(fused, fuser.fuse(visible, infrared).fused)
        single = pipeline.fuse(visible, infrared).fused
        assert np.abs(single.astype(int) - fused).mean() > 3
        (reason,) = remote.set(temporal__strength=1.5)
        assert "temporal.strength" in reason


def test_compressed_inputs_and_outputs_follow_the_remapped_names(tmp_path):
    """PNG in, which loses nothing, by `<topic>/compressed`; JPEG out, which loses little."""
    remap = ["-r", "visible/image_raw:=/cam/image", "-r", "fused/image_raw:=/seen/image"]
    arguments = parameters(variant="average", image_transport="compressed", **PATIENT)
    smooth = np.indices((48, 64)).sum(axis=0).astype(np.uint8)
    with running(NODE, *arguments, *remap, log=tmp_path / "log") as process, client() as node:
        heard = []
        node.create_subscription(CompressedImage, "/seen/image/compressed", heard.append, QOS)
        visible = node.create_publisher(CompressedImage, "/cam/image/compressed", QOS)
        infrared = node.create_publisher(CompressedImage, "infrared/image_raw/compressed", QOS)
        wait_until_heard(node, visible, infrared)
        header = Header(frame_id="rgb")
        header.stamp.sec = 5
        for publisher, image in ((visible, 2 * smooth), (infrared, smooth)):
            data = cv2.imencode(".png", image)[1].tobytes()
            publisher.publish(CompressedImage(header=header, format="mono8; png", data=data))
        assert spin_until(node, lambda: heard, 20.0), process.output()
        assert heard[0].header == header
        assert heard[0].format == "rgb8; jpeg compressed bgr8"
        fused = codec.decode_visible(heard[0]).astype(int)
        assert abs(fused - 1.5 * smooth[..., None]).mean() < 2.0


# The tests from here on share one node, in this order.

FRAMES_BEFORE = 3  # sent by the test that nobody subscribes in


@pytest.fixture(scope="module")
def node_process(tmp_path_factory):
    """A client, and a running node."""
    log = tmp_path_factory.mktemp("fusion") / "log"
    with (
        running(NODE, *parameters(variant="average", **PATIENT), log=log) as process,
        client() as node,
    ):
        yield node, process


def test_a_silent_input_is_named_with_its_publishers(node_process):
    _, process = node_process
    process.wait_for_output("no infrared image on /infrared/image_raw")
    assert "it has no publisher" in process.output()


def test_nothing_is_computed_while_nobody_subscribes(node_process):
    rig = Rig(*node_process, outputs=())
    for count in range(1, FRAMES_BEFORE + 1):
        rig.send(*rig.good_pair())
        unwatched = str(count)
        assert spin_until(rig.node, lambda c=unwatched: rig.state.get("pairs unwatched") == c), (
            rig.state
        )
    assert (rig.state["pairs"], rig.state["published"]) == (unwatched, "0")
    rig.destroy()


@pytest.fixture(scope="module")
def rig(node_process):
    rig = Rig(*node_process, frame=FRAMES_BEFORE)
    yield rig
    rig.destroy()


def test_outputs_have_the_pipelines_values_and_the_visible_header(rig):
    header = rig.send(*rig.good_pair())
    rig.wait(1)
    expected = FusionPipeline("average", "cpu").fuse(visible=VISIBLE, infrared=INFRARED)
    fused, infrared, visible, overlay = (messages[0] for messages in rig.heard.values())
    assert {m.header.frame_id for m in (fused, infrared, visible, overlay)} == {"rgb"}
    assert all(m.header == header for m in (fused, infrared, visible, overlay))
    np.testing.assert_array_equal(codec.decode_visible(fused), expected.fused)
    for message, dominance in (
        (infrared, expected.dominance_infrared),
        (visible, expected.dominance_visible),
    ):
        assert (message.encoding, message.height, message.width) == ("32FC1", 48, 64)
        np.testing.assert_array_equal(np.frombuffer(message.data, np.float32), dominance.ravel())
    assert (overlay.encoding, overlay.height, overlay.width) == ("bgr8", 48, 64)
    assert spin_until(rig.node, lambda: rig.infos)
    assert (rig.infos[0].header, rig.infos[0].width) == (header, 64)


def broken_pairs():
    visible = ROS_MESSAGES.image(VISIBLE, "bgr8", Header())
    infrared = ROS_MESSAGES.image(INFRARED, "mono8", Header())

    def changed(message, **changes):
        copy = ROS_MESSAGES.image(
            VISIBLE if message is visible else INFRARED, message.encoding, Header()
        )
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy

    yield "encoding '64FC1' is unknown", changed(visible, encoding="64FC1"), infrared
    yield "needs a step of at least 192 bytes, got 10", changed(visible, step=10), infrared
    yield "needs 3072 bytes of data, got 100", visible, changed(infrared, data=bytes(100))
    yield "empty image", changed(visible, width=0, data=b""), infrared
    yield (
        "visible image is 32FC1, expected 8 or 16 bit",
        changed(visible, encoding="32FC1", step=256, data=bytes(256 * 48)),
        infrared,
    )


def test_a_bad_image_is_named_and_the_other_camera_goes_on(rig):
    """Each bad half is refused with its reason; the good half is published alone."""
    heard = len(rig.heard["fused/image_raw"])
    for k, (words, visible, infrared) in enumerate(broken_pairs()):
        rig.send(visible, infrared)
        rig.process.wait_for_output(words)
        rig.wait(heard + 2 * k + 1)
        rig.send(*rig.good_pair())
        rig.wait(heard + 2 * k + 2)
        spin_until(rig.node, lambda: False, 1.1)  # the log line is throttled to one a second
    assert "Traceback" not in rig.process.output()
    refused = ("visible refused", "infrared refused", "published")
    expected = ["4", "1", str(heard + 10)]
    assert spin_until(rig.node, lambda: [rig.state.get(k) for k in refused] == expected), rig.state
    pipeline = FusionPipeline("average", "cpu")
    fused = [codec.decode_visible(message) for message in rig.heard["fused/image_raw"][heard:]]
    both = pipeline.fuse(visible=VISIBLE, infrared=INFRARED).fused
    for k, alone in enumerate([INFRARED, INFRARED, VISIBLE, INFRARED, INFRARED]):
        rgb = alone if alone.ndim == 3 else np.repeat(alone[..., None], 3, axis=2)
        np.testing.assert_array_equal(fused[2 * k], rgb)
        np.testing.assert_array_equal(fused[2 * k + 1], both)
