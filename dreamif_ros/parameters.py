"""Node parameters as tables: one row each, from which nodes, YAML and README take them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from dreamif_model import VARIANTS, ConfigError
from dreamif_model.device import PRECISIONS
from dreamif_model.thermal import THERMAL_MODES, ThermalConfig
from dreamif_ros.health import HealthConfig
from dreamif_ros.synchronizers import POLICIES
from dreamif_ros.transport import MESSAGE_TYPES

Value = bool | int | float | str
_KNOWN_TO_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


@dataclass(frozen=True)
class Parameter:
    """One row: a node's parameter, what it may be, and what it means."""

    name: str
    default: Value
    description: str  # one sentence
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    live: bool = False  # may be changed while the node is configured

    def check(self, value: Any) -> Value:
        """Return ``value`` as the row's type; ConfigError says what was expected."""
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)  # 1 where 1.0 is meant
        if type(value) is not type(self.default):
            raise ConfigError(
                f"parameter {self.name} must be {type(self.default).__name__}, got {value!r}"
            )
        if self.choices and value not in self.choices:
            raise ConfigError(
                f"parameter {self.name} is {value!r}: choose one of {', '.join(self.choices)}"
            )
        if not isinstance(value, str) and not self._in_range(value):
            raise ConfigError(f"parameter {self.name} is {value!r}, expected {self.range_text}")
        checked: Value = value
        return checked

    def _in_range(self, value: float) -> bool:
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low <= value <= high  # false for NaN

    @property
    def range_text(self) -> str:
        """The accepted values in words, with their unit; empty where anything goes."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g} {self.unit}".strip()
        return f"at least {self.minimum:g} {self.unit}".strip() if self.minimum is not None else ""

    def descriptor(self, read_only: bool) -> ParameterDescriptor:
        """What ``ros2 param describe`` shows."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints=self.range_text,
            read_only=read_only,
            dynamic_typing=True,  # 1 is taken where 1.0 is meant
        )
        if self.minimum is None or self.maximum is None:
            return descriptor
        if isinstance(self.default, int):
            bounds = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
            descriptor.integer_range = [bounds]
        else:
            span = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
            descriptor.floating_point_range = [span]
        return descriptor


