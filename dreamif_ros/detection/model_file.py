"""Finds a model's file before anything loads it, or tries to download it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dreamif_model.errors import WeightsError

_SUFFIXES = {".pt": "pt", ".onnx": "onnx", ".engine": "engine", ".torchscript": "torchscript"}
_OPENVINO = "_openvino_model"  # ultralytics recognizes such a folder by this ending
_ACCEPTED = f"{', '.join(_SUFFIXES)} or a folder *{_OPENVINO}"


@dataclass(frozen=True)
class ModelFile:
    """A model that exists."""

    path: Path  # absolute
    format: str  # pt, onnx, engine, torchscript or openvino


def find_model(name: str) -> ModelFile:
    """The model with this path; WeightsError if it is missing, empty or of an unknown format."""
    try:
        path = Path(name).expanduser().absolute()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, a zero byte
        raise WeightsError(f"the model's name {name!r} is no path: {error}") from None
    if not there:
        raise WeightsError(
            f"there is no model {path}, and nothing is downloaded: get one from "
            "github.com/ultralytics/assets/releases, or `yolo export model=… format=openvino`"
        )
    if path.is_dir():
        return _folder(path)
    format_ = _SUFFIXES.get(path.suffix.lower())
    if format_ is None:
        raise WeightsError(f"the model {path} is of an unknown format: expected {_ACCEPTED}")
    if not path.stat().st_size:
        raise WeightsError(f"the model {path} is empty: copy or export it again")
    return ModelFile(path, format_)


def _folder(path: Path) -> ModelFile:
    models = sorted(path.glob("*.xml"))
    if len(models) != 1:
        raise WeightsError(
            f"the model folder {path} has {len(models)} files *.xml, expected OpenVINO's one; "
            f"a model is {_ACCEPTED}"
        )
    if not path.name.lower().endswith(_OPENVINO):
        raise WeightsError(f"the model folder {path} must be named *{_OPENVINO}: rename it")
    if not models[0].with_suffix(".bin").is_file():
        raise WeightsError(f"the model folder {path} lacks {models[0].stem}.bin: copy it again")
    return ModelFile(path, "openvino")
