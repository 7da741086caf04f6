"""The options by which a bag's images are taken as the fusion node would take them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from dreamif_model.cameras import Camera
from dreamif_model.errors import ConfigError
from dreamif_model.thermal import BYTE_ORDERS, THERMAL_MODES, ThermalConfig
from dreamif_ros.bag.recorded_pairs import PairingOptions

# The fields of ThermalConfig, which are the node's parameters thermal.*
_THERMAL = {
    "mode": "counts to gray; auto is passthrough for 8 bit, percentile for 16 bit and for °C",
    "low": "counts or °C shown black in mode fixed",
    "high": "counts or °C shown white in mode fixed",
    "smoothing": "share by which a new frame moves the percentile range",
    "min_span": "narrowest range, in counts or 0.01 °C, that percentile mode stretches; 0: by the "
    "noise of the images",
    "hot_black": "show hot things dark",
    "repair_pixels": "replace dead and stuck pixels by their neighbours",
    "byte_order": "of 16-bit pixels; auto swaps the bytes where that alone makes sense",
    "crop": "rows and columns to cut off, such as telemetry rows",
}
_CHOICES = {"mode": THERMAL_MODES, "byte_order": BYTE_ORDERS}


def add_pairing_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides which images are a pair, and how infrared lies on the visible one."""
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="YAML of `dreamif calibrate` (registration.file); without, infrared is resized",
    )
    parser.add_argument(
        "--slop",
        type=float,
        default=0.05,
        metavar="SECONDS",
        help="sync.slop_s: max distance between the stamps of a pair (default: %(default)g s)",
    )
    for camera in Camera:
        parser.add_argument(
            f"--{camera}-offset",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help=f"sync.{camera}_offset_s: added to {camera} stamps (default: %(default)g s)",
        )


def pairing_options(options: argparse.Namespace) -> PairingOptions:
    """What :func:`add_pairing_options` asks for, but for the calibration."""
    return PairingOptions(options.slop, options.infrared_offset, options.visible_offset)


def add_thermal_options(parser: argparse.ArgumentParser) -> None:
    """Add the fields of ThermalConfig."""
    for item in fields(ThermalConfig):
        option = f"--thermal-{item.name.replace('_', '-')}"
        text = f"thermal.{item.name}: {_THERMAL[item.name]}"
        if item.default is False:
            parser.add_argument(option, action="store_true", help=text)
        elif item.name in _CHOICES:
            parser.add_argument(option, choices=_CHOICES[item.name], help=text)
        elif item.name == "crop":
            sides = ("TOP", "BOTTOM", "LEFT", "RIGHT")
            parser.add_argument(option, type=int, nargs=4, metavar=sides, help=text)
        else:
            text += f" (default: {item.default:g})"
            parser.add_argument(option, type=float, metavar="VALUE", help=text)


def thermal_config(options: argparse.Namespace) -> ThermalConfig:
    """What :func:`add_thermal_options` asks for."""
    given = {name: getattr(options, f"thermal_{name}") for name in _THERMAL}
    for name in ("low", "high"):
        if given[name] is not None and given["mode"] != "fixed":
            raise ConfigError(f"--thermal-{name} is for --thermal-mode fixed: give both")
    return ThermalConfig(**{name: value for name, value in given.items() if value is not None})
