"""What is fuzzed: valid files that our own writers make, and the functions that read them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from dreamif_model.cameras import Camera
from dreamif_model.errors import ImageError
from dreamif_model.image_files import read_gray, read_rgb, write_image
from dreamif_model.model_files.checkpoints import load_network
from dreamif_model.model_files.released_checkpoint import read_state_dict
from dreamif_model.registration.calibration_file import (
    read_calibration,
    read_intrinsics,
    write_calibration,
)
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics
from dreamif_model.registration.warp import Calibration
from dreamif_model.variants import WEIGHTS_FOLDER
from dreamif_ros import codec
from dreamif_ros.bag import read_pairs
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.recorded_pairs import read_image
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import INFRARED_TOPIC, START_NS, VISIBLE_TOPIC, BagMessage
from dreamif_ros.detection.annotations import Truth, read_labels, read_names, write_yolo
from dreamif_ros.detection.model_file import ModelFile
from dreamif_ros.detection.openvino_yolo import runs_alone

MAX_MEGAPIXELS = 8.5  # the default of the fusion node
SIZE = 24, 16  # width, height of the images
NAMES = ("person", "car")
PERIOD_NS = 100_000_000
VOC = (
    "<annotation><size><width>24</width><height>16</height></size><object><name>person</name>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object>"
    "</annotation>"
)
METADATA = (  # as ultralytics writes it beside an OpenVINO model
    "task: detect\nstride: 32\nimgsz: [640, 640]\nnames: {0: person, 1: car}\n"
    "channels: 3\nargs: {nms: false, half: false}\n"
)
OST = (  # as camera_calibration writes it
    "image_width: 24\nimage_height: 16\n"
    "camera_matrix: {rows: 3, cols: 3, data: [20.0, 0, 12, 0, 20, 8, 0, 0, 1]}\n"
    "distortion_model: plumb_bob\n"
    "distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}\n"
)


@dataclass(frozen=True)
class Target:
    """One kind of outside input.

    samples: Valid files by name. read: Reads such a file from a folder that holds nothing else.
    """

    samples: Callable[[], dict[str, bytes]]
    read: Callable[[Path], object]


def _pixels() -> tuple[Any, Any]:
    """An infrared image of counts, and a visible RGB one."""
    rng = np.random.default_rng(0)
    infrared = rng.integers(29_000, 31_000, (SIZE[1], SIZE[0]), dtype=np.uint16)
    return infrared, rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def _messages(stamp_ns: int = START_NS) -> dict[str, Any]:
    """Raw and compressed images; the suffix of a name is the message's type."""
    infrared, visible = _pixels()
    header = MESSAGES.header(stamp_ns, "camera")
    return {
        "infrared.Image": MESSAGES.image(infrared, "mono16", header),
        "visible.Image": MESSAGES.image(visible, "rgb8", header),
        "infrared.CompressedImage": MESSAGES.compressed(infrared, "png", header),
        "color.CompressedImage": MESSAGES.compressed(visible, "png", header),
        "jpeg.CompressedImage": MESSAGES.compressed(visible, "jpeg", header),
    }


def _image_files() -> dict[str, bytes]:
    return {name: bytes(MESSAGES.serialize(message)) for name, message in _messages().items()}


def _read_image(path: Path) -> None:
    recorded = BagMessage("/image", f"sensor_msgs/msg/{path.suffix[1:]}", 0, path.read_bytes())
    message = read_image(recorded, Camera.VISIBLE).message
    if message is None:
        raise ImageError("the message is damaged")
    codec.decode_infrared(message, MAX_MEGAPIXELS)
    codec.decode_visible(message, MAX_MEGAPIXELS)


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _pictures() -> dict[str, bytes]:
    infrared, visible = _pixels()
    images = {"deep.png": infrared, "deep.tiff": infrared, "color.png": visible, "a.jpg": visible}
    return {
        name: _written(partial(write_image, image=image), name) for name, image in images.items()
    }


def _read_picture(path: Path) -> None:
    read_gray(path)
    read_rgb(path)


