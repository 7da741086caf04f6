"""Thermal images as cameras send them, made into gray levels that fusion can use."""

from dreamif_model.thermal.normalizer import ThermalNormalizer, finite_degrees
from dreamif_model.thermal.settings import (
    BYTE_ORDERS,
    THERMAL_MODES,
    ByteOrder,
    ThermalConfig,
    ThermalMode,
)

__all__ = [
    "BYTE_ORDERS",
    "THERMAL_MODES",
    "ByteOrder",
    "ThermalConfig",
    "ThermalMode",
    "ThermalNormalizer",
    "finite_degrees",
]
