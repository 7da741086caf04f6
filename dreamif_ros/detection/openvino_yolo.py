"""YOLO networks that were exported to OpenVINO, run by OpenVINO alone, without torch.

A process that detects on a CPU in this way is 500 MB smaller than with ultralytics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.backends.openvino import openvino_core
from dreamif_model.device import check_device_name, cpu_threads
from dreamif_model.errors import ConfigError, DeviceError, WeightsError, shown
from dreamif_model.image_files import MAX_SIDE
from dreamif_model.yaml_file import read_yaml
from dreamif_ros.detection.letterbox import HeightWidth
from dreamif_ros.detection.model_file import ModelFile

_MAX_CANDIDATES = 30_000  # boxes above the confidence that are compared, as in ultralytics
_APART = 1e6  # pixels between the boxes of two classes, so that these never overlap


def read_metadata(path: Path) -> dict[str, Any]:
    """The contents of a folder's ``metadata.yaml``; empty if it is missing or damaged."""
    try:
        found = read_yaml(path / "metadata.yaml")
    except ConfigError:
        return {}
    return found if isinstance(found, dict) else {}


def runs_alone(file: ModelFile) -> bool:
    """Whether this module can run the model: upright boxes, before non-maximum suppression."""
    if file.format != "openvino":
        return False
    said = read_metadata(file.path)
    args = said.get("args")
    suppressed = isinstance(args, dict) and (args.get("nms") or args.get("end2end"))
    plain = not (suppressed or said.get("end2end") or said.get("channels", 3) != 3)
    names = said.get("names")
    named = isinstance(names, dict) and all(isinstance(key, int) for key in names)
    return plain and said.get("task") == "detect" and named


class OpenVINONetwork:
    """A detection network on the CPU: pixels in, boxes out.

    WeightsError if the file cannot be used, DeviceError if OpenVINO is missing and for a device
    other than ``auto`` and ``cpu``, ConfigError for ``half`` and for an unknown device name.
    """

    def __init__(self, file: ModelFile, device: str, half: bool) -> None:
        check_device_name(device)
        if device not in ("auto", "cpu"):
            raise DeviceError(
                f"{file.path} is for OpenVINO, which does not run on {device}: use device cpu or "
                "auto, or a .pt, .onnx or .engine model"
            )
        if half:
            raise ConfigError(
                f"half is for a .pt or .torchscript model on CUDA, here {file.path.name} is to run "
                "on cpu: leave it false (an export has the precision it was exported with)"
            )
        self.path, self.device = file.path, "cpu"
        said = read_metadata(file.path)
        self.names = {key: str(name) for key, name in said["names"].items()}
        core = openvino_core()
        try:
            graph = core.read_model(next(file.path.glob("*.xml")))
            settings = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": cpu_threads(),
                "ENABLE_CPU_PINNING": False,  # a pinned thread waits for others on its core
            }
            self._request = core.compile_model(graph, "CPU", settings).create_infer_request()
            shape = graph.input(0).partial_shape
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1]
            raise WeightsError(
                f"the model {file.path} cannot be loaded as openvino, it is damaged or of another "
                f"kind: copy or export it again ({first})"
            ) from error
        self._stride: int | None = None
        if shape[2].is_dynamic or shape[3].is_dynamic:
            self._stride = _sides(file, "stride", said.get("stride", 32))[0]
            self._own_size = _sides(file, "imgsz", said.get("imgsz", 640))
        else:
            self._own_size = (shape[2].get_length(), shape[3].get_length())

    def input_size(self, image_size: int) -> tuple[HeightWidth, int | None]:
        """Maximum (height, width) of the input, and the stride that it may be cut to, if any.

        image_size: The longer side in pixels; 0: the model's own. ConfigError if the model was
        exported for another size only.
        """
        return choose_input_size(self.path, image_size, self._own_size, self._stride)

    def find(
        self,
        pixels: NDArray[np.uint8],
        confidence: float,
        iou: float,
        keys: list[int] | None,
        limit: int,
    ) -> NDArray[np.float32]:
        """Find the best boxes, without duplicates, best first.

        Args:
            pixels: (1, 3, h, w) uint8 RGB.
            confidence: Minimum score, exclusive.
            iou: If two boxes of one class overlap more than this, the better one is kept.
            keys: Numbers of the classes that are kept; None: all.
            limit: Maximum number of boxes.

        Returns:
            (n, 6) x1, y1, x2, y2 in pixels of the input, score, class.

        Raises:
            WeightsError: If the network's output is not that of a YOLO network.
        """
        floats = pixels.astype(np.float32) / np.float32(255)
        found = next(iter(self._request.infer([floats], share_inputs=True).values()))
        if found.ndim != 3 or found.shape[1] != 4 + len(self.names):
            raise other_network(self.path, found.shape, len(self.names))
        return select_boxes(found[0].T, confidence, iou, keys, limit)


def other_network(path: Path, shape: tuple[int, ...], classes: int) -> WeightsError:
    """The error for a network whose output is not that of a YOLO network."""
    return WeightsError(
        f"the model {path} gives numbers of shape {shape}, which is no YOLO network of {classes} "
        "classes: RT-DETR and others are not supported"
    )


def choose_input_size(
    path: Path, image_size: int, own_size: HeightWidth, stride: int | None
) -> tuple[HeightWidth, int | None]:
    """See :meth:`OpenVINONetwork.input_size`; stride: None if the model has one size only."""
    if stride is None:
        if image_size not in (0, max(own_size)):
            raise ConfigError(
                f"image_size is {image_size}, but {path} was exported for "
                f"{max(own_size)}: leave it 0, or export again with imgsz={image_size}"
            )
        return own_size, None
    height, width = (image_size, image_size) if image_size else own_size
    return (_up(height, stride), _up(width, stride)), stride


def select_boxes(
    rows: NDArray[np.float32],
    confidence: float,
    iou: float,
    keys: list[int] | None,
    limit: int,
) -> NDArray[np.float32]:
    """Non-maximum suppression within each class, as in ultralytics.

    rows: (N, 4 + classes) centre x and y, width, height, and a score for each class. All else as
    in :meth:`OpenVINONetwork.find`.
    """
    classes = rows[:, 4:].argmax(axis=1)
    scores = rows[np.arange(len(rows)), 4 + classes]
    kept = scores > confidence
    if keys is not None:
        kept &= np.isin(classes, keys)
    places = np.flatnonzero(kept)
    places = places[np.argsort(-scores[places], kind="stable")][:_MAX_CANDIDATES]
    boxes, scores, classes = rows[places, :4], scores[places], classes[places]
    corners = boxes[:, :2] - boxes[:, 2:] / 2
    # OpenCV's own NMSBoxesBatched lets classes overlap beyond the image's left and upper border.
    upright = np.hstack((corners + _APART * classes[:, None], boxes[:, 2:]))
    best = cv2.dnn.NMSBoxes(upright.tolist(), scores.tolist(), confidence, iou)
    chosen = np.asarray(best, np.int64).ravel()
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:limit]
    found = np.hstack((corners, corners + boxes[:, 2:], scores[:, None], classes[:, None]))
    return found[chosen].astype(np.float32)


def _sides(file: ModelFile, key: str, value: Any) -> HeightWidth:
    """Height and width in pixels from one whole number or a list of two."""
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
        raise WeightsError(
            f"metadata.yaml of {file.path}: {key} is {shown(value)}, expected 1 to {MAX_SIDE} "
            "pixels or [height, width]: export the model again"
        )
    return sides[0], sides[1]


def _up(size: int, stride: int) -> int:
    return -(-size // stride) * stride
