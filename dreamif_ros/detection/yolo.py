"""Networks and trackers of ultralytics (AGPL-3.0).

ultralytics is optional, so it is imported late. It is kept from going online, from installing
packages, from running code in a weights file, from printing, and from writing to the home folder.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.backends.openvino import openvino_core
from dreamif_model.backends.pytorch import resolve_device
from dreamif_model.device import check_device_name
from dreamif_model.errors import ConfigError, DeviceError, WeightsError
from dreamif_ros.detection.letterbox import HeightWidth
from dreamif_ros.detection.model_file import ModelFile
from dreamif_ros.detection.openvino_yolo import choose_input_size, other_network

_OLDEST = (8, 4, 190)  # older versions are untested
_INSTALL = "pip install 'dreamif_ros[detect]' (ultralytics is AGPL-3.0)"
_TASKS = ("detect", "segment", "pose", "obb")  # those that give boxes
_HALF_FORMATS = ("pt", "torchscript")
_DEFAULT_SIZE = 640
_ENVIRONMENT = {
    "YOLO_OFFLINE": "true",  # no look-ups, no statistics
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",  # torch.load(weights_only=True), its own layers allowed
}
# Variables that its import sets, and that are set for its import; they are restored afterwards.
_RESTORED = ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "YOLO_VERBOSE", "YOLO_CONFIG_DIR")


class UltralyticsNetwork:
    """A detection network: pixels in, boxes out.

    device: As for :func:`resolve_device`; auto is CUDA if there is one and the format runs there.
    half: fp16. WeightsError if the file cannot be used, DeviceError for a device that is not there
    or that this format cannot use, ConfigError if ``half`` is impossible and for missing packages.
    """

    def __init__(self, file: ModelFile, device: str, half: bool) -> None:
        wanted = _device(file, device)
        if half and (wanted.type == "cpu" or file.format not in _HALF_FORMATS):
            raise ConfigError(
                f"half is for a .pt or .torchscript model on CUDA, here {file.path.name} is to run "
                f"on {wanted}: leave it false (an export has the precision it was exported with)"
            )
        import_ultralytics()
        if file.format == "openvino":
            with suppress(DeviceError):  # loading the model reports it if it is missing
                openvino_core()  # before ultralytics makes one with telemetry on
        self.path = file.path
        self._backend, self.task, self._own_size = _load(file, wanted, half)
        self._device: torch.device = self._backend.device
        self.device = str(self._device)
        if device.startswith("cuda") and self._device.type != "cuda":
            raise DeviceError(
                f"{file.path} cannot run on {device} with the onnxruntime that is installed: "
                "install onnxruntime-gpu, or use device cpu"
            )
        self.names: dict[int, str] = dict(self._backend.names)
        free = file.format == "pt" or bool(self._backend.dynamic)
        self._stride = int(self._backend.stride) if free else None

    def input_size(self, image_size: int) -> tuple[HeightWidth, int | None]:
        """See :meth:`OpenVINONetwork.input_size`."""
        return choose_input_size(self.path, image_size, self._own_size, self._stride)

    @torch.inference_mode()
    def find(
        self,
        pixels: NDArray[np.uint8],
        confidence: float,
        iou: float,
        keys: list[int] | None,
        limit: int,
    ) -> NDArray[np.float32]:
        """See :meth:`OpenVINONetwork.find`; a rotated box becomes the upright one around it."""
        return self._boxes(self._predict(pixels), confidence, iou, keys, limit)

    def _predict(self, pixels: NDArray[np.uint8]) -> Tensor:
        floats = torch.from_numpy(pixels).to(self._device).contiguous().float().div_(255)
        found: Any = self._backend(floats)
        while isinstance(found, (list, tuple)):  # masks and raw maps come after the boxes
            found = found[0]
        self._check_output(found)
        return torch.as_tensor(found, dtype=torch.float32)

    def _boxes(
        self,
        prediction: Tensor,
        confidence: float,
        iou: float,
        keys: list[int] | None,
        limit: int,
    ) -> NDArray[np.float32]:
        from ultralytics.utils.nms import non_max_suppression

        [rows] = non_max_suppression(
            prediction,
            confidence,
            iou,
            keys,
            max_det=limit,
            nc=len(self.names),
            rotated=self.task == "obb",
            end2end=bool(self._backend.end2end),
        )
        if self.task == "obb":
            rows = _upright(rows)
        found: NDArray[np.float32] = rows[:, :6].cpu().numpy()
        return found[np.argsort(-found[:, 4], kind="stable")]

    def _check_output(self, found: Tensor) -> None:
        channels = found.shape[-1 if self._backend.end2end else 1] if found.ndim == 3 else 0
        wanted = 6 if self._backend.end2end else 4 + len(self.names)
        if channels != wanted and (channels < wanted or self.task == "detect"):
            raise other_network(self.path, tuple(found.shape), len(self.names))


class Tracker:
    """Follows boxes from image to image; ConfigError if a package is missing.

    name: ``bytetrack``, or ``botsort``, which also follows the camera's own motion.
    """

    def __init__(self, name: str) -> None:
        import_ultralytics()
        try:
            importlib.import_module("lap")  # ultralytics would look for it with pip
        except ImportError:
            raise ConfigError(f"tracker {name} needs the package lap: pip install lap") from None
        from ultralytics.trackers import BOTSORT, BYTETracker
        from ultralytics.utils import ROOT, YAML, IterableSimpleNamespace

        yaml: Any = YAML
        self._options = IterableSimpleNamespace(**yaml.load(ROOT / f"cfg/trackers/{name}.yaml"))
        self._options.device = torch.device("cpu")
        self._tracker: Any = {"bytetrack": BYTETracker, "botsort": BOTSORT}[name](self._options)
        self.follows_camera = name == "botsort"

    def min_confidence(self, confidence: float) -> float:
        """Minimum score of the boxes that it needs: weak boxes keep existing tracks alive."""
        return min(confidence, float(self._options.track_low_thresh))

    def identify(
        self,
        rows: NDArray[np.float32],
        size: HeightWidth,
        picture: NDArray[np.uint8] | None,
        confidence: float,
    ) -> NDArray[np.int64]:
        """Identity (n,) of each box in pixels of the image, -1 for boxes of no confirmed track.

        picture: (H, W) gray, for the camera's motion. confidence: Minimum score to begin a track.
        """
        from ultralytics.engine.results import Boxes

        self._options.track_high_thresh = self._options.new_track_thresh = confidence
        shown = None if picture is None else picture[..., None]
        tracked = self._tracker.update(Boxes(rows, size), shown)
        found = np.full(len(rows), -1, np.int64)
        if len(tracked):  # x1, y1, x2, y2, identity, score, class, row
            found[tracked[:, 7].astype(np.int64)] = tracked[:, 4].astype(np.int64)
        return found

    def reset(self) -> None:
        """Forget all tracks; identities start at 1 again."""
        self._tracker.reset()


@cache
def import_ultralytics() -> None:
    """Import it; ConfigError with what to install if it is missing or too old."""
    os.environ.update(_ENVIRONMENT)
    try:
        with _process_left_alone(), tempfile.TemporaryDirectory() as settings:
            os.environ.update(YOLO_VERBOSE="false", YOLO_CONFIG_DIR=settings)
            with suppress(ImportError, RuntimeError, OSError):  # of another build of torch
                importlib.import_module("torchvision")  # ultralytics then takes its fast NMS
            tasks: Any = importlib.import_module("ultralytics.nn.tasks")
            checks: Any = importlib.import_module("ultralytics.utils.checks")
            from ultralytics import __version__
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(f"detection cannot start ({_first_line(error)}): {_INSTALL}") from error
    version = tuple(int(part) for part in re.findall("[0-9]+", __version__)[:3])
    if version < _OLDEST:
        raise ConfigError(
            f"ultralytics {__version__} is too old, expected {'.'.join(map(str, _OLDEST))}: "
            f"{_INSTALL}"
        )
    # In case ultralytics was imported before.
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    checks.AUTOINSTALL = False
    tasks.SAFE_LOAD = True


@contextmanager
def _process_left_alone() -> Iterator[None]:
    """Restore what the import of ultralytics changes for the whole process."""
    before = {name: os.environ.get(name) for name in _RESTORED}
    threads = cv2.getNumThreads()
    try:
        with np.printoptions():
            yield
    finally:
        cv2.setNumThreads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _device(file: ModelFile, name: str) -> torch.device:
    check_device_name(name)
    device = resolve_device(name)
    if file.format == "openvino" and device.type == "cuda":
        if name != "auto":
            raise DeviceError(
                f"{file.path} is for OpenVINO, which does not run on {name}: use device cpu or "
                "auto, or a .pt, .onnx or .engine model"
            )
        return torch.device("cpu")
    if file.format == "engine" and device.type == "cpu":
        raise DeviceError(f"{file.path} is for TensorRT, which needs a CUDA device, not {device}")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _load(file: ModelFile, device: torch.device, half: bool) -> tuple[Any, str, HeightWidth]:
    """The backend, its task and the model's own (height, width)."""
    from ultralytics.nn.autobackend import AutoBackend

    try:
        model = _checkpoint(file.path) if file.format == "pt" else str(file.path)
        backend: Any = AutoBackend(
            model=model,
            device=device,
            fp16=half,
            verbose=False,
            end2end=False,  # a checkpoint has two heads: this is the one before NMS, as in predict
        )
        backend.eval()
    except ImportError as error:
        raise ConfigError(
            f"a model of format {file.format} needs the package {error.name}, which is not "
            f"installed: pip install {error.name}"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # each format's loader has errors of its own
        raise WeightsError(
            f"the model {file.path} cannot be loaded as {file.format}, it is damaged or of another "
            f"kind: copy or export it again ({_first_line(error)})"
        ) from error
    task, size = _told(file, backend)
    return backend, task, size


def _told(file: ModelFile, backend: Any) -> tuple[str, HeightWidth]:
    """Task and input size, from a checkpoint's module or an export's metadata."""
    if file.format == "pt":
        task, size = backend.model.task, backend.model.args.get("imgsz") or _DEFAULT_SIZE
    else:
        task, size = backend.metadata.get("task"), backend.metadata.get("imgsz", _DEFAULT_SIZE)
        if task is None or not backend.metadata.get("names"):
            raise WeightsError(
                f"the model {file.path} lacks ultralytics' metadata, which tells its task and "
                "class names: export it with `yolo export`, and copy metadata.yaml along"
            )
    if task not in _TASKS:
        raise WeightsError(
            f"the model {file.path} is for {task}, which gives no boxes: "
            f"expected one for {', '.join(_TASKS)}"
        )
    if backend.channels != 3:
        raise WeightsError(f"the model {file.path} takes {backend.channels} channels, expected 3")
    height, width = (size, size) if isinstance(size, int) else size
    return str(task), (int(height), int(width))


def _checkpoint(path: Path) -> torch.nn.Module:
    """The network in a .pt file, a pickle: only known layers are built, no code is run."""
    from ultralytics.nn import tasks

    load: Any = tasks.load_checkpoint
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise WeightsError(
            f"torch {torch.__version__} would run what the file {path} holds: "
            "use torch 2.6 or newer, or a model exported to ONNX or OpenVINO"
        )
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "model.pt"  # for some names ultralytics would look for another file
        link.symlink_to(path)
        try:
            module: torch.nn.Module = load(str(link))[0]
        except Exception as error:
            raise WeightsError(
                f"the model {path} {_refusal(error)}; nothing in it was run: copy it again, or "
                "export it with `yolo export format=onnx` where it is trusted"
            ) from error
    return module


def _refusal(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", f"{error} {error.__cause__}")
    if found:
        return f"holds {found[1]}, which is no layer that ultralytics or torch knows"
    return "is damaged, or no checkpoint of ultralytics"


def _upright(rows: Tensor) -> Tensor:
    """Boxes (n, 6) around rotated ones (n, 7): centre, width, height, score, class, angle."""
    x, y, width, height, score, key, angle = rows[:, :7].unbind(1)
    cos, sin = angle.cos().abs(), angle.sin().abs()
    half_width = (width * cos + height * sin) / 2
    half_height = (width * sin + height * cos) / 2
    corners = (x - half_width, y - half_height, x + half_width, y + half_height)
    return torch.stack((*corners, score, key), 1)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
