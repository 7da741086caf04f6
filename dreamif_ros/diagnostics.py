"""A node's state as ``diagnostic_msgs`` (REP-107): keys carry their unit."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


def diagnostic_array(
    name: str, stamp: Time, warnings: list[str], values: Mapping[str, str | int | float]
) -> DiagnosticArray:
    """One status with everything: level WARN and the reasons as message, or OK."""
    status = DiagnosticStatus(
        level=WARN if warnings else OK,
        name=name,
        message="; ".join(warnings) or "ok",
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def _text(value: str | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
