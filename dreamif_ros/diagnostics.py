"""A node's state as ``diagnostic_msgs`` (REP-107): keys carry their unit."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dreamif_ros.pairing import PairingCounts
from dreamif_ros.statistics import Statistics

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


def diagnostic_array(
    name: str, stamp: Time, warnings: list[str], values: Mapping[str, str]
) -> DiagnosticArray:
    """One status with everything: level WARN and the reasons as message, or OK."""
    status = DiagnosticStatus(
        level=WARN if warnings else OK,
        name=name,
        message="; ".join(warnings) or "ok",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def fusion_values(statistics: Statistics, pairing: PairingCounts) -> dict[str, str]:
    """What became of every message and pair, rates, and the latency of each stage."""
    counts = statistics.counts()
    values: dict[str, str | int | float] = {
        "infrared received": counts.get("infrared", 0),
        "visible received": counts.get("visible", 0),
        "pairs": pairing.paired,
        "published": counts.get("published", 0),
        "publish rate (Hz)": statistics.rate_hz("published"),
    }
    for reason in ("superseded", "unwatched", "refused", "failed"):
        values[f"pairs {reason}"] = counts.get(reason, 0)
    for reason in ("no_partner", "too_old", "duplicate", "cleared"):
        values[f"messages {reason}"] = getattr(pairing, reason)
    for stage, (median, p99) in statistics.percentiles_ms().items():
        values[f"{stage} p50 (ms)"], values[f"{stage} p99 (ms)"] = median, p99
    return {key: _text(value) for key, value in values.items()}


def fusion_warnings(statistics: Statistics) -> list[str]:
    """What is wrong although both cameras send."""
    warnings = [
        f"pairs are {reason}: see the node's log"
        for reason in ("refused", "failed")
        if statistics.rate_hz(reason)
    ]
    if not statistics.rate_hz("pairs"):
        warnings.append("no pairs: stamps are unset, or further apart than sync.slop_s")
    return warnings


def _text(value: str | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
