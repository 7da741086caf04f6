"""Errors that a caller can catch.

Every message says what came, what was expected and what to do::

DreamIFError
├── ImageError        an array or image file that cannot be fused
├── WeightsError      weights that are missing, damaged or of another network
├── DeviceError       a device that you asked for and that is missing
├── ConfigError       a setting that is unknown or out of range
└── CalibrationError  images from which no calibration can be computed
"""

MAX_SHOWN = 100  # characters of a value in an error message


class DreamIFError(Exception):
    """Base of all errors that this project raises for a mistake of its user."""


class ImageError(DreamIFError):
    """An array or image file that cannot be fused."""


class WeightsError(DreamIFError):
    """Weights that are missing, damaged or made for another network."""


class DeviceError(DreamIFError):
    """A compute device that you asked for and that is missing."""


class ConfigError(DreamIFError):
    """A setting that is unknown or out of range."""


class CalibrationError(DreamIFError):
    """Images from which no calibration can be computed: neither the alignment nor the clocks."""


def shown(value: object) -> str:
    """A value for an error message: its repr, shortened to MAX_SHOWN characters."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