def _calibrations() -> dict[str, bytes]:
    camera = Intrinsics(SIZE, np.array([[20.0, 0, 12], [0, 20, 8], [0, 0, 1]]), (0.1, 0, 0, 0, 0))
    cameras = CameraPair(camera, camera, np.eye(3), np.array([0.1, 0, 0]), 5.0)
    made = {
        "homography.yaml": Calibration(Homography(np.eye(3)), SIZE, SIZE),
        "cameras.yaml": Calibration(cameras, SIZE, SIZE),
    }
    written = {name: _written(partial(write_calibration, one), name) for name, one in made.items()}
    return {"ost.yaml": OST.encode()} | written


def _read_calibration(path: Path) -> object:
    return read_intrinsics(path) if path.stem == "ost" else read_calibration(path)


def _weights() -> dict[str, bytes]:
    name = "nano.safetensors"
    return {name: (WEIGHTS_FOLDER / name).read_bytes()}


def _checkpoints() -> dict[str, bytes]:
    content = {"model": {"module.a": torch.zeros(2, 3), "module.b": torch.ones(4)}, "epoch": 3}
    return {"model.pth": _written(lambda path: torch.save(content, path), "model.pth")}


def _bag(plugin: StoragePlugin, mode: CompressionMode | None = None) -> bytes:
    """The storage file of a bag with three pairs."""
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "bag", version=8, storage_plugin=plugin)
        if mode:
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            topics = {
                f"{name}.Image": writer.add_connection(
                    topic, "sensor_msgs/msg/Image", typestore=MESSAGES.store
                )
                for name, topic in (("infrared", INFRARED_TOPIC), ("visible", VISIBLE_TOPIC))
            }
            for stamp_ns in range(START_NS, START_NS + 3 * PERIOD_NS, PERIOD_NS):
                for name, connection in topics.items():
                    data = MESSAGES.serialize(_messages(stamp_ns)[name])
                    writer.write(connection, stamp_ns, data)
        suffix = ".db3" if plugin is StoragePlugin.SQLITE3 else ".mcap"
        return (Path(folder) / "bag" / f"bag{suffix}").read_bytes()


def _mcap_files() -> dict[str, bytes]:
    return {
        "plain.mcap": _bag(StoragePlugin.MCAP),
        "chunks.mcap": _bag(StoragePlugin.MCAP, CompressionMode.STORAGE),
        "messages.mcap": _bag(StoragePlugin.MCAP, CompressionMode.MESSAGE),
    }


def _read_bag(path: Path) -> None:
    for pair in read_pairs(path):
        codec.decode_infrared(pair.images.infrared.message, MAX_MEGAPIXELS)
        codec.decode_visible(pair.images.visible.message, MAX_MEGAPIXELS)
    with Recording(path) as recording:
        recording.storage()
        list(recording.messages(recording.topics))


def _labels() -> dict[str, bytes]:
    truth = Truth(np.array([[1, 2, 9, 8], [3, 3, 20, 12]], np.float32), NAMES)
    yolo = _written(lambda path: write_yolo(path, truth, NAMES, *SIZE), "image.txt")
    return {"image.txt": yolo, "image.xml": VOC.encode()}


def _read_labels(path: Path) -> object:
    return read_labels(path.parent, ["image"], NAMES).of("image").truth(*SIZE)


def _class_names() -> dict[str, bytes]:
    return {
        "classes.txt": b"person\ncar\n",
        "data.yaml": b"path: .\nnc: 2\nnames:\n  0: person\n  1: car\n",
        "metadata.yaml": METADATA.encode(),
    }


def _read_class_names(path: Path) -> object:
    if path.stem == "metadata":
        return runs_alone(ModelFile(path.parent, "openvino"))
    return read_names(path)


TARGETS = {
    "images": Target(_image_files, _read_image),
    "pictures": Target(_pictures, _read_picture),
    "calibration": Target(_calibrations, _read_calibration),
    "weights": Target(_weights, lambda path: load_network("nano", path)),
    "checkpoint": Target(_checkpoints, read_state_dict),
    "mcap": Target(_mcap_files, _read_bag),
    "sqlite": Target(lambda: {"bag.db3": _bag(StoragePlugin.SQLITE3)}, _read_bag),
    "labels": Target(_labels, _read_labels),
    "class_names": Target(_class_names, _read_class_names),
}
