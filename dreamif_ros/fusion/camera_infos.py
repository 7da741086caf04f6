"""A calibration file, and the ``camera_info`` messages that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import Calibration, ConfigError, read_calibration
from dreamif_model.cameras import Camera
from dreamif_model.registration.calibration_file import cameras_from_topics
from dreamif_model.registration.geometry import Intrinsics


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
        self.missing = cameras_from_topics(path) if path else []
        self.fault = self._what_is_missing()
        self.clock_offset_s = 0.0
        if path:  # whatever else is wrong with the file is said now
            anything = Intrinsics((2, 2), np.eye(3))
            placeholders = dict.fromkeys(self.missing, anything)
            self.clock_offset_s = read_calibration(path, placeholders).clock_offset_s or 0.0

    def take(self, camera: Camera, message: Any) -> Calibration | None:
        """Return the calibration if this message completes it; ConfigError for a bad message."""
        if camera not in self.missing:
            return None
        try:
            self._intrinsics[Camera(camera)] = Intrinsics.from_camera_info(message)
        except ConfigError as error:
            raise ConfigError(f"camera_info of the {camera} camera: {error}") from None
        self.missing.remove(Camera(camera))
        self.fault = self._what_is_missing() or "registration is being prepared"
        return self.calibration()

    def use(self, calibration: Calibration, register: Callable[[Calibration], None]) -> None:
        """Register with what :meth:`take` returned; if that fails the error becomes the fault."""
        try:
            register(calibration)
        except ConfigError as error:
            self.fault = f"{error}: correct {self._path} or the camera_info, then configure again"
            raise ConfigError(self.fault) from None
        self.fault = ""

    def calibration(self) -> Calibration | None:
        """The whole calibration; None while messages are missing, and without a file."""
        if self.missing or not self._path:
            return None
        return read_calibration(self._path, self._intrinsics)

    def _what_is_missing(self) -> str:
        cameras = " and ".join(map(str, self.missing))
        return f"registration waits for camera_info of {cameras}" if cameras else ""
