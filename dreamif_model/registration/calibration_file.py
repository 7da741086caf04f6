"""Calibrations as YAML files; docs/registration.md describes the two layouts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import yaml

from dreamif_model.arrays import Matrix, Size
from dreamif_model.cameras import Camera
from dreamif_model.errors import MAX_SHOWN, ConfigError, shown
from dreamif_model.image_files import MAX_SIDE
from dreamif_model.output_files import TEXT_MARK, write_whole
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics
from dreamif_model.registration.warp import Calibration
from dreamif_model.yaml_file import read_yaml

OPTIONAL = ("clock_offset_s", "residual_px")  # the keys of _Optional
HOMOGRAPHY_KEYS = ("model", "infrared_size", "visible_size", "homography")
LENSES = ("infrared", "visible")  # optional beside a homography
CAMERAS_KEYS = ("model", "infrared", "visible", "rotation", "translation", "distance_m")
FROM_TOPIC = "camera_info"  # in place of a file: what the camera's driver publishes
HEADER = f"# How an infrared image lies on the visible one; {TEXT_MARK}"


class _Optional(TypedDict):
    clock_offset_s: float | None
    residual_px: float | None


def read_calibration(path: Path, topics: Mapping[Camera, Intrinsics] | None = None) -> Calibration:
    """Read a calibration file, such as ``dreamif calibrate`` writes.

    Args:
        path: YAML file with a homography, or with two calibrated cameras.
        topics: intrinsics of the cameras for which the file names ``camera_info`` messages.

    Returns:
        The calibration.

    Raises:
        ConfigError: the file cannot be read, or a value is missing, unknown or out of range.
    """
    content = _load(path)
    try:
        model = content.get("model")
        if model == "homography":
            return _read_homography(content, path.parent, topics or {})
        if model == "cameras":
            return _read_cameras(content, path.parent, topics or {})
        raise ConfigError(f"model is {shown(model)}, expected homography or cameras")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def cameras_from_topics(path: Path) -> list[Camera]:
    """The cameras whose intrinsics come by ``camera_info`` messages."""
    content = _load(path)
    return [camera for camera in Camera if content.get(camera.value) == FROM_TOPIC]


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write what :func:`read_calibration` reads, with the intrinsics of cameras in the file."""
    geometry = calibration.geometry
    if isinstance(geometry, Homography):
        content: dict[str, Any] = {
            "model": "homography",
            "infrared_size": list(calibration.infrared_size),
            "visible_size": list(calibration.visible_size),
            "homography": geometry.matrix.tolist(),
        }
        lenses = {name: getattr(geometry, name) for name in LENSES}
        content |= {name: _intrinsics_content(lens) for name, lens in lenses.items() if lens}
    else:
        content = {
            "model": "cameras",
            "infrared": _intrinsics_content(geometry.infrared),
            "visible": _intrinsics_content(geometry.visible),
            "rotation": geometry.rotation.tolist(),
            "translation": geometry.translation.tolist(),
            "distance_m": geometry.distance_m,
        }
    known = {name: getattr(calibration, name) for name in OPTIONAL}
    content |= {name: value for name, value in known.items() if value is not None}
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    write_whole(path, HEADER + text)


