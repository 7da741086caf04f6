"""A ``diagnostic_msgs/DiagnosticStatus`` from tables, which docs/node.md shows as well.

A table has a row for each key, or for each condition that makes a status WARN or ERROR. A row says
what it means, and reads its value from what the status is about. Keys carry their unit (REP-107).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dreamif_ros.node.node_statistics import Statistics

DiagnosticValue = str | int | float
Source = TypeVar("Source")


@dataclass(frozen=True)
class Key(Generic[Source]):
    """A key of a status.

    meaning: for people; neighbours with the same meaning share a row of the document. read: its
    value; None where the key is left out.
    """

    name: str
    meaning: str
    read: Callable[[Source], DiagnosticValue | None]


@dataclass(frozen=True)
class Condition(Generic[Source]):
    """What makes a status WARN, or ERROR.

    message: as the document has it. find: whether it holds now, or the messages where they say
    more than ``message``.
    """

    message: str
    when: str
    find: Callable[[Source], bool | Iterable[str]]
    is_error: bool = False

    def messages(self, source: Source) -> list[str]:
        """What is said now; nothing if all is well."""
        found = self.find(source)
        if isinstance(found, bool):
            return [self.message] if found else []
        return list(found)


class HasStatistics(Protocol):
    """What the latencies of a status are read from."""

    @property
    def statistics(self) -> Statistics:
        """Its statistics."""


def stage_keys(stages: Mapping[str, str]) -> tuple[Key[Any], ...]:
    """Median and 99th percentile of each stage (name: meaning) that was measured."""
    return tuple(
        Key(f"{stage} p{percent} (ms)", meaning, partial(_percentile_ms, stage, percent / 100))
        for stage, meaning in stages.items()
        for percent in (50, 99)
    )


def _percentile_ms(stage: str, share: float, source: HasStatistics) -> float | None:
    return source.statistics.percentile_ms(stage, share)


def read_keys(keys: Sequence[Key[Source]], source: Source) -> dict[str, DiagnosticValue]:
    """The values of the keys that are reported now."""
    values = ((key.name, key.read(source)) for key in keys)
    return {name: value for name, value in values if value is not None}


def judged_status(
    name: str,
    values: Mapping[str, DiagnosticValue],
    conditions: Sequence[Condition[Source]],
    source: Source,
    hardware_id: str = "",
) -> DiagnosticStatus:
    """The status with the messages of all conditions that hold now."""
    found = [(condition, condition.messages(source)) for condition in conditions]
    is_error = any(condition.is_error for condition, messages in found if messages)
    warnings = [message for _, messages in found for message in messages]
    return status(name, values, warnings, is_error=is_error, hardware_id=hardware_id)


def status(
    name: str,
    values: Mapping[str, DiagnosticValue],
    warnings: Sequence[str] = (),
    *,
    message: str = "ok",
    is_error: bool = False,
    hardware_id: str = "",
) -> DiagnosticStatus:
    """The status of a node or of one of its cameras: OK, or WARN with warnings as its message.

    name: ``<full name of the node>`` or ``<node>: <camera>``. message: Without warnings.
    is_error: Whether the level is ERROR instead. hardware_id: Empty for this computer.
    """
    level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
    return DiagnosticStatus(
        level=DiagnosticStatus.ERROR if is_error else level,
        name=name,
        hardware_id=hardware_id,
        message="; ".join(warnings) or message,
        values=key_values(values),
    )


def key_values(values: Mapping[str, DiagnosticValue]) -> list[KeyValue]:
    """The values as messages, floats with three decimals."""
    return [KeyValue(key=key, value=_text(value)) for key, value in values.items()]


def keys_as_markdown(keys: Iterable[Key[Any]]) -> str:
    """The table of keys as docs/node.md has it."""
    lines = ["| key | meaning |", "| --- | --- |"]
    for meaning, same in groupby(keys, key=lambda key: key.meaning):
        lines.append(f"| {', '.join(f'`{key.name}`' for key in same)} | {meaning} |")
    return "\n".join(lines) + "\n"


def conditions_as_markdown(conditions: Iterable[Condition[Any]]) -> str:
    """The table of conditions as docs/node.md has it."""
    lines = ["| level | message | when |", "| --- | --- | --- |"]
    for row in conditions:
        level = "ERROR" if row.is_error else "WARN"
        lines.append(f"| {level} | `{row.message}` | {row.when} |")
    return "\n".join(lines) + "\n"


def _text(value: DiagnosticValue) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
