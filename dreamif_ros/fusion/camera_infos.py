"""A calibration file, and the ``camera_info`` messages that it asks for.

The messages come from other processes, so they are checked here before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import Calibration, ConfigError, read_calibration
from dreamif_model.cameras import Camera
from dreamif_model.registration.calibration_file import cameras_from_topics
from dreamif_model.registration.geometry import Intrinsics

MAX_REDUCTION = 8  # an image may be so many times smaller than its camera_info: binning
ASPECT_TOLERANCE = 0.01
MAX_COEFFICIENTS, MAX_COEFFICIENT = 14, 1e6  # beyond, a lens model is no lens
MAX_FOCAL_PX = 1e7
Shape = tuple[int, int]  # (height, width) in pixels


class CameraInfos:
    """Takes messages until the calibration is complete; ConfigError if the file cannot be used.

    path: The file, or None for no registration.
    missing: Cameras whose message has not come.
    fault: Why pairs cannot be registered now; empty if they can be, or need not.
    clock_offset_s: Seconds to add to infrared stamps.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._intrinsics: dict[Camera, Intrinsics] = {}
        self._values: dict[Camera, tuple[Any, ...]] = {}  # of the messages
        self._unusable: dict[Camera, tuple[Any, ...]] = {}  # values that could not be used together
        self.missing = cameras_from_topics(path) if path else []
        self.fault = self._what_is_missing()
        self._refusal = ""
        self._example: Calibration | None = None  # with any intrinsics
        if path:  # whatever else is wrong with the file is said now
            anything = Intrinsics((2, 2), np.eye(3))
            self._example = read_calibration(path, dict.fromkeys(self.missing, anything))
        self.clock_offset_s = (self._example and self._example.clock_offset_s) or 0.0

    def take(
        self,
        camera: Camera,
        message: Any,
        image_shape: Shape | None = None,
        max_megapixels: float = np.inf,
    ) -> Calibration | None:
        """Return the calibration if this message completes it; ConfigError for a bad message.

        image_shape: (height, width) of the camera's images, if one has come.
        """
        if camera not in self.missing:
            return None
        check_camera_info(message, image_shape, max_megapixels)
        self._intrinsics[camera] = Intrinsics.from_camera_info(message)
        self._values[camera] = _values(message)
        self.missing.remove(camera)
        self.fault = self._what_is_missing() or "registration is being prepared"
        return self.calibration()

    def use(self, calibration: Calibration, register: Callable[[Calibration], None]) -> None:
        """Register with what :meth:`take` returned.

        If that fails the error becomes the fault, and other messages are waited for.
        """
        reason = self._refusal if self._values == self._unusable else ""
        try:
            if not reason:
                with np.errstate(all="ignore"):  # what overflows is outside of the image
                    register(calibration)
        except ConfigError as error:
            reason = f"{error}: correct {self._path} or the camera_info"
        if reason:
            self.missing = list(self._values)
            self._unusable, self._values, self._refusal = self._values, {}, reason
            self.fault = reason
            raise ConfigError(reason)
        self.fault = ""

    def check_distances(self) -> None:
        """ConfigError if the calibration holds at one distance only, or there is none."""
        wanting = "registration.distance_topic and registration.distance_m need registration.file"
        if self._example is None:
            raise ConfigError(wanting)
        try:
            self._example.at(1.0)
        except ConfigError as error:
            raise ConfigError(f"{wanting} with both cameras: {self._path}: {error}") from error

    def calibration(self) -> Calibration | None:
        """The whole calibration; None while messages are missing, and without a file."""
        if self.missing or not self._path:
            return None
        return read_calibration(self._path, self._intrinsics)

    def _what_is_missing(self) -> str:
        cameras = " and ".join(map(str, self.missing))
        return f"registration waits for camera_info of {cameras}" if cameras else ""


def check_camera_info(info: Any, image_shape: Shape | None, max_megapixels: float) -> None:
    """ConfigError that names the field of a ``CameraInfo`` which no camera of ours can have."""
    width, height = int(info.width), int(info.height)
    if width < 1 or height < 1:
        raise ConfigError(f"width and height are {width} and {height}: no camera's size")
    if width * height > max_megapixels * 1e6:
        raise ConfigError(
            f"width and height are {width} and {height}, more than max_megapixels, "
            f"{max_megapixels:g} Mpx"
        )
    if image_shape and not _fits((height, width), image_shape):
        raise ConfigError(
            f"width and height are {width} and {height}, but the images are "
            f"{image_shape[1]}x{image_shape[0]}"
        )
    k = np.array(info.k, np.float64)
    if k.shape != (9,) or not np.isfinite(k).all():
        raise ConfigError(f"k must be 9 finite numbers, got {k.tolist()}")
    if not (0 < k[0] < MAX_FOCAL_PX and 0 < k[4] < MAX_FOCAL_PX):
        raise ConfigError(
            f"k needs focal lengths above 0 px, got {k.tolist()}; zeros are of an uncalibrated "
            "camera: calibrate it"
        )
    if abs(k[0] * k[4] - k[1] * k[3]) < 1e-6 * k[0] * k[4]:
        raise ConfigError(f"k has no inverse: {k.tolist()}")
    if len(info.d) > MAX_COEFFICIENTS:
        raise ConfigError(f"d has {len(info.d)} coefficients, expected {MAX_COEFFICIENTS} or fewer")
    d = np.array(info.d, np.float64)
    if not (np.abs(d) < MAX_COEFFICIENT).all():  # false for NaN
        raise ConfigError(f"d must be the coefficients of a lens, got {d.tolist()}")


def _fits(shape: Shape, image_shape: Shape) -> bool:
    """Whether images of this shape come from the camera, perhaps binned."""
    down, across = (side / other for side, other in zip(shape, image_shape, strict=True))
    return max(down, 1 / down) <= MAX_REDUCTION and abs(across / down - 1) <= ASPECT_TOLERANCE


def _values(info: Any) -> tuple[Any, ...]:
    return info.width, info.height, info.distortion_model, tuple(info.k), tuple(info.d)