def read_intrinsics(path: Path) -> Intrinsics:
    """Read a file that ROS's camera_calibration wrote (``ost.yaml``)."""
    try:
        return _intrinsics(_load(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_homography(
    content: dict[str, Any], folder: Path, topics: Mapping[Camera, Intrinsics]
) -> Calibration:
    _check_keys(content, HOMOGRAPHY_KEYS, LENSES)
    lenses = {
        name: _camera(content[name], Camera(name), folder, topics)
        for name in LENSES
        if name in content
    }
    return Calibration(
        Homography(_matrix(content, "homography", (3, 3)), **lenses),
        _size(content["infrared_size"], "infrared_size"),
        _size(content["visible_size"], "visible_size"),
        **_optional(content),
    )


def _read_cameras(
    content: dict[str, Any], folder: Path, topics: Mapping[Camera, Intrinsics]
) -> Calibration:
    _check_keys(content, CAMERAS_KEYS)
    infrared, visible = (
        _camera(content[camera.value], camera, folder, topics) for camera in Camera
    )
    pair = CameraPair(
        infrared,
        visible,
        _matrix(content, "rotation", (3, 3)),
        _matrix(content, "translation", (3,)),
        _number(content["distance_m"], "distance_m"),
    )
    return Calibration(pair, infrared.size, visible.size, **_optional(content))


def _camera(
    content: Any, camera: Camera, folder: Path, topics: Mapping[Camera, Intrinsics]
) -> Intrinsics:
    """Intrinsics from a topic, the file that ``content`` names in ``folder``, or ``content``."""
    if content == FROM_TOPIC:
        if camera in topics:
            return topics[camera]
        raise ConfigError(
            f"{camera} is {FROM_TOPIC}, a topic that only the fusion node can read: name a file "
            "of camera_calibration instead"
        )
    if isinstance(content, str):
        return read_intrinsics(folder / content)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{camera} is {shown(content)}, expected a camera_info file or its contents"
        )
    try:
        return _intrinsics(content)
    except ConfigError as error:
        raise ConfigError(f"{camera}: {error}") from error


def _intrinsics(content: dict[str, Any]) -> Intrinsics:
    keys = ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
    _check_present(content, keys)
    size = _size([content["image_width"], content["image_height"]], "image_width, image_height")
    matrix = _data(content, "camera_matrix")
    if len(matrix) != 9:
        raise ConfigError(f"camera_matrix.data must be 9 numbers, got {len(matrix)}")
    return Intrinsics(
        size,
        np.array(matrix).reshape(3, 3),
        tuple(_data(content, "distortion_coefficients")),
        str(content.get("distortion_model", "plumb_bob")),
    )


def _intrinsics_content(camera: Intrinsics) -> dict[str, Any]:
    return {
        "image_width": camera.size[0],
        "image_height": camera.size[1],
        "camera_matrix": {"rows": 3, "cols": 3, "data": camera.matrix.ravel().tolist()},
        "distortion_model": camera.distortion_model,
        "distortion_coefficients": {
            "rows": 1,
            "cols": len(camera.distortion),
            "data": list(camera.distortion),
        },
    }


def _load(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} is no calibration, it has no keys with values: give a file that `dreamif "
            "calibrate` or ROS's camera_calibration wrote"
        )
    return content


def _check_present(content: dict[str, Any], keys: tuple[str, ...]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise ConfigError(f"{', '.join(missing)} missing")


def _check_keys(content: dict[str, Any], keys: tuple[str, ...], more: tuple[str, ...] = ()) -> None:
    _check_present(content, keys)
    optional = (*more, *OPTIONAL)
    unknown = sorted(map(str, content.keys() - {*keys, *optional}))
    if unknown:
        raise ConfigError(
            f"unknown {', '.join(unknown)[:MAX_SHOWN]}: expected {', '.join(keys)} and, if known, "
            f"{', '.join(optional)}"
        )


def _data(content: dict[str, Any], key: str) -> list[float]:
    data = content[key].get("data") if isinstance(content[key], dict) else None
    if not isinstance(data, list):
        raise ConfigError(f"{key} must have a list of numbers as data, got {shown(content[key])}")
    return [_number(value, f"{key}.data") for value in data]


def _matrix(content: dict[str, Any], key: str, shape: tuple[int, ...]) -> Matrix:
    try:
        matrix = np.array(content[key], np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape != shape:
        size = "×".join(map(str, shape))
        raise ConfigError(f"{key} must be a list of {size} numbers, got {shown(content[key])}")
    return matrix


def _size(value: Any, name: str) -> Size:
    whole = isinstance(value, list) and all(type(side) is int for side in value)
    if not whole or len(value) != 2 or not 1 <= min(value) <= max(value) <= MAX_SIDE:
        raise ConfigError(
            f"{name} is {shown(value)}, expected [width, height] in pixels, 1 to {MAX_SIDE}"
        )
    return value[0], value[1]


def _number(value: Any, name: str) -> float:
    """A finite number; whole numbers that no float holds are refused too."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max:
        raise ConfigError(f"{name} is {shown(value)}, expected a finite number")
    return float(value)


def _optional(content: dict[str, Any]) -> _Optional:
    offset_s, residual_px = (
        None if content.get(name) is None else _number(content[name], name) for name in OPTIONAL
    )
    return _Optional(clock_offset_s=offset_s, residual_px=residual_px)
