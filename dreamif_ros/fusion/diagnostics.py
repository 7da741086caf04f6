"""The state of the fusion node, as ``diagnostic_msgs``."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from dreamif_model import FusionPipeline
from dreamif_model.cameras import Camera
from dreamif_model.device import memory_mib
from dreamif_model.registration.drift import size_px
from dreamif_ros.fusion.camera_health import Fault, FusionMode
from dreamif_ros.fusion.fusion_stream import FusionStream
from dreamif_ros.node.diagnostic_status import DiagnosticValue, latencies, status

DROPS_OF_PAIRS = ("superseded", "unwatched", "refused", "failed")
DROPS_OF_MESSAGES = ("no_partner", "too_old", "duplicate", "cleared")


def fusion_diagnostics(
    node: str,
    state: str,
    pipeline: FusionPipeline | None,
    stream: FusionStream | None,
    mode: FusionMode | None,
) -> list[DiagnosticStatus]:
    """One status of the node (full name) and, while it is active, one of each camera."""
    values: dict[str, DiagnosticValue] = {"lifecycle state": state}
    if pipeline:
        values |= _model_values(pipeline)
    if not stream:
        return [status(node, values, message=f"{state}: not fusing")]
    values |= {"fusion mode": mode.value if mode else "starting", **_stream_values(stream)}
    faults = stream.faults()
    warnings = [f"{camera} is {fault.kind}" for camera, fault in faults.items() if fault]
    whole = status(node, values, [*warnings, *_warnings(stream)], is_error=mode is FusionMode.NONE)
    return [whole, *(_camera_status(node, c, fault, stream) for c, fault in faults.items())]


def _model_values(pipeline: FusionPipeline) -> dict[str, DiagnosticValue]:
    engine = pipeline.engine
    values: dict[str, DiagnosticValue] = {
        "variant": engine.variant,
        "backend": engine.backend.name,
        "device": engine.backend.device,
        "precision": engine.backend.precision,
    }
    memory = memory_mib(engine.backend.device)
    return values | {f"{where} memory (MiB)": size for where, size in memory.items()}


def _stream_values(stream: FusionStream) -> dict[str, DiagnosticValue]:
    """What became of every message and pair, rates, and the latency of each stage."""
    counts, pairing = stream.statistics.counts(), stream.partners.counts
    values: dict[str, DiagnosticValue] = {
        "infrared received": counts.get("infrared received", 0),
        "visible received": counts.get("visible received", 0),
        "pairs": pairing.paired,
        "published": counts.get("published", 0),
        "publish rate (Hz)": stream.statistics.rate_hz("published"),
        "pair rate (Hz)": stream.statistics.rate_hz("pairs"),
        "images used alone": counts.get("alone", 0),
    }
    for reason in DROPS_OF_PAIRS:
        values[f"pairs {reason}"] = counts.get(reason, 0)
    for camera, subscription in stream.inputs.items():
        values[f"{camera} refused"] = counts.get(f"{camera} refused", 0)
        if subscription.lost.count is not None:
            values[f"{camera} lost"] = subscription.lost.count
    for reason in DROPS_OF_MESSAGES:
        values[f"messages {reason}"] = getattr(pairing, reason)
    values["messages waiting"] = sum(stream.partners.waiting)
    values["jumps back in time"] = pairing.jumps
    if stream.fuser.alignment is not None:
        values["alignment (-1 to 1)"] = stream.fuser.alignment
    values |= _distance_values(stream) | _drift_values(stream)
    return values | latencies(stream.statistics)


def _distance_values(stream: FusionStream) -> dict[str, DiagnosticValue]:
    """The distance that the registration is for, if it depends on one, and the messages."""
    values: dict[str, DiagnosticValue] = {}
    registered_m = stream.registration.registered_m
    if registered_m is not None:
        values["registered distance (m)"] = registered_m
        values["distance messages used"] = stream.distances.used
        values["distance messages refused"] = stream.distances.refused
    return values


def _drift_values(stream: FusionStream) -> dict[str, DiagnosticValue]:
    """What the looks at the alignment found, if there were any."""
    drift = stream.drift
    if not drift.judged + drift.refused:
        return {}
    values: dict[str, DiagnosticValue] = {
        "alignment looks judged": drift.judged,
        "alignment looks refused": drift.refused,
    }
    for name, moves in {"drift (px)": drift.moves, "drift corrected (px)": drift.corrected}.items():
        if moves is not None:
            values[name] = size_px(moves)
    return values


def _warnings(stream: FusionStream) -> list[str]:
    """What is wrong beside the cameras' faults."""
    rates = stream.statistics.rate_hz
    warnings = ["fusion fails: see the node's log"] if rates("failed") else []
    warnings += [f"{camera} stamps are unset" for camera in Camera if rates(f"{camera} unstamped")]
    others = stream.distance_fault(), stream.drift.fault, stream.mixup
    return [*warnings, *filter(None, others)]


def _camera_status(
    node: str, camera: Camera, fault: Fault | None, stream: FusionStream
) -> DiagnosticStatus:
    subscription, received = stream.inputs[camera], f"{camera} received"
    values: dict[str, DiagnosticValue] = {
        "topic": subscription.topic,
        "rate (Hz)": stream.statistics.rate_hz(received),
        "received": stream.statistics.counts().get(received, 0),
        "publishers": subscription.describe_publishers(),
    }
    if stream.fuser.sequence.config.mode != "off":
        values["noise (σ, gray levels)"] = stream.fuser.sequence.memory.noise[camera]
    warnings = [f"{fault.kind}: {fault.text}"] if fault else []
    if camera is Camera.INFRARED:
        warnings += stream.remarks
    return status(f"{node}: {camera}", values, warnings, hardware_id=subscription.topic)
