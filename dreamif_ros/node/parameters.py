"""A node's parameters from a table: declared, checked, changed; as YAML and for the README."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from dreamif_model import ConfigError

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


def declare(
    node: Node,
    table: Sequence[Parameter],
    read_only: bool = False,
    also_known: Sequence[str] = (),
) -> dict[str, Any]:
    """Declare a table on a node and return its values, checked.

    The node must be created with ``automatically_declare_parameters_from_overrides=True``: so
    a misspelt name in a YAML file is seen here, where rclpy would ignore it. ConfigError for an
    unknown name, a wrong type or a value out of range. also_known: names of other nodes in the
    process, which are given to this one too where nobody says whose they are.
    """
    given = {name: p.value for name, p in node.get_parameters_by_prefix("").items()}
    given = {n: value for n, value in given.items() if not n.startswith(_KNOWN_TO_RCLPY)}
    own = [row.name for row in table]
    for name in [name for name in given if name in also_known and name not in own]:
        node.undeclare_parameter(name)
        del given[name]
    _refuse_unknown(given, [*own, *also_known])
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
