"""Dream-IF: infrared and visible image fusion guided by relative dominance.

The names below, those of :mod:`dreamif_model.metrics` and those of :mod:`dreamif_ros.bag` are what
other programs may rely on. All else may change.

>>> from dreamif_model import FusionPipeline
>>> result = FusionPipeline(variant="nano").fuse(visible=rgb, infrared=gray)  # doctest: +SKIP
>>> result.fused.shape, result.dominance_infrared.shape  # doctest: +SKIP
((480, 640, 3), (480, 640))
"""

from dreamif_model import _openmp  # noqa: F401  # first: it must come before torch
from dreamif_model.errors import (
    CalibrationError,
    ConfigError,
    DeviceError,
    DreamIFError,
    ImageError,
    WeightsError,
)
from dreamif_model.fusion_result import FusionResult
from dreamif_model.image_files import PairPaths, find_pairs, read_gray, read_rgb, write_image
from dreamif_model.pipeline import FusionPipeline
from dreamif_model.registration.calibration_file import read_calibration
from dreamif_model.registration.warp import Calibration
from dreamif_model.stream import StreamFuser
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_model.thermal import ThermalConfig
from dreamif_model.variants import VARIANTS

__all__ = [
    "VARIANTS",
    "Calibration",
    "CalibrationError",
    "ConfigError",
    "DeviceError",
    "DreamIFError",
    "FusionPipeline",
    "FusionResult",
    "ImageError",
    "PairPaths",
    "StreamFuser",
    "TemporalConfig",
    "ThermalConfig",
    "WeightsError",
    "find_pairs",
    "read_calibration",
    "read_gray",
    "read_rgb",
    "write_image",
]
