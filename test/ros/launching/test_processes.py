"""What is handed to launch, which comes with a ROS installation only: a stand-in takes it here."""

import importlib
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from dreamif_model import ConfigError, DreamIFError
from dreamif_ros.launching import arguments

MODULE = "dreamif_ros.launching.processes"
LAUNCH = ("launch", "launch.actions", "launch.events", "launch.events.process")
LAUNCH += ("launch.substitutions", "launch_ros", "launch_ros.actions")
LAUNCH += ("launch_ros.parameter_descriptions",)


@pytest.fixture
def processes(monkeypatch):
    for name in LAUNCH:
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    for name in ("Node", "ExecuteProcess"):
        monkeypatch.setattr(module, name, lambda **options: options)
    monkeypatch.setattr(module, "LogInfo", lambda msg: msg)
    monkeypatch.setattr(module, "ParameterValue", lambda value, value_type: value_type(value))
    monkeypatch.setattr(module, "Shutdown", lambda reason: reason)
    monkeypatch.setattr(module, "get_package_prefix", lambda name: f"/prefix/{name}")
    monkeypatch.setattr(module, "get_package_share_directory", lambda name: f"/share/{name}")
    yield module
    sys.modules.pop(MODULE, None)  # the next one imports it anew, with launch as it is then


@pytest.fixture
def given(tmp_path):
    """The arguments of fusion.launch.py and their defaults, but for the files."""
    path = tmp_path / "params.yaml"
    path.write_text("/**: {ros__parameters: {}}")
    files = dict.fromkeys(["params_file", "detector_params_file"], str(path))
    return {
        argument.name: argument.default for argument in (*arguments.FUSION, *arguments.COMMON)
    } | files


def ended(node, status, is_shutdown=False):
    """What launch is to do when a process of this node has ended."""
    event = SimpleNamespace(returncode=status)
    return node["on_exit"](event, SimpleNamespace(is_shutdown=is_shutdown))


def test_a_node_that_ends_ends_the_launch(processes, given):
    nodes = processes.fusion_nodes(given | {"detector_model": "best.onnx"})
    ends = {node["executable"]: ended(node, 0) for node in nodes}
    assert ends == {
        "fusion_node": ["fusion_node has ended"],
        "detector_node": ["detector_node has ended"],
    }


def test_a_node_that_fails_makes_the_launch_fail(processes, given):
    (node,) = processes.fusion_nodes(given)
    with pytest.raises(DreamIFError, match=r"^fusion_node ended with status 1: its log"):
        ended(node, 1)
    assert ended(node, -2, is_shutdown=True) == []


def test_with_respawn_a_node_that_ends_is_started_again(processes, given):
    (node,) = processes.fusion_nodes(given | {"respawn": "True"})
    assert node["respawn"] is True
    assert node["respawn_delay"] == 2.0
    assert "on_exit" not in node


def test_arguments_become_parameters_and_the_others_change_nothing(processes, given):
    given |= {"variant": "tiny", "sync_slop": "0.1", "use_sim_time": "True"}
    given |= {"detector_model": "7"}
    fusion, detector = processes.fusion_nodes(given)
    assert fusion["parameters"] == [
        given["params_file"],
        {"variant": "tiny", "sync.slop_s": 0.1, "use_sim_time": True},
    ]
    assert detector["parameters"] == [
        given["detector_params_file"],
        {"model": "7", "use_sim_time": True},
    ]


@pytest.mark.parametrize(
    ("text", "topic"), [("detection", "fused/detection_image"), ("fused", "fused/image_raw")]
)
def test_the_detectors_input(processes, given, text, topic):
    given |= {"detector_model": "best.onnx", "detector_input": text}
    _, detector = processes.fusion_nodes(given)
    assert detector["parameters"][1] == {"model": "best.onnx", "image_topic": topic}


def test_one_process_without_a_detector_is_said(processes, given):
    text, node = processes.fusion_nodes(given | {"one_process": "true"})
    assert text == "one_process has no effect without detector_model"
    assert node["executable"] == "fusion_node"


@pytest.mark.parametrize("argument", ["params_file", "detector_params_file"])
def test_a_parameter_file_that_is_missing_is_an_error(processes, given, argument):
    given |= {argument: "/nowhere.yaml", "detector_model": "best.onnx"}
    with pytest.raises(ConfigError, match=f"^{argument}: there is no file /nowhere.yaml"):
        processes.fusion_nodes(given)


def test_topics_of_the_recorder_are_absolute(processes, given, tmp_path):
    given |= {"namespace": "rig", "record": str(tmp_path / "new"), "image_transport": "compressed"}
    (recorder,) = processes.extras(given | {"infrared_topic": "/thermal/image"})
    *command, regex = recorder["cmd"]
    assert command == ["ros2", "bag", "record", f"--output={tmp_path / 'new'}"]
    assert regex.startswith(
        "--regex=^(/thermal/image/compressed|/rig/visible/image_raw/compressed|"
    )
    assert "|/rig/fused/image_raw|" in regex
    assert regex.endswith("|/diagnostics)$")


def test_a_recording_is_not_overwritten(processes, given, tmp_path):
    with pytest.raises(ConfigError, match=f"^record: {tmp_path} exists"):
        processes.extras(given | {"record": str(tmp_path)})


def test_viewers_show_the_topics_of_the_arguments(processes, given):
    given |= {"rviz": "true", "view": "true", "visible_topic": "/cam", "namespace": "/rig"}
    rviz, view = processes.extras(given)
    assert rviz["remappings"][:3] == [
        ("/infrared/image_raw", "/rig/infrared/image_raw"),
        ("/visible/image_raw", "/cam"),
        ("/fused/image_raw", "/rig/fused/image_raw"),
    ]
    assert view["cmd"][1:4] == ["view", "--port=8787", "--namespace=/rig"]
    assert "visible/image_raw:=/cam" in view["cmd"]


def test_a_package_that_is_missing_is_named(processes, given, monkeypatch):
    missing = mock.Mock(side_effect=processes.PackageNotFoundError)
    monkeypatch.setattr(processes, "get_package_prefix", missing)
    with pytest.raises(DreamIFError, match=r"^rviz:=true needs the ROS package rviz2,"):
        processes.extras(given | {"rviz": "true"})
