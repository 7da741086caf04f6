"""The RViz configuration and the Foxglove layout: their form, and that nodes publish their topics.

Neither program is here: what they take was read from their sources.
"""

import json
import re

import pytest
import yaml
from helpers import ROOT
from helpers.ros_processes import spin_until

from dreamif_ros.detection import detection_outputs

CONFIG = ROOT / "config"
STREAMS = {
    "/infrared/image_raw",
    "/visible/image_raw",
    "/fused/image_raw",
    "/dominance/overlay",
    "/detections/image",
}
OTHERS = {"/fused/camera_info", "/fusion_mode", "/diagnostics"}
IMAGE_KEYS = {"Class", "Enabled", "Name", "Topic", "Value"} | {
    "Max Value",
    "Median window",
    "Min Value",
    "Normalize Range",
}
# Words that rviz_common's QoS properties know.
POLICIES = {
    "Durability Policy": {"Volatile", "Transient Local", "System Default"},
    "History Policy": {"Keep Last", "Keep All", "System Default"},
    "Reliability Policy": {"Reliable", "Best Effort", "System Default"},
}
DIAGNOSTIC = re.compile(
    r'/diagnostics\.status\[:\]\{name=="([^"]+)"\}\.values\[:\]\{key=="([^"]+)"\}\.value'
)


@pytest.fixture(scope="module")
def rviz():
    return yaml.safe_load((CONFIG / "dreamif.rviz").read_text())


@pytest.fixture(scope="module")
def displays(rviz):
    return rviz["Visualization Manager"]["Displays"]


@pytest.fixture(scope="module")
def foxglove():
    return json.loads((CONFIG / "foxglove_layout.json").read_text())


@pytest.fixture(scope="module")
def published(module_rig):
    """Types by topic of what a fusion node and its cameras publish, and a detector would."""
    detections = {
        f"/{name}": "sensor_msgs/msg/Image"
        for name, encoding in detection_outputs._IMAGES.items()
        if encoding == "rgb8"
    }
    node = module_rig.node

    def known():
        topics = node.get_topic_names_and_types()
        return {name: types[0] for name, types in topics if node.count_publishers(name)}

    # Nodes are discovered one topic after the other; a test says which one is not there.
    spin_until(node, lambda: known().keys() | detections.keys() >= STREAMS | OTHERS, 10.0)
    return known() | detections


def test_rviz_shows_every_stream_that_nodes_publish(displays, published):
    topics = [display["Topic"]["Value"] for display in displays]
    assert len(topics) == len(set(topics))
    assert set(topics) == STREAMS
    assert {published[topic] for topic in topics} == {"sensor_msgs/msg/Image"}


def test_rviz_displays_have_the_properties_of_its_image_display(displays):
    for display in displays:
        assert display["Class"] == "rviz_default_plugins/Image"
        assert set(display) == IMAGE_KEYS
        assert display["Enabled"] is display["Value"] is True
        topic = display["Topic"]
        assert set(topic) == {"Depth", "Value", *POLICIES}
        assert 0 < topic["Depth"] <= 10
        assert all(topic[policy] in words for policy, words in POLICIES.items())


def test_rviz_hears_the_cameras_and_gets_whole_images_of_our_nodes(displays):
    reliable = {
        display["Topic"]["Value"]
        for display in displays
        if display["Topic"]["Reliability Policy"] == "Reliable"
    }
    assert reliable == STREAMS - {"/infrared/image_raw", "/visible/image_raw"}


def test_rviz_has_a_window_for_every_display(rviz, displays):
    names = [display["Name"] for display in displays] + ["Displays"]
    geometry = rviz["Window Geometry"]
    assert [name for name in geometry if isinstance(geometry[name], dict)] == names
    state = bytes.fromhex(geometry["QMainWindow State"])
    docks = [name.encode("utf-16-be") for name in names]
    places = [state.index(len(dock).to_bytes(4, "big") + dock) for dock in docks]
    assert places == sorted(places)  # row by row
    assert rviz["Visualization Manager"]["Global Options"]["Fixed Frame"] == "visible_optical"


def leaves(layout):
    if isinstance(layout, str):
        return [layout]
    assert set(layout) == {"direction", "first", "second", "splitPercentage"}
    assert layout["direction"] in ("row", "column")
    assert 0 < layout["splitPercentage"] < 100
    return leaves(layout["first"]) + leaves(layout["second"])


def test_foxglove_lays_out_every_panel_once(foxglove):
    assert set(foxglove) == {
        "configById",
        "globalVariables",
        "layout",
        "playbackConfig",
        "userNodes",
    }
    panels = leaves(foxglove["layout"])
    assert sorted(panels) == sorted(foxglove["configById"])
    assert all(re.fullmatch(r"[A-Za-z]+![a-z]+", panel) for panel in panels)


def panels_of(foxglove, kind):
    return [c for name, c in foxglove["configById"].items() if name.split("!")[0] == kind]


def test_foxglove_shows_every_stream_that_nodes_publish(foxglove, published):
    images = [panel["imageMode"] for panel in panels_of(foxglove, "Image")]
    assert {image["imageTopic"] for image in images} == STREAMS
    assert len(images) == len(STREAMS)
    assert {published[image["imageTopic"]] for image in images} == {"sensor_msgs/msg/Image"}
    calibrated = {i["imageTopic"]: i["calibrationTopic"] for i in images if "calibrationTopic" in i}
    assert calibrated == {"/fused/image_raw": "/fused/camera_info"}
    assert published["/fused/camera_info"] == "sensor_msgs/msg/CameraInfo"
    (thermal,) = [image for image in images if "minValue" in image]
    assert thermal["imageTopic"] == "/infrared/image_raw"
    assert thermal["minValue"] == 27315  # 0 °C in the counts of simulated_cameras
    assert thermal["maxValue"] == 27315 + 40 * 100


def test_foxglove_follows_the_mode_and_the_diagnostics(foxglove, published):
    (states,) = panels_of(foxglove, "StateTransitions")
    (path,) = states["paths"]
    assert path["value"] == "/fusion_mode.data"
    assert published["/fusion_mode"] == "std_msgs/msg/String"
    (summary,) = panels_of(foxglove, "DiagnosticSummary")
    assert published[summary["topicToRender"]] == "diagnostic_msgs/msg/DiagnosticArray"


def test_foxglove_plots_what_the_node_reports(foxglove, module_rig):
    rig = module_rig
    assert spin_until(rig.node, lambda: rig.heard, 30.0)  # there are latencies to tell
    rig.counts()  # the next diagnostics have come
    reported = {
        (status.name, item.key): item.value
        for status in rig.statuses.values()
        for item in status.values
    }
    paths = [path for plot in panels_of(foxglove, "Plot") for path in plot["paths"]]
    assert len(paths) == 5
    for path in paths:
        name, key = DIAGNOSTIC.fullmatch(path["value"]).groups()
        assert float(reported[name, key]) >= 0
        assert path["enabled"] is True
