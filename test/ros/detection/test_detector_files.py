"""Files that are no model are refused in one line, and nothing in them is run."""

import importlib.util
import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from helpers.detectors import (
    MODEL,
    installed,
)

from dreamif_model.errors import ConfigError, WeightsError
from dreamif_ros.detection.detector import Detector, DetectorConfig
from dreamif_ros.detection.model_file import find_model

pytestmark = installed("ultralytics")


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_checkpoint_is_run(tmp_path):
    trap = tmp_path / "sprung"
    torch.save({"model": RunsCode(trap)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": RunsCode(trap)}))
    with pytest.raises(WeightsError, match=r"zip.pt holds posix.mkdir, .* nothing in it was run"):
        Detector(DetectorConfig(str(tmp_path / "zip.pt")))
    with pytest.raises(WeightsError, match=r"plain.pt .*nothing in it was run"):
        Detector(DetectorConfig(str(tmp_path / "plain.pt")))
    assert not trap.exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)  # the trap itself works
    assert trap.exists()


def test_a_model_that_is_not_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    for name in ("yolo11n.pt", "yolo11n", "https://example.org/yolo11n.pt", "~nobody/a.pt"):
        with pytest.raises(WeightsError, match=r"nothing is downloaded: get one from|is no path"):
            Detector(DetectorConfig(name))
    with pytest.raises(WeightsError, match=f"there is no model {tmp_path}/yolo11n.pt"):
        find_model("yolo11n.pt")
    with pytest.raises(WeightsError, match=r"is no path|there is no model"):
        find_model("a\0.pt")
    assert list(tmp_path.iterdir()) == []


def forbidden(*arguments, **_):
    raise AssertionError(f"asked the network: {arguments}")


@pytest.mark.parametrize("name", ["text.pt", "cut.pt", "weights.pt", "text.torchscript"])
def test_damaged_files(checkpoints, tmp_path, name):
    path = tmp_path / name
    if name == "cut.pt":
        whole = checkpoints().read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "weights.pt":
        torch.save({"layer.weight": torch.zeros(3)}, path)
    else:
        path.write_text("not a model\n")
    with pytest.raises(WeightsError, match=f"{name} .*damaged") as caught:
        Detector(DetectorConfig(str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", b"", "none.pt is empty"),
        ("notes.txt", b"text", r"an unknown format: expected .pt, .onnx"),
        ("network.safetensors", b"text", "an unknown format"),
    ],
)
def test_files_that_are_no_model(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        find_model(str(tmp_path / name))


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="has onnxruntime")
def test_a_format_whose_package_is_missing(tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"onnx needs the package onnxruntime.*pip install onnxr"):
        Detector(DetectorConfig(str(tmp_path / "network.onnx")))


@installed("onnxruntime")
def test_a_damaged_onnx_file(tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="cannot be loaded as onnx"):
        Detector(DetectorConfig(str(tmp_path / "network.onnx")))


@pytest.fixture
def folder(model, tmp_path):
    """A copy of the real model that a test may damage."""
    copy = tmp_path / MODEL
    copy.mkdir()
    for path in Path(model).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_damaged_folders(folder):
    (folder / "metadata.yaml").rename(folder / "elsewhere.yaml")
    with pytest.raises(WeightsError, match="lacks ultralytics' metadata, which tells its task"):
        Detector(DetectorConfig(str(folder)))
    (folder / "metadata.yaml").write_text("names: [")
    with pytest.raises(WeightsError, match="lacks ultralytics' metadata"):
        Detector(DetectorConfig(str(folder)))
    (folder / "elsewhere.yaml").rename(folder / "metadata.yaml")
    (folder / "yolo11n.xml").write_text("<net")
    with pytest.raises(WeightsError, match="cannot be loaded as openvino") as caught:
        Detector(DetectorConfig(str(folder)))
    assert "\n" not in str(caught.value)
    (folder / "yolo11n.bin").unlink()
    with pytest.raises(WeightsError, match=r"lacks yolo11n.bin"):
        Detector(DetectorConfig(str(folder)))
    (folder / "yolo11n.xml").unlink()
    with pytest.raises(WeightsError, match=r"has 0 files \*.xml"):
        Detector(DetectorConfig(str(folder)))


def test_a_folder_of_another_kind_of_network(folder):
    said = yaml.safe_load((folder / "metadata.yaml").read_text())
    (folder / "metadata.yaml").write_text(yaml.safe_dump(said | {"names": {0: "one", 1: "two"}}))
    with pytest.raises(WeightsError, match=r"shape \(1, 84, 8400\).*no YOLO network of 2 classes"):
        Detector(DetectorConfig(str(folder))).warm_up()


def test_a_cut_weights_file_of_a_folder(folder):
    weights = folder / "yolo11n.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded as openvino"):
        Detector(DetectorConfig(str(folder)))


def test_a_folder_of_another_name(folder):
    renamed = folder.rename(folder.with_name("model"))
    with pytest.raises(WeightsError, match=r"must be named \*_openvino_model: rename it"):
        Detector(DetectorConfig(str(renamed)))
