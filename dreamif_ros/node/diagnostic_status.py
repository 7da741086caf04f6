"""One ``diagnostic_msgs/DiagnosticStatus`` from plain values (REP-107): keys carry their unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dreamif_ros.node.node_statistics import Statistics

DiagnosticValue = str | int | float


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
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def latencies(statistics: Statistics) -> dict[str, DiagnosticValue]:
    """Median and 99th percentile of each stage."""
    values: dict[str, DiagnosticValue] = {}
    for stage, (median, p99) in statistics.percentiles_ms().items():
        values[f"{stage} p50 (ms)"], values[f"{stage} p99 (ms)"] = median, p99
    return values


def _text(value: DiagnosticValue) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