FUSION_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("autostart", True, "Configure and activate at the start, without a manager."),
    Parameter("variant", "nano", "Model variant; average needs no network.", choices=VARIANTS),
    Parameter("device", "auto", "Compute device: auto, cpu, cuda or cuda:N."),
    Parameter(
        "precision",
        "auto",
        "Numbers of the network: auto is fp16 on CUDA and fp32 on the CPU, where fp16 is refused.",
        choices=PRECISIONS,
    ),
    Parameter("weights", "", "Safetensors file to use instead of the packaged weights."),
    Parameter("cpu_threads", 0, "Threads of the network on the CPU; 0 leaves it to torch.", 0, 256),
    Parameter(
        "max_megapixels",
        8.5,
        "A larger image is refused: what one image may cost in memory.",
        0.01,
        1000.0,
        unit="Mpx",
        live=True,
    ),
    Parameter(
        "image_transport",
        "raw",
        "Of both inputs; compressed subscribes to <topic>/compressed.",
        choices=tuple(MESSAGE_TYPES),
    ),
    Parameter(
        "jpeg_quality", 90, "Of the compressed outputs; 100 is best.", 1, 100, unit="%", live=True
    ),
    Parameter(
        "sync.policy",
        "nearest",
        "How images are paired; approximate and exact take message_filters.",
        choices=POLICIES,
    ),
    Parameter(
        "sync.slop_s", 0.05, "Greatest stamp distance of a pair.", 0.0, 10.0, unit="s", live=True
    ),
    Parameter(
        "sync.queue_size",
        10,
        "Messages of each camera that wait for a partner.",
        1,
        1000,
        live=True,
    ),
    Parameter(
        "sync.infrared_offset_s",
        0.0,
        "Added to infrared stamps, and to the clock offset of the calibration.",
        -3600.0,
        3600.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "sync.visible_offset_s",
        0.0,
        "Added to visible stamps for pairing; the output keeps the camera's stamp.",
        -3600.0,
        3600.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "registration.file",
        "",
        "Calibration of the two cameras; without, infrared is resized to the visible image.",
    ),
    Parameter(
        "thermal.mode",
        ThermalConfig.mode,
        "Counts to gray: auto is passthrough for 8 bit, percentile for 16 bit and for °C.",
        choices=THERMAL_MODES,
        live=True,
    ),
    Parameter(
        "thermal.low",
        ThermalConfig.low,
        "Shown black in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    ),
    Parameter(
        "thermal.high",
        ThermalConfig.high,
        "Shown white in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    ),
    Parameter(
        "thermal.smoothing",
        ThermalConfig.smoothing,
        "Share of the percentile range that a new frame moves.",
        0.001,
        1.0,
        live=True,
    ),
    Parameter(
        "thermal.min_span",
        ThermalConfig.min_span,
        "Least range that percentile mode stretches to full contrast.",
        1.0,
        65535.0,
        unit="counts or 0.01 °C",
        live=True,
    ),
    Parameter("thermal.hot_black", ThermalConfig.hot_black, "Show hot things dark.", live=True),
    Parameter(
        "thermal.repair_pixels",
        ThermalConfig.repair_pixels,
        "Replace dead and stuck pixels by their neighbours.",
        live=True,
    ),
    Parameter(
        "dominance.smoothing",
        0.0,
        "Share of the last dominance map that stays where nothing moves; 0 is off.",
        0.0,
        0.95,
        live=True,
    ),
    Parameter(
        "health.timeout_s",
        HealthConfig.timeout_s,
        "Without images, or without pairs, for so long one camera is used alone; 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "health.frozen_s",
        HealthConfig.frozen_s,
        "With the same picture for so long a camera is frozen (a thermal shutter); 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "health.blank_s",
        HealthConfig.blank_s,
        "With one gray level everywhere for so long a camera is blank; 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
)

SIMULATION_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("seed", 0, "Which street and which passers-by.", 0, 2**31 - 1),
    Parameter("visible.width", 640, "Width of the visible image, in pixels.", 64, 4096),
    Parameter("visible.height", 480, "Height of the visible image, in pixels.", 48, 2160),
    Parameter("visible.rate_hz", 30.0, "Visible frames per second.", 0.1, 240.0),
    Parameter("visible.encoding", "bgr8", "Of the visible image.", choices=("bgr8", "rgb8")),
    Parameter("infrared.width", 640, "Width of the infrared image, in pixels.", 64, 4096),
    Parameter("infrared.height", 480, "Height of the infrared image, in pixels.", 48, 2160),
    Parameter("infrared.rate_hz", 30.0, "Infrared frames per second.", 0.1, 240.0),
    Parameter(
        "infrared.encoding",
        "mono16",
        "Counts of 0.01 kelvin, or an 8-bit picture with automatic gain.",
        choices=("mono16", "mono8"),
    ),
    Parameter(
        "infrared.clock_offset_s",
        0.0,
        "How far the infrared camera's clock is ahead, in seconds.",
        -10.0,
        10.0,
    ),
    Parameter("jitter_s", 0.0, "Standard deviation of every stamp, in seconds.", 0.0, 1.0),
    Parameter("noise", 1.0, "Sensor noise of both cameras; 0 is none.", 0.0, 10.0),
    Parameter(
        "misalignment",
        0.0,
        "Infrared camera turned, shifted and zoomed; 1 is about 20 px at 640×480.",
        0.0,
        1.0,
    ),
    Parameter(
        "reliability",
        "best_effort",
        "Reliability of the published images.",
        choices=("best_effort", "reliable"),
    ),
)


def declare(node: Node, table: Sequence[Parameter], read_only: bool = False) -> dict[str, Any]:
    """Declare a table on a node and return its values, checked.

    The node must be created with ``automatically_declare_parameters_from_overrides=True``: so
    a misspelt name in a YAML file is seen here, where rclpy would ignore it. ConfigError for an
    unknown name, a wrong type or a value out of range.
    """
    given = {name: p.value for name, p in node.get_parameters_by_prefix("").items()}
    given = {n: value for n, value in given.items() if not n.startswith(_KNOWN_TO_RCLPY)}
    _refuse_unknown(given, [row.name for row in table])
    values = {row.name: row.check(given.get(row.name, row.default)) for row in table}
    for row in table:
        if node.has_parameter(row.name):
            node.undeclare_parameter(row.name)
        descriptor = row.descriptor(read_only)
        node.declare_parameter(row.name, values[row.name], descriptor, ignore_override=True)
    return values


def changed(
    values: Mapping[str, Any],
    changes: Iterable[rclpy.parameter.Parameter[Any]],
    table: Sequence[Parameter],
    configured: bool,
) -> dict[str, Any]:
    """``values`` with changes of a running node, checked; those of other tables do not matter.

    ConfigError for a bad value, and for one that a configured node cannot take.
    """
    rows = {row.name: row for row in table}
    new = dict(values)
    for change in changes:
        row = rows.get(change.name)
        if row is None:
            continue
        new[row.name] = row.check(change.value)
        if configured and not row.live and new[row.name] != values[row.name]:
            raise ConfigError(
                f"parameter {row.name} cannot change while the node is configured: deactivate "
                "and clean up first, or start it anew"
            )
    return new


def group(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The values named ``prefix.*``, without the prefix: keyword arguments of a config."""
    start = f"{prefix}."
    return {n.removeprefix(start): value for n, value in values.items() if n.startswith(start)}


def as_yaml(node_name: str, table: Sequence[Parameter]) -> str:
    """A parameter file with every default, described."""
    lines = [
        f"# Every parameter of {node_name} with its default.",
        "/**:  # in every namespace",
        "  ros__parameters:",
    ]
    for row in table:
        accepted = f" ({row.range_text})" if row.range_text else ""
        default = f'"{row.default}"' if isinstance(row.default, str) else _yaml(row.default)
        lines += [f"    # {row.description}{accepted}", f"    {row.name}: {default}"]
    return "\n".join(lines) + "\n"


def _yaml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_markdown(table: Sequence[Parameter]) -> str:
    """The README's table of parameters."""
    lines = [
        "| parameter | default | accepts | live | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in table:
        shown = f"`{_yaml(row.default)}`" if row.default != "" else ""
        live = "yes" if row.live else ""
        lines.append(f"| `{row.name}` | {shown} | {row.range_text} | {live} | {row.description} |")
    return "\n".join(lines) + "\n"


def _refuse_unknown(given: dict[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"unknown parameter {name}: {hint}")
