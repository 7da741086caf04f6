"""ultralytics where it or a package is missing, and kept from the network and the home folder."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.detectors import installed, needs_lap

from dreamif_model.errors import ConfigError
from dreamif_ros.detection import yolo

pytestmark = installed("ultralytics")


def test_without_ultralytics(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics.nn.tasks", None)
    with pytest.raises(ConfigError, match=r"pip install 'dreamif_ros\[detect\]'.*AGPL-3.0"):
        yolo.import_ultralytics.__wrapped__()


def test_with_a_torchvision_for_another_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # its import ends in an error
    yolo.import_ultralytics.__wrapped__()


def test_an_old_ultralytics(monkeypatch):
    yolo.import_ultralytics()
    monkeypatch.setattr("ultralytics.__version__", "8.3.99")
    with pytest.raises(ConfigError, match=r"ultralytics 8.3.99 is too old, expected 8.4.190"):
        yolo.import_ultralytics.__wrapped__()


def test_without_lap(monkeypatch):
    monkeypatch.setitem(sys.modules, "lap", None)
    with pytest.raises(ConfigError, match="tracker botsort needs the package lap: pip install lap"):
        yolo.Tracker("botsort")


REFUSING = """
import os, socket, subprocess, sys
asked = []
def refuse(*arguments, **options):
    asked.append(arguments)
    raise OSError("no network here")
for owner, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"),
                    (socket, "getaddrinfo"), (socket, "create_connection")):
    setattr(owner, name, refuse)
class Popen(subprocess.Popen):
    def __init__(self, command, *arguments, **options):
        if "pip" in str(command) or "uv" in str(command):
            refuse(command)
        super().__init__(command, *arguments, **options)
subprocess.Popen = Popen
"""
ALONE = (
    REFUSING
    + """
import cv2, numpy as np, torch
cv2.setNumThreads(3)
from dreamif_ros.detection.detector import Detector, DetectorConfig
detector = Detector(DetectorConfig(sys.argv[1], tracker="botsort", image_size=64))
detector.warm_up()
for _ in range(2):
    detector.detect(np.zeros((48, 64, 3), np.uint8))
assert asked == [], asked
assert cv2.getNumThreads() == 3
assert os.environ.get("OMP_NUM_THREADS") == "2", os.environ.get("OMP_NUM_THREADS")
assert "YOLO_CONFIG_DIR" not in os.environ
torch.save({"model": os.mkdir}, "code.pt")
try:
    Detector(DetectorConfig("code.pt"))
except Exception as error:
    assert "holds posix.mkdir" in str(error), error
os.remove("code.pt")
"""
)


@needs_lap
def test_nothing_is_asked_of_the_network_printed_or_left_behind(checkpoints, tmp_path):
    """In a process of its own, with a home that is empty."""
    home = tmp_path / "home"
    home.mkdir()
    odd = tmp_path / "it's mine" / "yolov5s.pt"  # names that ultralytics would look up
    odd.parent.mkdir()
    odd.write_bytes(checkpoints().read_bytes())
    names = {"YOLO_OFFLINE", "YOLO_AUTOINSTALL", "YOLO_CONFIG_DIR", "ULTRALYTICS_SAFE_LOAD"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(odd)],
        cwd=home,
        env=environment | {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_openvino_reports_nothing_to_its_makers(pairs_root, tmp_path):
    model = pairs_root.parent / "yolo11n_int8_openvino_model"
    code = """
import numpy as np
from dreamif_ros.detection.detector import Detector, DetectorConfig
Detector(DetectorConfig(sys.argv[1])).detect(np.zeros((48, 64, 3), np.uint8))
assert asked == [], asked
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", REFUSING + code, str(model)],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.rglob("*")) == []


def test_an_ultralytics_that_came_first_is_kept_offline_too(monkeypatch):
    yolo.import_ultralytics()
    monkeypatch.setattr("ultralytics.utils.checks.AUTOINSTALL", True)
    monkeypatch.setattr("ultralytics.nn.tasks.SAFE_LOAD", False)
    yolo.import_ultralytics.__wrapped__()
    from ultralytics.nn import tasks
    from ultralytics.utils import checks

    assert (checks.AUTOINSTALL, tasks.SAFE_LOAD) == (False, True)
