"""The policies of config/sros2 grant what the nodes have, and nothing else.

Each executable creates and starts its nodes for real, in several configurations. What ROS's graph
then says of a node, in all of them together, is what its policy must grant.
"""

import re
import time
from itertools import count
from xml.etree import ElementTree

import pytest
import rclpy
from helpers import ROOT

from dreamif_ros.cli.view import TOPICS
from dreamif_ros.codec.ros_messages import installed_class
from dreamif_ros.detection import node as detection
from dreamif_ros.detection import pipeline_node as pipeline
from dreamif_ros.fusion import node as fusion
from dreamif_ros.simulation import node as simulation
from dreamif_ros.view.node import spinning_node

FILE = ROOT / "config" / "sros2" / "dreamif.policy.xml"
ENCLAVES = ("fusion_node", "detector_node", "pipeline_node", "simulated_cameras", "dreamif_view")
TIMEOUT_S = 30.0
NAMESPACES = map("/run{}".format, count())  # a node that was destroyed stays in the graph a while
DETECTIONS = ("publish", "/detections")
TEMPERATURES = ("-p", "thermal_statistics:=true")
COMPRESSED = ("-p", "image_transport:=compressed", "-p", "use_sim_time:=true")
FROM_TOPICS = """\
model: cameras
infrared: camera_info
visible: camera_info
rotation: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
translation: [0.1, 0, 0]
distance_m: 5.0
"""


def rights(node):
    """{(verb, topic or service)} of a node, by ROS's graph, less its namespace."""
    of = node.get_name(), node.get_namespace()
    listed = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
    }
    return {(verb, plain(topic)) for verb, ask in listed.items() for topic, _ in ask(*of)}


def plain(name):
    return re.sub(r"^/run\d+/", "/", name)


def known_rights(node):
    """Those that rclpy itself made; the graph learns of them a little later."""
    return {
        ("publish", "/rosout"),
        *(("publish", plain(publisher.topic_name)) for publisher in node.publishers),
        *(("subscribe", plain(subscription.topic_name)) for subscription in node.subscriptions),
        *(("reply", plain(service.service_name)) for service in node.services),
    }


def settled_rights(node):
    end = time.monotonic() + TIMEOUT_S
    while not known_rights(node) <= rights(node):
        assert time.monotonic() < end, known_rights(node) - rights(node)
        time.sleep(0.05)
    return rights(node)


def granted(enclave):
    """{node: rights} of an enclave, with relative names resolved as sros2 does it."""
    (found,) = ElementTree.parse(FILE).iterfind(f"enclaves/enclave[@path='/{enclave}']")
    has_vision_msgs = installed_class("vision_msgs/msg/Detection2DArray")
    lacking = set() if has_vision_msgs else {DETECTIONS}  # which needs them
    return {p.get("node"): set(expressions(p)) - lacking for p in found.iter("profile")}


def expressions(profile):
    private = f"{profile.get('ns')}{profile.get('node')}"
    for rules in profile:
        assert set(rules.attrib.values()) == {"ALLOW"}
        for expression in rules:
            name = expression.text
            full = name.replace("~", private) if name[0] in "~/" else profile.get("ns") + name
            yield from ((verb, full) for verb in rules.attrib)


def differences(found, enclave):
    """{node: (what it has and may not, what it may and has not)}."""
    policy = granted(enclave)
    return {
        node: (sorted(has - may), sorted(may - has))
        for node in found.keys() | policy.keys()
        if (has := found.get(node, set())) != (may := policy.get(node, set()))
    }


@pytest.fixture
def found(monkeypatch):
    """{node: rights} of all nodes that executables create by ``run_nodes``."""
    rights_by_node = {}

    def look(create, args):
        rclpy.init(args=[*args, "-r", f"__ns:={next(NAMESPACES)}"])
        nodes = []
        try:
            nodes += [make() for make in create]
            for node in nodes:
                if hasattr(node, "start"):
                    node.start()
            for node in nodes:
                rights_by_node.setdefault(node.get_name(), set()).update(settled_rights(node))
        finally:
            for node in nodes:
                if hasattr(node, "stop"):
                    node.stop()
                node.destroy_node()
            rclpy.try_shutdown()

    for module in (fusion, detection, pipeline, simulation):
        monkeypatch.setattr(module, "run_nodes", look)
    return rights_by_node


@pytest.fixture
def fusion_arguments(tmp_path):
    """Two configurations of the fusion node: together they have all of its topics."""
    path = tmp_path / "cameras.yaml"
    path.write_text(FROM_TOPICS)
    start = ["--ros-args", "-p", "variant:=average"]
    return [*start, "-p", f"registration.file:={path}"], [*start, *COMPRESSED]


def test_fusion_node(found, fusion_arguments):
    for arguments in fusion_arguments:
        fusion.main(arguments)
    assert differences(found, "fusion_node") == {}


def test_simulated_cameras(found):
    simulation.main(["--ros-args", "-p", "use_sim_time:=true"])
    assert differences(found, "simulated_cameras") == {}


def test_detector_node(found, model):
    for more in ([], COMPRESSED):
        detection.main(["--ros-args", "-p", f"model:={model}", *TEMPERATURES, *more])
    assert differences(found, "detector_node") == {}


def test_pipeline_node(found, fusion_arguments, model):
    for arguments in fusion_arguments:
        pipeline.main([*arguments, "-p", f"model:={model}", *TEMPERATURES])
    assert differences(found, "pipeline_node") == {}


def view(transport, ros_args):
    """The node of ``dreamif view``, which subscribes to what its page shows."""
    return spinning_node(TOPICS, transport, next(NAMESPACES), ros_args, print, pytest.fail)


def test_page():
    found = set()
    for transport, clock in (("raw", []), ("compressed", ["-p", "use_sim_time:=true"])):
        with view(transport, clock) as node:
            for topic in node.topics:
                topic.look(True)
                topic.update()
            found |= settled_rights(node)
    assert differences({"dreamif_view": found}, "dreamif_view") == {}


def test_there_is_one_enclave_for_each_executable(description):
    paths = [e.get("path") for e in ElementTree.parse(FILE).iterfind("enclaves/enclave")]
    assert sorted(paths) == sorted(f"/{name}" for name in ENCLAVES)
    commands = {e.partition(" ")[0] for e in description["entry_points"]["console_scripts"]}
    assert commands - {"dreamif"} == set(ENCLAVES) - {"dreamif_view"}
