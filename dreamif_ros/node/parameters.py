"""A node's parameters, from its settings class: declared, checked, changed, documented.

A settings class is a frozen dataclass whose fields are made by :func:`parameter`, or are other
settings classes: ``sync.slop_s`` is the field ``slop_s`` of the field ``sync``.
"""

from __future__ import annotations

import difflib
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from dreamif_model import ConfigError

ParameterValue = bool | int | float | str | tuple[int, ...]
S = TypeVar("S")
_KNOWN_TO_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


@dataclass(frozen=True)
class Parameter:
    """A node's parameter: what it may be, and what it means."""

    name: str
    default: ParameterValue
    description: str  # one sentence
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    live: bool = False  # may change while the node is configured
    words: tuple[str, ...] = ()  # accepted in place of a number

    def check(self, value: Any) -> ParameterValue:
        """Return ``value`` as the parameter's type; ConfigError says what was expected."""
        if isinstance(self.default, tuple):
            return self._check_list(value)
        if value in self.words:
            return str(value)
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)  # 1 means 1.0
        if value is False and "off" in self.choices:
            value = "off"  # which YAML reads as a truth value where it is not quoted
        if type(value) is not type(self.default):
            raise ConfigError(f"parameter {self.name} must be {self._kind_text}, got {value!r}")
        if self.choices and value not in self.choices:
            raise ConfigError(
                f"parameter {self.name} is {value!r}: choose one of {self.range_text}"
            )
        if not isinstance(value, str) and not self._in_range(value):
            raise ConfigError(f"parameter {self.name} is {value!r}, expected {self.range_text}")
        checked: ParameterValue = value
        return checked

    def _check_list(self, value: Any) -> tuple[int, ...]:
        assert isinstance(self.default, tuple)
        items = tuple(value) if isinstance(value, (list, tuple, array)) else ()
        whole = all(type(item) is int and self._in_range(item) for item in items)
        if len(items) != len(self.default) or not whole:
            raise ConfigError(
                f"parameter {self.name} must be {len(self.default)} whole numbers from "
                f"{self.range_text}, got {value!r}"
            )
        return items

    def _in_range(self, value: float) -> bool:
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low <= value <= high  # false for NaN

    @property
    def range_text(self) -> str:
        """The accepted values in words, with their unit; empty if anything is accepted."""
        if self.choices:
            return ", ".join(filter(None, self.choices))
        if self.minimum is None or self.maximum is None:
            return ""
        numbers = f"{self.minimum:g} to {self.maximum:g} {self.unit}".strip()
        return ", ".join((numbers, *self.words))

    @property
    def _kind_text(self) -> str:
        return " or ".join((type(self.default).__name__, *self.words))

    def descriptor(self, read_only: bool) -> ParameterDescriptor:
        """What ``ros2 param describe`` shows."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints=self.range_text,
            read_only=read_only,
            dynamic_typing=True,  # 1 is accepted as 1.0
        )
        if self.minimum is None or self.maximum is None:
            return descriptor
        if isinstance(self.default, (int, tuple)):
            bounds = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
            descriptor.integer_range = [bounds]
        else:
            span = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
            descriptor.floating_point_range = [span]
        return descriptor


def parameter(
    default: ParameterValue,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    unit: str = "",
    live: bool = False,
    words: tuple[str, ...] = (),
) -> Any:
    """A field of a settings class; the arguments are those of :class:`Parameter`."""
    row = Parameter("", default, description, minimum, maximum, choices, unit, live, words)
    return field(default=default, metadata={"parameter": row})


def table(settings: type[Any]) -> tuple[Parameter, ...]:
    """All parameters of a settings class."""
    return tuple(row for row, _ in _walk(settings()))


def _walk(settings: Any, prefix: str = "") -> Iterator[tuple[Parameter, ParameterValue]]:
    """Each parameter of settings, and its value there."""
    for item in fields(settings):
        name, value = prefix + item.name, getattr(settings, item.name)
        if is_dataclass(value):
            yield from _walk(value, f"{name}.")
        else:
            yield replace(item.metadata["parameter"], name=name), value


def build(kind: type[S], values: Mapping[str, Any], prefix: str = "") -> S:
    """Settings with these values, by parameter name; ConfigError if they contradict each other."""
    arguments = {}
    for item in fields(kind):  # type: ignore[arg-type]  # mypy has no name for a dataclass's type
        name = prefix + item.name
        if is_dataclass(item.default):
            arguments[item.name] = build(type(item.default), values, f"{name}.")
        else:
            arguments[item.name] = values[name]
    return kind(**arguments)


def declare(
    node: Node, kind: type[S], read_only: bool = False, also_known: Sequence[str] = ()
) -> S:
    """Declare the parameters of a settings class on a node; returns the settings, checked.

    The node must be created with ``automatically_declare_parameters_from_overrides=True``, so that
    a misspelt name in a YAML file is seen here; rclpy would ignore it. ConfigError for an unknown
    name, a wrong type, a value out of range and values that contradict each other.

    also_known: Parameters of other nodes in this process, which this node got as well if they came
    without a node's name; they are dropped here.
    """
    rows = table(kind)
    given = {name: p.value for name, p in node.get_parameters_by_prefix("").items()}
    given = {n: value for n, value in given.items() if not n.startswith(_KNOWN_TO_RCLPY)}
    own = [row.name for row in rows]
    for name in [name for name in given if name in also_known and name not in own]:
        node.undeclare_parameter(name)
        del given[name]
    _refuse_unknown(given, [*own, *also_known])
    values = {row.name: row.check(given.get(row.name, row.default)) for row in rows}
    for row in rows:
        if node.has_parameter(row.name):
            node.undeclare_parameter(row.name)
        descriptor = row.descriptor(read_only)
        node.declare_parameter(row.name, values[row.name], descriptor, ignore_override=True)
    return build(kind, values)


def changed(settings: S, changes: Iterable[rclpy.parameter.Parameter[Any]], configured: bool) -> S:
    """``settings`` with changes, checked; parameters that are not of this class are ignored.

    ConfigError for a bad value, and for a change that a configured node cannot take.
    """
    rows = {row.name: (row, value) for row, value in _walk(settings)}
    values = {name: value for name, (_, value) in rows.items()}
    for change in changes:
        if change.name not in rows:
            continue
        row, before = rows[change.name]
        values[row.name] = row.check(change.value)
        if configured and not row.live and values[row.name] != before:
            raise ConfigError(
                f"parameter {row.name} cannot change while the node is configured: deactivate "
                "and clean up first, or restart the node"
            )
    return build(type(settings), values)


def as_yaml(node_name: str, rows: Sequence[Parameter]) -> str:
    """A parameter file with every default, described."""
    lines = [
        f"# Every parameter of {node_name} with its default.",
        "/**:  # in every namespace",
        "  ros__parameters:",
    ]
    for row in rows:
        accepted = f" ({row.range_text})" if row.range_text else ""
        default = f'"{row.default}"' if isinstance(row.default, str) else _yaml(row.default)
        lines += [f"    # {row.description}{accepted}", f"    {row.name}: {default}"]
    return "\n".join(lines) + "\n"


def _yaml(value: ParameterValue) -> str:
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_markdown(rows: Sequence[Parameter]) -> str:
    """The table of parameters in the documents."""
    lines = [
        "| parameter | default | accepts | live | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
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
