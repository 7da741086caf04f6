"""YOLO networks run by OpenVINO alone, beside ultralytics."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT
from helpers.detectors import installed, needs_torchvision

from dreamif_ros.detection import yolo
from dreamif_ros.detection.letterbox import Letterbox
from dreamif_ros.detection.model_file import ModelFile, find_model
from dreamif_ros.detection.openvino_yolo import (
    OpenVINONetwork,
    choose_input_size,
    runs_alone,
    select_boxes,
)

pytestmark = installed("ultralytics")


@pytest.fixture(scope="module")
def alone(model):
    assert runs_alone(find_model(model))
    return OpenVINONetwork(find_model(model), "cpu", half=False)


@pytest.fixture(scope="module")
def theirs(model):
    return yolo.UltralyticsNetwork(find_model(model), "cpu", half=False)


@needs_torchvision
@pytest.mark.parametrize(
    ("confidence", "iou", "keys", "limit", "most"),
    [
        (0.25, 0.7, None, 300, 5),
        (0.02, 0.5, None, 300, 20),
        (0.05, 0.7, [0, 24], 7, 7),
        (0.95, 0.7, None, 9, 0),
    ],
)
def test_openvino_alone_finds_what_ultralytics_finds(
    alone, theirs, street, confidence, iou, keys, limit, most
):
    """most: boxes at least in the picture with the most of them."""
    assert (alone.names, alone.device) == (theirs.names, theirs.device)
    assert alone.input_size(0) == theirs.input_size(0) == ((640, 640), None)
    found = []
    for picture in (street, street[:, ::-1], 255 - street, street[100:300, 50:250]):
        pixels = Letterbox.fit(picture.shape[:2], (640, 640)).fill(picture)
        ours = alone.find(pixels, confidence, iou, keys, limit)
        expected = theirs.find(pixels, confidence, iou, keys, limit)
        np.testing.assert_allclose(ours[:, :4], expected[:, :4], atol=0.1)
        np.testing.assert_allclose(ours[:, 4], expected[:, 4], atol=1e-3)
        assert ours[:, 5].tolist() == expected[:, 5].tolist()
        assert ours.dtype == expected.dtype == np.float32
        found.append(len(ours))
    assert most <= max(found) <= limit
    assert most or max(found) == 0


def candidates(*boxes, classes=3):
    """(N, 4 + classes) of boxes: centre x, score and class, 20 pixels wide and high."""
    rows = np.zeros((len(boxes), 4 + classes), np.float32)
    for row, (x, score, key) in zip(rows, boxes, strict=True):
        row[:4] = x, 50, 20, 20
        row[4 + key] = score
    return rows


CROWD = candidates(
    (55, 0.6, 0),  # 60 % of the best, and more of one that is not given itself
    (52, 0.8, 0),  # 82 % of the best
    (50, 0.9, 0),
    (52, 0.7, 1),  # of another class
    (200, 0.3, 2),
    (300, 0.25, 2),  # not above
    (400, 0.1, 0),
)


@pytest.mark.parametrize(
    ("iou", "keys", "limit", "expected"),
    [
        (0.7, None, 9, [(50, 0.9, 0), (52, 0.7, 1), (55, 0.6, 0), (200, 0.3, 2)]),
        (0.5, None, 9, [(50, 0.9, 0), (52, 0.7, 1), (200, 0.3, 2)]),
        (0.9, None, 3, [(50, 0.9, 0), (52, 0.8, 0), (52, 0.7, 1)]),
        (0.7, [1, 2], 9, [(52, 0.7, 1), (200, 0.3, 2)]),
        (0.7, [], 9, []),
    ],
)
def test_boxes_without_their_duplicates(iou, keys, limit, expected):
    found = select_boxes(CROWD, 0.25, iou, keys, limit)
    wanted = [(x - 10, 40, x + 10, 60, score, key) for x, score, key in expected]
    np.testing.assert_allclose(found, np.array(wanted).reshape(-1, 6), atol=1e-5)
    assert (found.shape, found.dtype) == ((len(expected), 6), np.float32)


def test_nothing_above_the_confidence_and_no_candidates():
    for rows in (CROWD, CROWD[:0]):
        assert select_boxes(rows, 0.95, 0.7, None, 9).shape == (0, 6)


def test_boxes_of_two_classes_never_meet():
    """Not in two corners either, where one of them is outside of the image in part."""
    rows = candidates((0, 0.8, 1), (640, 0.9, 0))
    rows[:, 1] = 0, 640
    assert select_boxes(rows, 0.25, 0.0, None, 9)[:, 5].tolist() == [0, 1]


@pytest.mark.parametrize("iou", [0.1, 0.45, 0.8])
@pytest.mark.parametrize("keys", [None, [0, 2]])
def test_boxes_of_a_crowd_are_those_that_ultralytics_selects(rng, iou, keys):
    yolo.import_ultralytics()
    from ultralytics.utils.nms import non_max_suppression

    places = rng.uniform((0, 0, 20, 20), (200, 200, 90, 90), (400, 4))
    rows = np.hstack((places, rng.random((400, 3)) ** 3)).astype(np.float32)
    [expected] = non_max_suppression(
        torch.from_numpy(rows.T[None].copy()), 0.2, iou, keys, max_det=50, nc=3
    )
    found = select_boxes(rows, 0.2, iou, keys, 50)
    assert len(found) > 10
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("image_size", "stride", "expected"),
    [(0, 32, ((384, 640), 32)), (100, 32, ((128, 128), 32)), (640, None, ((370, 640), None))],
)
def test_input_sizes(image_size, stride, expected):
    assert choose_input_size(Path("m"), image_size, (370, 640), stride) == expected


DETECTS = {"task": "detect", "names": {0: "person"}, "stride": 32}


@pytest.mark.parametrize(
    "metadata",
    [
        DETECTS | {"task": "obb"},
        DETECTS | {"names": ["person"]},
        DETECTS | {"names": {"first": "person"}},
        DETECTS | {"channels": 1},
        DETECTS | {"end2end": True},
        DETECTS | {"args": {"nms": True}},
        {"task": "detect"},
        [DETECTS],
        None,
    ],
)
def test_what_openvino_alone_does_not_run(tmp_path, metadata):
    file = ModelFile(tmp_path, "openvino")
    assert not runs_alone(file)  # there is no metadata
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump(DETECTS | {"args": {"nms": False}}))
    assert runs_alone(file)
    assert not runs_alone(ModelFile(tmp_path, "onnx"))
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert not runs_alone(file)


LEAN = """
import sys
import numpy as np
from dreamif_ros.detection.detector import Detector, DetectorConfig
detector = Detector(DetectorConfig(sys.argv[1]))
detector.warm_up()
print(len(detector.detect(np.load(sys.argv[2])).boxes))
assert "openvino" in sys.modules
loaded = [name for name in sys.modules if name.partition(".")[0] in ("torch", "ultralytics")]
assert loaded == [], loaded
"""


def test_openvino_without_a_tracker_loads_neither_torch_nor_ultralytics(model, street, tmp_path):
    np.save(tmp_path / "street.npy", street)
    done = subprocess.run(
        [sys.executable, "-c", LEAN, model, tmp_path / "street.npy"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 5
