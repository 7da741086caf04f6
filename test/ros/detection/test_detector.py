"""The detector: real ultralytics, the real model where it is there, random ones of other tasks."""

import importlib.util
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT

from dreamif_model.errors import ConfigError, DeviceError, ImageError, WeightsError
from dreamif_ros.detection import yolo
from dreamif_ros.detection.detector import UNTRACKED, Detector, DetectorConfig
from dreamif_ros.detection.letterbox import Letterbox
from dreamif_ros.detection.model_file import ModelFile, find_model
from dreamif_ros.detection.openvino_yolo import (
    OpenVINONetwork,
    choose_input_size,
    runs_alone,
    select_boxes,
)

MODEL = "yolo11n_int8_openvino_model"
PERSON = 0


def installed(*names):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def fitting_torchvision():
    """Without it ultralytics' own predictor fails, and equal scores come in another order."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        return False
    return True


pytestmark = installed("ultralytics")
needs_torchvision = pytest.mark.skipif(
    not fitting_torchvision(), reason="needs a torchvision for this build of torch"
)
needs_lap = installed("lap")
needs_openvino = installed("openvino")


@pytest.fixture(scope="session")
def model(pairs_root):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs openvino")
    folder = pairs_root.parent / MODEL
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return str(folder)


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


def assert_same(a, b):
    assert a.classes.tolist() == b.classes.tolist()
    np.testing.assert_allclose(a.boxes, b.boxes)
    np.testing.assert_allclose(a.scores, b.scores)


# What is found


def test_finds_the_people_of_a_real_picture(detector, street):
    found = detector.detect(street)
    assert [detector.names[key] for key in found.classes] == ["person"] * len(found.classes)
    assert len(found.scores) >= 5
    assert found.scores.max() > 0.6
    assert (np.diff(found.scores) <= 0).all()
    assert found.tracks is None
    kinds = found.boxes.dtype, found.scores.dtype, found.classes.dtype
    assert kinds == (np.float32, np.float32, np.int64)


@needs_torchvision
@pytest.mark.parametrize("size", [(640, 512), (480, 360), (333, 500)])
def test_finds_what_ultralytics_itself_finds(detector, model, street, size):
    from ultralytics import YOLO

    picture = cv2.resize(street, size)
    theirs = YOLO(model, task="detect").predict(picture[..., ::-1].copy(), verbose=False)[0].boxes
    ours = detector.detect(picture)
    assert len(ours.boxes) > 0
    np.testing.assert_allclose(ours.boxes, theirs.xyxy.numpy(), atol=1e-2)
    np.testing.assert_allclose(ours.scores, theirs.conf.numpy(), atol=1e-4)
    assert ours.classes.tolist() == theirs.cls.int().tolist()


def test_channels_are_red_green_blue(detector, street):
    swapped = detector.detect(street[..., ::-1])
    assert swapped.scores[:3].tolist() != detector.detect(street).scores[:3].tolist()


def test_gray_is_a_colour_image_of_equal_channels(detector, street):
    gray = cv2.cvtColor(street, cv2.COLOR_RGB2GRAY)
    found = detector.detect(gray)
    assert len(found.boxes) > 2
    assert_same(found, detector.detect(np.repeat(gray[..., None], 3, 2)))


def test_arrays_that_are_views_or_read_only(detector, street):
    plain = detector.detect(np.ascontiguousarray(street[:, ::-1]))
    assert_same(detector.detect(street[:, ::-1]), plain)
    locked = street.copy()
    locked.flags.writeable = False
    assert_same(detector.detect(locked), detector.detect(street))


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (7, 5), (700, 1400)])
def test_any_size_amid_a_stream(detector, street, shape):
    picture = cv2.resize(street, shape[::-1])
    found = detector.detect(picture)
    height, width = shape
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert len(detector.detect(street).boxes) > 4


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "are uint8, got float32"),
        (np.zeros((8, 8), np.uint16), "are uint8, got uint16"),
        (np.zeros((8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"got \(1, 8, 8, 3\)"),
        (np.zeros(8, np.uint8), r"got \(8,\)"),
        (np.zeros((0, 8, 3), np.uint8), r"empty: its shape is \(0, 8, 3\)"),
        (np.zeros((8, 0), np.uint8), r"empty: its shape is \(8, 0\)"),
        ([[1]], "an image is an array, got list"),
        (torch.zeros(8, 8, dtype=torch.uint8), "an image is an array, got Tensor"),
    ],
)
def test_images_that_cannot_be_used(detector, image, message):
    with pytest.raises(ImageError, match=message):
        detector.detect(image)


def test_threads_may_share_a_detector(detector, street):
    pictures = [street, street[:, ::-1], street[:300]]
    alone = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(detector.detect, pictures * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        assert_same(found, expected)


# What is asked for


def changed(detector, **fields):
    detector.config = DetectorConfig(detector.config.model, **fields)
    return detector


def test_settings_that_may_change_take_effect(detector, street):
    everything = detector.detect(street)
    best = changed(detector, max_detections=2).detect(street)
    np.testing.assert_array_equal(best.boxes, everything.boxes[:2])
    sure = changed(detector, confidence=0.6).detect(street)
    assert sure.scores.tolist() == [s for s in everything.scores.tolist() if s > 0.6]
    cars = changed(detector, classes=("car", "bus")).detect(street)
    assert len(cars.boxes) == 0
    assert cars.boxes.shape == (0, 4)
    people = changed(detector, classes=("car", "person")).detect(street)
    np.testing.assert_array_equal(people.boxes, everything.boxes)
    overlapping = changed(detector, iou=1.0).detect(street)
    assert len(overlapping.boxes) > len(everything.boxes)


def test_a_class_that_the_model_lacks_is_named_with_those_alike(detector, model):
    with pytest.raises(ConfigError, match=r"no class 'persn': did you mean person"):
        changed(detector, classes=("car", "persn"))
    assert detector.config.classes == ()
    with pytest.raises(ConfigError, match=r"'zzzz': it knows person, bicycle.* and 70 more"):
        Detector(DetectorConfig(model, classes=("zzzz",)))


def test_what_is_loaded_does_not_change(detector):
    with pytest.raises(ConfigError, match=r"half, tracker cannot change in a detector"):
        changed(detector, half=True, tracker="bytetrack")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"confidence": 1.5}, "confidence is 1.5, expected 0 to 1"),
        ({"confidence": float("nan")}, "confidence is nan"),
        ({"confidence": "high"}, "confidence is 'high'"),
        ({"iou": -0.1}, "iou is -0.1, expected 0 to 1"),
        ({"max_detections": 0}, "max_detections is 0, expected 1 to 10000"),
        ({"max_detections": True}, "max_detections is True"),
        ({"image_size": -1}, "image_size is -1"),
        ({"image_size": 640.5}, "image_size is 640.5"),
        ({"classes": "person"}, "classes is 'person', expected a tuple"),
        ({"tracker": "sort"}, "unknown tracker 'sort': choose none, bytetrack, botsort"),
        ({"model": ""}, "model of the detector is ''"),
        ({"device": None}, "device of the detector is None"),
    ],
)
def test_settings_out_of_range(fields, message):
    with pytest.raises(ConfigError, match=message):
        DetectorConfig(**{"model": "yolo11n.pt", **fields})


def test_a_model_exported_for_one_size_takes_no_other(model):
    assert Detector(DetectorConfig(model, image_size=640)).config.image_size == 640
    with pytest.raises(ConfigError, match=r"image_size is 320, but .* was exported for 640"):
        Detector(DetectorConfig(model, image_size=320))


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_devices_that_are_not_there(model, checkpoints, tmp_path):
    with pytest.raises(DeviceError, match=r"is for OpenVINO, which does not run on cuda: use devi"):
        Detector(DetectorConfig(model, device="cuda"))
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        Detector(DetectorConfig(str(checkpoints()), device="cuda"))
    for path in (model, str(checkpoints())):
        with pytest.raises(ConfigError, match="unknown device 'gpu'"):
            Detector(DetectorConfig(path, device="gpu"))
    with pytest.raises(ConfigError, match=r"half is for .*_openvino_model is to run on cpu"):
        Detector(DetectorConfig(model, half=True))
    with pytest.raises(ConfigError, match=r"half is for a .pt or .torchscript model on CUDA"):
        Detector(DetectorConfig(str(checkpoints()), half=True))
    engine = tmp_path / "yolo.engine"
    engine.write_bytes(b"x")
    with pytest.raises(DeviceError, match="TensorRT, which needs a CUDA device, not cpu"):
        Detector(DetectorConfig(str(engine)))


# Without ultralytics


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


# Checkpoints and their tasks


@needs_torchvision
@pytest.mark.parametrize("family", ["yolo11n", "yolo26n"])
def test_a_checkpoint_finds_what_ultralytics_itself_finds(checkpoints, street, family):
    from ultralytics import YOLO

    path = checkpoints(family=family)
    picture = cv2.resize(street, (200, 150))
    options = {"imgsz": 128, "conf": 0.5, "verbose": False}
    theirs = YOLO(path).predict(picture[..., ::-1].copy(), **options)[0].boxes
    detector = Detector(DetectorConfig(str(path), image_size=120, confidence=0.5))
    ours = detector.detect(picture)  # 120 is no multiple of the stride
    assert len(ours.boxes) > 3
    np.testing.assert_allclose(ours.boxes, theirs.xyxy.numpy(), atol=1e-2)
    np.testing.assert_allclose(ours.scores, theirs.conf.numpy(), atol=1e-4)
    assert ours.classes.tolist() == theirs.cls.int().tolist()


@needs_torchvision
@pytest.mark.parametrize("task", ["-seg", "-pose", "-obb"])
def test_other_tasks_that_give_boxes(checkpoints, street, task):
    from ultralytics import YOLO

    path = checkpoints(task)
    picture = cv2.resize(street, (128, 96))
    options = {"imgsz": 128, "conf": 0.3, "verbose": False}
    theirs = YOLO(path).predict(picture[..., ::-1].copy(), **options)[0]
    boxes = theirs.obb if task == "-obb" else theirs.boxes
    ours = Detector(DetectorConfig(str(path), image_size=128, confidence=0.3)).detect(picture)
    corners = boxes.xyxy.numpy().clip(0, [128, 96, 128, 96])
    wanted = np.column_stack([corners, 1000 * boxes.cls])
    found = np.column_stack([ours.boxes, 1000 * ours.classes])
    assert len(wanted) > 3
    assert len(found) == len(wanted) or task == "-seg"  # they drop boxes whose mask is empty
    assert (np.abs(found[:, None] - wanted).max(-1).min(0) < 0.1).all()


def test_a_task_without_boxes_is_refused(checkpoints):
    with pytest.raises(WeightsError, match="is for classify, which gives no boxes"):
        Detector(DetectorConfig(str(checkpoints("-cls"))))


def test_a_rotated_box_is_given_by_the_one_around_it():
    angles = torch.tensor([0, torch.pi / 2, torch.pi / 4])
    rows = torch.tensor([[50.0, 50, 20, 10, 0.9, 3, 0]]).repeat(3, 1)
    rows[:, 6] = angles
    upright = yolo._upright(rows)
    side = 15 * 0.5**0.5
    expected = [[40, 45, 60, 55], [45, 40, 55, 60], [50 - side, 50 - side, 50 + side, 50 + side]]
    np.testing.assert_allclose(upright[:, :4], expected, atol=1e-4)
    np.testing.assert_allclose(upright[:, 4:], [[0.9, 3]] * 3, atol=1e-6)


def test_another_kind_of_network_is_refused(checkpoints, tmp_path):
    from ultralytics import YOLO

    network = YOLO(checkpoints())
    network.model.names = {0: "one", 1: "two"}  # the network itself has 80
    network.save(tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no YOLO network of 2 classes"):
        Detector(DetectorConfig(str(tmp_path / "other.pt"), image_size=64)).warm_up()


# Files that are no model


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


# What is not installed


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


# Tracks


def rows(*boxes):
    """Rows of boxes 40 pixels wide at these left edges, with these scores."""
    return np.array([[x, 50, x + 40, 130, score, 0] for x, score in boxes], np.float32).reshape(
        -1, 6
    )


@needs_lap
@pytest.mark.parametrize("name", ["bytetrack", "botsort"])
def test_identities_follow_boxes_that_move(name):
    tracker = yolo.Tracker(name)
    seen = [
        tracker.identify(rows((10 + 5 * i, 0.9), (300 - 5 * i, 0.8)), (200, 400), None, 0.25)
        for i in range(6)
    ]
    assert {tuple(ids.tolist()) for ids in seen} == {(1, 2)}


@needs_lap
def test_a_new_object_is_confirmed_in_its_second_image():
    tracker = yolo.Tracker("bytetrack")
    size = (200, 400)
    assert tracker.identify(rows((10, 0.9)), size, None, 0.25).tolist() == [1]
    assert tracker.identify(rows((10, 0.9), (200, 0.8)), size, None, 0.25).tolist() == [1, -1]
    third = tracker.identify(rows((10, 0.9), (200, 0.8)), size, None, 0.25).tolist()
    assert third[0] == 1
    assert third[1] > 1
    assert tracker.identify(rows(), size, None, 0.25).tolist() == []


@needs_lap
def test_a_weak_box_keeps_a_track_alive_but_begins_none():
    tracker = yolo.Tracker("bytetrack")
    scores = [0.9, 0.9, 0.15, 0.2, 0.9]
    seen = [tracker.identify(rows((10, s)), (200, 400), None, 0.25).tolist() for s in scores]
    assert seen == [[1]] * 5
    tracker.reset()
    weak = [tracker.identify(rows((10, 0.2)), (200, 400), None, 0.25).tolist() for _ in range(3)]
    assert weak == [[-1]] * 3
    assert tracker.min_confidence(0.25) == pytest.approx(0.1)
    assert tracker.min_confidence(0.05) == pytest.approx(0.05)


def shifted(picture, pixels):
    """What a camera that pans sees: the picture ``pixels`` further left, gray beside it."""
    frame = np.full_like(picture, 60)
    frame[:, : picture.shape[1] - pixels] = picture[:, pixels:]
    return frame


@needs_lap
@pytest.mark.parametrize("name", ["bytetrack", "botsort"])
def test_people_keep_their_identity_before_a_camera_that_pans(model, street, name):
    detector = Detector(DetectorConfig(model, tracker=name, confidence=0.5))
    centres = {}
    for step in range(6):
        found = detector.detect(shifted(street, 4 * step))
        assert (found.scores > 0.5).all()
        for box, track in zip(found.boxes, found.tracks, strict=True):
            if track != UNTRACKED:
                centres.setdefault(int(track), []).append((box[0] + box[2]) / 2 + 4 * step)
    kept = [places for places in centres.values() if len(places) == 6]
    assert len(kept) == 5
    assert all(np.ptp(places) < 10 for places in kept)  # neighbours stand 20 pixels apart
    detector.reset_tracks()
    again = detector.detect(street).tracks
    assert sorted(again.tolist()) == list(range(1, len(again) + 1))


@needs_lap
def test_another_size_begins_a_new_sequence(model, street):
    detector = Detector(DetectorConfig(model, tracker="botsort"))
    for picture in (street, street, cv2.resize(street, (480, 384)), street):
        tracks = detector.detect(picture).tracks
        assert tracks.min() == 1
        assert tracks.max() == len(tracks)


@needs_lap
def test_the_tracker_does_not_change_what_is_found(model, detector, street):
    tracked = Detector(DetectorConfig(model, tracker="bytetrack")).detect(street)
    assert_same(tracked, detector.detect(street))
