"""The detector node and the pipeline node as processes, over real DDS, with a real YOLO model."""

import importlib.util
import os
from contextlib import ExitStack
from unittest import mock

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from helpers import ROOT
from helpers.fusion_rig import PATIENT
from helpers.ros_processes import (
    RemoteParameters,
    client,
    parameters,
    running,
    spin_until,
    wait_until_heard,
)
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_model import FusionPipeline
from dreamif_ros import codec
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

ultralytics = pytest.importorskip("ultralytics", reason="needs ultralytics (extra detect)")
from dreamif_ros.detection.detection_stream import RateLimit  # noqa: E402
from dreamif_ros.detection.detector import UNTRACKED, Detections, Detector  # noqa: E402
from dreamif_ros.detection.detector_config import DetectorConfig  # noqa: E402

pytestmark = pytest.mark.realtime

NODE, BOTH = "dreamif_ros.detection.node", "dreamif_ros.detection.pipeline_node"
QOS = QoSProfile(depth=50)
NAMESPACE = ("-r", "__ns:=/one_process")
needs_vision_msgs = pytest.mark.skipif(
    importlib.util.find_spec("vision_msgs") is None, reason="needs vision_msgs: make vision_msgs"
)


@pytest.fixture(scope="module")
def street(pairs_root):
    """A night street with people, (480, 640, 3) RGB."""
    image = cv2.imread(str(pairs_root / "llvip" / "vi" / "010001.jpg"))
    return cv2.cvtColor(cv2.resize(image, (640, 480)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def model(pairs_root):
    return pairs_root.parent / "yolo11n_int8_openvino_model"


@pytest.fixture(scope="module")
def expected(model, street):
    found = Detector(DetectorConfig(model=str(model), device="cpu")).detect(street)
    assert len(found.scores) >= 3
    return found


class Rig:
    """Sends images to a running detector and hears what it finds."""

    def __init__(self, node, process, topic="fused/detection_image", messages=True):
        self.node, self.process, self.frame, self.state = node, process, 0, {}
        self.images, self.found = [], []
        node.create_subscription(Image, "detections/image", self.images.append, QOS)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)
        if messages:
            from vision_msgs.msg import Detection2DArray

            node.create_subscription(Detection2DArray, "detections", self.found.append, QOS)
        self.publisher = node.create_publisher(Image, topic, QOS)
        self.remote = RemoteParameters(node, "detector_node")
        wait_until_heard(node, self.publisher)

    def _on_diagnostics(self, message):
        for status in message.status:
            if status.name == "/detector_node":
                self.state = {item.key: item.value for item in status.values}
                self.state["message"] = status.message

    def send(self, message):
        self.frame += 1
        message.header = Header(frame_id="camera")
        message.header.stamp.sec, message.header.stamp.nanosec = 100 + self.frame, 7
        self.publisher.publish(message)
        return message.header

    def image_under(self, header):
        """The image with boxes under this header, (H, W, 3) RGB."""
        found = []

        def heard():
            found[:] = [m for m in self.images if m.header == header]
            return found

        assert spin_until(self.node, heard), self.process.output()
        return codec.decode_visible(found[0])


@pytest.fixture(scope="module")
def rig(tmp_path_factory, model):
    log = tmp_path_factory.mktemp("detector") / "log"
    messages = importlib.util.find_spec("vision_msgs") is not None
    with running(NODE, *parameters(model=model, device="cpu"), log=log) as process:
        process.wait_for_output("detecting 80 classes")
        with client() as node:
            yield Rig(node, process, messages=messages)


@needs_vision_msgs
def test_every_field_of_a_detection(rig, street, expected):
    header = rig.send(ROS_MESSAGES.image(street, "bgr8", Header()))
    assert spin_until(rig.node, lambda: any(m.header == header for m in rig.found))
    message = rig.found[-1]
    assert len(message.detections) == len(expected.scores)
    for index, detection in enumerate(message.detections):
        assert detection.header == header
        assert detection.id == ""
        (result,) = detection.results
        assert result.hypothesis.class_id == "person"
        assert result.hypothesis.score == pytest.approx(expected.scores[index], abs=1e-4)
        x1, y1, x2, y2 = expected.boxes[index].tolist()
        box = detection.bbox
        assert (box.center.position.x, box.center.position.y) == pytest.approx(
            ((x1 + x2) / 2, (y1 + y2) / 2), abs=0.01
        )
        assert (box.size_x, box.size_y) == pytest.approx((x2 - x1, y2 - y1), abs=0.01)
        assert box.center.theta == 0


def test_the_image_has_boxes_burned_in(rig, street, expected):
    image = rig.image_under(rig.send(ROS_MESSAGES.image(street, "rgb8", Header())))
    changed = (image != street).any(axis=2)
    outside = np.ones(changed.shape, bool)
    for x1, y1, x2, y2 in expected.boxes.round().astype(int).tolist():
        assert changed[max(0, y1 - 3) : y1 + 4, (x1 + x2) // 2].any()
        assert changed[(y1 + y2) // 2, max(0, x1 - 3) : x1 + 4].any()
        outside[max(0, y1 - 30) : y2 + 30, max(0, x1 - 160) : x2 + 160] = False
    assert not changed[outside].any()


@pytest.mark.parametrize("encoding", ["mono8", "mono16", "32FC1"])
def test_gray_counts_and_celsius(rig, street, encoding):
    """People are found in a gray picture as well, and beside the boxes it is as it was sent."""
    gray = cv2.cvtColor(street, cv2.COLOR_RGB2GRAY)
    sent = {
        "mono8": gray,
        "mono16": gray.astype(np.uint16) * 40 + 20000,
        "32FC1": gray.astype(np.float32) / 5 - 10,
    }[encoding]
    image = rig.image_under(rig.send(ROS_MESSAGES.image(sent, encoding, Header())))
    assert image.shape == street.shape
    drawn = (image != image[..., :1]).any(axis=2)  # coloured boxes on gray
    assert drawn.any()
    beside = ~cv2.dilate(drawn.astype(np.uint8), np.ones((41, 41))).astype(bool)
    assert beside.mean() > 0.3
    if encoding == "mono8":
        assert np.array_equal(image[beside][:, 0], gray[beside])
    else:  # another scale of the same picture
        assert np.corrcoef(image[beside][:, 0], gray[beside])[0, 1] > 0.9


def test_what_is_no_image_is_refused_and_the_node_goes_on(rig, street):
    empty = ROS_MESSAGES.image(street, "rgb8", Header())
    empty.width = empty.height = 0
    rig.send(empty)
    rig.process.wait_for_output("empty image: rgb8 image of 0×0")
    spin_until(rig.node, lambda: False, 1.1)  # the log is throttled
    short = ROS_MESSAGES.image(street, "rgb8", Header())
    short.data = short.data[:1000]
    rig.send(short)
    rig.process.wait_for_output("bytes of data, got 1000")
    rig.image_under(rig.send(ROS_MESSAGES.image(street, "rgb8", Header())))
    assert "Traceback" not in rig.process.output()


def test_live_parameters(rig, street, expected):
    assert rig.remote.set(classes="person, persn") == [
        "the model has no class 'persn': did you mean person?"
    ]
    (reason,) = rig.remote.set(confidence=1.5)
    assert "confidence" in reason
    assert "1.5" in reason
    (reason,) = rig.remote.set(model="other.onnx")
    assert "cannot change while the node is configured" in reason
    limit = float(expected.scores[:2].mean())
    assert rig.remote.set(confidence=limit) == []
    rig.state.clear()
    rig.send(ROS_MESSAGES.image(street, "rgb8", Header()))
    assert spin_until(rig.node, lambda: rig.state.get("objects in the last image") == "1")
    assert rig.remote.set(confidence=0.25, classes="car") == []
    rig.send(ROS_MESSAGES.image(street, "rgb8", Header()))
    assert spin_until(rig.node, lambda: rig.state.get("objects in the last image") == "0")
    assert rig.remote.set(classes="") == []


def test_class_names_are_a_parameter(rig):
    (values,) = rig.remote.get("class_names")
    assert (len(values), values[0], values[2]) == (80, "person", "car")


def test_the_rate_is_limited_and_what_is_left_out_is_counted(rig, street):
    assert rig.remote.set(max_rate_hz=0.1) == []
    key = "images above max_rate_hz"
    rig.state.clear()
    assert spin_until(rig.node, lambda: key in rig.state)
    before = int(rig.state[key])
    rig.images.clear()
    for _ in range(5):
        rig.send(ROS_MESSAGES.image(street, "rgb8", Header()))
    left_out = 4
    assert spin_until(rig.node, lambda: int(rig.state[key]) - before == left_out), rig.state
    assert spin_until(rig.node, lambda: rig.images)
    assert len(rig.images) == 1
    assert rig.remote.set(max_rate_hz=0.0) == []


@pytest.mark.parametrize(
    ("camera_hz", "limit_hz", "expected_hz"),
    [(30, 30, 30), (30, 20, 20), (30, 15, 15), (30, 10, 10), (60, 30, 30), (30, 0, 30), (9, 30, 9)],
)
def test_a_limit_lets_as_many_through_as_it_says(camera_hz, limit_hz, expected_hz):
    """The camera's images come up to 2 ms early or late."""
    rng, limit = np.random.default_rng(0), RateLimit()
    arrivals = np.arange(0, 60, 1 / camera_hz)
    arrivals += rng.uniform(-0.002, 0.002, arrivals.shape)
    passed = sum(limit.admits(now_s, limit_hz) for now_s in arrivals)
    assert passed / 60 == pytest.approx(expected_hz, rel=0.01)


@pytest.fixture
def thermal(pairs_root):
    image = cv2.imread(str(pairs_root / "llvip" / "ir" / "010001.jpg"), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(image, (640, 480))


@pytest.mark.parametrize("topic", ["fused/detection_image", "fused/image_raw"])
def test_fusion_and_detection_in_one_process(tmp_path, model, street, thermal, topic):
    """Nobody subscribes to the image: it goes from one node to the other in memory."""
    result = FusionPipeline("average", "cpu").fuse(street, thermal, detection_image=True)
    by_default = topic == "fused/detection_image"
    shown = result.detection_image if by_default else result.fused
    expected = Detector(DetectorConfig(model=str(model), device="cpu")).detect(shown)
    values = {"model": model, "variant": "average", **PATIENT}
    values |= {} if by_default else {"image_topic": topic}
    with (
        running(BOTH, *parameters(**values), *NAMESPACE, log=tmp_path / "log") as process,
        client(namespace="one_process") as node,
    ):
        process.wait_for_output("fusing with average on ")
        images, states = [], {}
        node.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            lambda m: states.update({s.name: {v.key: v.value for v in s.values} for s in m.status}),
            QOS,
        )
        visible = node.create_publisher(Image, "visible/image_raw", QOS)
        infrared = node.create_publisher(Image, "infrared/image_raw", QOS)
        wait_until_heard(node, visible, infrared)
        name, header = "/one_process/detector_node", Header(frame_id="rgb")
        header.stamp.sec = 99
        visible.publish(ROS_MESSAGES.image(street, "rgb8", header))
        infrared.publish(ROS_MESSAGES.image(thermal, "mono8", header))
        unwatched = "images unwatched"  # it came, though nobody wants to know what is in it
        assert spin_until(node, lambda: states.get(name, {}).get(unwatched) == "1"), states
        assert states[name]["received"] == "1"
        node.create_subscription(Image, "detections/image", images.append, QOS)
        assert spin_until(node, lambda: node.count_subscribers("detections/image"))
        spin_until(node, lambda: False, 0.5)  # until the node has found it, too
        header.stamp.sec = 100
        visible.publish(ROS_MESSAGES.image(street, "rgb8", header))
        infrared.publish(ROS_MESSAGES.image(thermal, "mono8", header))
        assert spin_until(node, lambda: images), process.output()
        assert images[0].header == header
        changed = (codec.decode_visible(images[0]) != shown).any(axis=2)
        for x1, y1, _, y2 in expected.boxes.round().astype(int).tolist():
            assert changed[(y1 + y2) // 2, max(0, x1 - 3) : x1 + 4].any()
        assert changed.mean() < 0.5
        assert spin_until(node, lambda: states.get(name, {}).get("published") == "1")
        assert states[name]["image topic"] == "in memory"
        assert states[name]["device"] in ("cpu", "cuda:0")  # not auto
        assert states[name]["objects in the last image"] == str(len(expected.scores))
        assert node.count_subscribers(topic) == 0
        assert process.interrupt() == 0
    assert "Traceback" not in process.output()


def test_a_detector_that_fails_does_not_take_fusion_down(tmp_path, model, street, thermal):
    values = {"model": model, "variant": "average", "device": "cpu", **PATIENT}
    namespace = ("-r", "__ns:=/broken")
    path = os.pathsep.join([str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as stack:
        with mock.patch.dict(os.environ, {"PYTHONPATH": path}):
            process = stack.enter_context(
                running(
                    "helpers.broken_detector",
                    *parameters(**values),
                    *namespace,
                    log=tmp_path / "log",
                )
            )
        node = stack.enter_context(client(namespace="broken"))
        process.wait_for_output("fusing with average on cpu")
        fused, boxes = [], []
        node.create_subscription(Image, "fused/image_raw", fused.append, QOS)
        node.create_subscription(Image, "detections/image", boxes.append, QOS)
        visible = node.create_publisher(Image, "visible/image_raw", QOS)
        infrared = node.create_publisher(Image, "infrared/image_raw", QOS)
        wait_until_heard(node, visible, infrared)
        expected = FusionPipeline("average", "cpu").fuse(street, thermal).fused
        for second in range(100, 103):
            header = Header(frame_id="rgb")
            header.stamp.sec = second
            visible.publish(ROS_MESSAGES.image(street, "rgb8", header))
            infrared.publish(ROS_MESSAGES.image(thermal, "mono8", header))
            assert spin_until(node, lambda s=second: fused and fused[-1].header.stamp.sec == s)
            assert np.array_equal(codec.decode_visible(fused[-1]), expected)
        process.wait_for_output("detection failed: RuntimeError('out of luck')")
        assert boxes == []
        assert process.interrupt() == 0
    assert "Traceback" not in process.output()


@needs_vision_msgs
def test_tracks_are_ids():
    names = {0: "person", 2: "car"}
    found = Detections(
        boxes=np.array([[10, 20, 30, 60], [0, 0, 5, 5]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        classes=np.array([2, 0]),
        tracks=np.array([7, UNTRACKED]),
    )
    header = Header(frame_id="camera")
    first, second = ROS_MESSAGES.detections(found, names, header).detections
    assert (first.id, second.id) == ("7", "")
    assert [d.results[0].hypothesis.class_id for d in (first, second)] == ["car", "person"]
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (20.0, 40.0)
    assert (first.bbox.size_x, first.bbox.size_y) == (20.0, 40.0)
