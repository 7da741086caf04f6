"""What the launch file hands to its nodes; launch itself comes with a ROS installation only."""

import atexit
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml
from helpers import ROOT
from helpers.ros_processes import RemoteParameters, client, running

LAUNCH = ("launch", "launch.actions", "launch.substitutions", "launch_ros", "launch_ros.actions")
LAUNCH += ("launch_ros.parameter_descriptions", "launch_ros.substitutions")


@pytest.fixture
def launch_file(monkeypatch):
    for name in LAUNCH:
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    spec = importlib.util.spec_from_file_location("file", ROOT / "launch" / "fusion.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(launch_file, tmp_path, **arguments):
    """What the launch file returns for these arguments: executables of nodes, and texts."""
    (tmp_path / "params.yaml").write_text("/**: {ros__parameters: {}}")
    path = str(tmp_path / "params.yaml")
    values = dict.fromkeys([*launch_file.GENERAL, *launch_file.OVERRIDES], "")
    values |= {"params_file": path, "detector_params_file": path, **arguments}
    launch_file.LaunchConfiguration = lambda name: SimpleNamespace(perform=lambda _: values[name])
    launch_file.LogInfo = lambda msg: msg
    launch_file.Node = lambda **options: options
    launch_file.ParameterValue = lambda value, value_type: value_type(value)
    launch_file.Shutdown = lambda reason: reason
    return launch_file.nodes(None)


def test_a_node_that_ends_ends_the_launch(launch_file, tmp_path):
    nodes = launched(launch_file, tmp_path, detector_model="best.onnx")
    ends = {node["executable"]: node["on_exit"] for node in nodes}
    assert ends == {
        "fusion_node": "fusion_node has ended",
        "detector_node": "detector_node has ended",
    }


@pytest.mark.parametrize("argument", ["params_file", "detector_params_file"])
def test_a_parameter_file_that_is_missing_is_an_error(launch_file, tmp_path, argument):
    given = {argument: "/nowhere.yaml", "detector_model": "best.onnx"}
    with pytest.raises(FileNotFoundError, match=f"^{argument}: there is no file /nowhere.yaml"):
        launched(launch_file, tmp_path, **given)


def test_one_process_without_a_detector_is_said(launch_file, tmp_path):
    text, node = launched(launch_file, tmp_path, one_process="true")
    assert text == "one_process has no effect without detector_model"
    assert node["executable"] == "fusion_node"


@pytest.mark.parametrize(
    ("given", "topic"), [("detection", "fused/detection_image"), ("fused", "fused/image_raw")]
)
def test_the_detectors_input(launch_file, tmp_path, given, topic):
    model = {"detector_model": "best.onnx"}
    _, detector = launched(launch_file, tmp_path, **model, detector_input=given)
    assert detector["parameters"][1] == {"model": "best.onnx", "image_topic": topic}
    _, detector = launched(launch_file, tmp_path, **model)  # as in detector_params_file
    assert detector["parameters"][1] == {"model": "best.onnx"}


def test_use_sim_time_is_true_or_false(launch_file, tmp_path):
    assert launch_file.CHOICES["use_sim_time"] == ["", "true", "false", "True", "False"]
    for text, value in (("true", True), ("False", False)):
        (node,) = launched(launch_file, tmp_path, use_sim_time=text)
        assert node["parameters"][1] == {"use_sim_time": value}


def test_files_of_one_node_go_away_with_the_launch(launch_file, tmp_path, monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda call, **how: at_exit.append((call, how)))
    (node,) = launched(launch_file, tmp_path, detector_model="best.onnx", one_process="true")
    assert all(Path(path).is_file() for path in node["parameters"])
    for call, how in at_exit:
        call(**how)
    assert not any(Path(path).exists() for path in node["parameters"])


@pytest.fixture
def file_of_one_node(launch_file, monkeypatch, tmp_path):
    monkeypatch.setattr(launch_file.tempfile, "tempdir", str(tmp_path))
    return launch_file._file_of_one_node


def test_a_file_for_all_becomes_one_for_its_node(file_of_one_node, tmp_path):
    given = {
        "/**": {"ros__parameters": {"device": "cpu", "jpeg_quality": 80}},
        "/**/detector_node": {"ros__parameters": {"jpeg_quality": 70}},
        "another_node": {"ros__parameters": {"device": "cuda"}},
    }
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(given))
    written = Path(file_of_one_node("detector_node", path, {"half": True})).read_text()
    values = {"device": "cpu", "jpeg_quality": 70, "half": True}
    assert yaml.safe_load(written) == {"/**/detector_node": {"ros__parameters": values}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/**: {device: cpu}", r"/\*\* has no ros__parameters"),
        ("- device", "expected node names, each with ros__parameters"),
    ],
)
def test_a_file_that_is_none_is_named(file_of_one_node, tmp_path, text, words):
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"given\.yaml: {words}"):
        file_of_one_node("detector_node", path, {})


@pytest.mark.realtime
def test_in_one_process_each_node_has_its_own_file(file_of_one_node, tmp_path):
    """Though the shipped files are for all nodes, and both have these parameters."""
    given = {"fusion_node": 50, "detector_node": 60}
    arguments = ["--ros-args", "-r", "__ns:=/own_files"]
    for node, quality in given.items():
        shipped = ROOT / "config" / f"{node.removesuffix('_node')}.yaml"
        overrides = {"jpeg_quality": quality, "autostart": False}
        arguments += ["--params-file", file_of_one_node(node, shipped, overrides)]
    with (
        running("dreamif_ros.detection.pipeline_node", *arguments, log=tmp_path / "log") as process,
        client(namespace="own_files") as own,
    ):
        process.wait_for_output("autostart is false")
        found = {node: RemoteParameters(own, node).get("jpeg_quality")[0] for node in given}
        assert found == given
        assert process.interrupt() == 0
