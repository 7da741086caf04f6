"""The real picture, and detectors, for all modules of this folder."""

import importlib.util

import cv2
import pytest
import torch

from dreamif_ros.detection import yolo
from dreamif_ros.detection.detector import Detector, DetectorConfig


@pytest.fixture(scope="session")
def torchvision():
    """Without it ultralytics' own predictor fails, and equal scores come in another order."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        pytest.skip("needs a torchvision for this build of torch")


@pytest.fixture(scope="session")
def street(pairs_root):
    """(512, 640, 3) RGB: six people."""
    picture = cv2.imread(str(pairs_root / "llvip" / "vi" / "010001.jpg"))
    return cv2.cvtColor(
        cv2.resize(picture, (640, 512), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
    )


@pytest.fixture(scope="module")
def shared_detector(model):
    return Detector(DetectorConfig(model))


@pytest.fixture
def detector(shared_detector):
    """With that model; its settings are put back after the test."""
    before = shared_detector.config
    yield shared_detector
    shared_detector.config = before


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Makes checkpoints of random networks, one for each task."""
    yolo.import_ultralytics()
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("checkpoints")

    def make(task="", family="yolo11n"):
        path = folder / f"{family}{task}.pt"
        if not path.exists():
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(0)
                network = YOLO(f"{family}{task}.yaml")
            if task != "-cls":  # else it is sure of nothing
                for branch in network.model.model[-1].cv3:
                    torch.nn.init.normal_(branch[-1].bias, std=1.0)
            network.save(path)
        return path

    return make


@pytest.fixture
def ultralytics():
    return pytest.importorskip("ultralytics", reason="needs ultralytics")
