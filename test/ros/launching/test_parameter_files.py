"""Parameter files that are for one node only."""

import atexit
from pathlib import Path

import pytest
import yaml
from helpers import ROOT
from helpers.ros_processes import RemoteParameters, client, running

from dreamif_model import ConfigError
from dreamif_ros.launching import parameter_files
from dreamif_ros.launching.parameter_files import check_file, file_of_one_node


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(parameter_files.tempfile, "tempdir", str(tmp_path))


def test_a_missing_file_is_named_with_its_argument(tmp_path):
    with pytest.raises(ConfigError, match=r"^params_file: there is no file /nowhere\.yaml$"):
        check_file("params_file", "/nowhere.yaml")
    (tmp_path / "some.yaml").touch()
    assert check_file("params_file", str(tmp_path / "some.yaml")) == str(tmp_path / "some.yaml")


def test_the_file_goes_away_with_the_launch(tmp_path, monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda call, **how: at_exit.append((call, how)))
    (tmp_path / "given.yaml").write_text("/**: {ros__parameters: {}}")
    path = Path(file_of_one_node("fusion_node", str(tmp_path / "given.yaml"), {}))
    assert path.is_file()
    ((call, how),) = at_exit
    call(**how)
    assert not path.exists()


def test_a_file_for_all_becomes_one_for_its_node(tmp_path):
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
def test_a_file_that_is_none_is_named(tmp_path, text, words):
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"given\.yaml: {words}"):
        file_of_one_node("detector_node", path, {})


@pytest.mark.realtime
def test_in_one_process_each_node_has_its_own_file(tmp_path):
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
