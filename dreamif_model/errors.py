"""Errors that a caller is meant to catch.

Every message says what came, what was expected and what to do::

    DreamIFError
    ├── ImageError        an array or image file that cannot be fused
    ├── WeightsError      weights that are missing, damaged or of another network
    ├── DeviceError       a device that was asked for and is not there
    ├── ConfigError       a setting that is unknown or out of range
    └── CalibrationError  images that do not tell how the cameras are aligned
"""


class DreamIFError(Exception):
    """Base of all errors that this project raises for a user's mistake."""


class ImageError(DreamIFError):
    """An array or image file that cannot be fused."""


class WeightsError(DreamIFError):
    """Weights that are missing, damaged or made for another network."""


class DeviceError(DreamIFError):
    """A compute device that was asked for and is not there."""


class ConfigError(DreamIFError):
    """A setting that is unknown or out of range."""


class CalibrationError(DreamIFError):
    """Images that do not tell how the cameras are aligned, in space or in time."""
