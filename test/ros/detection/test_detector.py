"""The detector: real ultralytics, the real model where it is there, random ones of other tasks."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from helpers.detectors import assert_same, installed, needs_torchvision

from dreamif_model.errors import ConfigError, DeviceError, ImageError, WeightsError
from dreamif_ros.detection import yolo
from dreamif_ros.detection.detector import Detector, DetectorConfig

pytestmark = installed("ultralytics")


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
