"""A node's state as ``diagnostic_msgs`` (REP-107): keys carry their unit."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dreamif_model import FusionPipeline
from dreamif_model.device import memory_mib
from dreamif_ros.detection.detector import Detector
from dreamif_ros.detection.stream import DetectionStream
from dreamif_ros.fusion.fuser import CAMERAS
from dreamif_ros.fusion.health import Fault, FusionMode
from dreamif_ros.fusion.stream import FusionStream
from dreamif_ros.node.statistics import Statistics

Value = str | int | float
DROPS_OF_PAIRS = ("superseded", "unwatched", "refused", "failed")
DROPS_OF_IMAGES = ("superseded", "unwatched", "above max_rate_hz", "refused", "failed")
DROPS_OF_MESSAGES = ("no_partner", "too_old", "duplicate", "cleared")


def fusion_diagnostics(
    node: str,
    stamp: Time,
    state: str,
    pipeline: FusionPipeline | None,
    stream: FusionStream | None,
    mode: FusionMode | None,
) -> DiagnosticArray:
    """One status of the node with everything, and one of each camera.

    node: its full name. state: of its lifecycle.
    """
    values: dict[str, Value] = {"lifecycle state": state}
    if pipeline:
        values |= _model_values(pipeline)
    if not stream:
        status = _status(node, DiagnosticStatus.OK, f"{state}: not fusing", values)
        return _array(stamp, [status])
    values |= {"fusion mode": mode.value if mode else "starting", **_stream_values(stream)}
    faults = stream.faults()
    warnings = [f"{camera} is {fault.kind}" for camera, fault in faults.items() if fault]
    warnings += _warnings(stream)
    level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
    if mode is FusionMode.NONE:
        level = DiagnosticStatus.ERROR
    cameras = [_camera_status(node, camera, faults[camera], stream) for camera in CAMERAS]
    return _array(stamp, [_status(node, level, "; ".join(warnings) or "ok", values), *cameras])


def detector_diagnostics(
    node: str,
    stamp: Time,
    state: str,
    detector: Detector | None,
    stream: DetectionStream | None,
) -> DiagnosticArray:
    """One status of the detector node with everything.

    node: its full name. state: of its lifecycle.
    """
    values: dict[str, Value] = {"lifecycle state": state}
    if detector:
        values |= {"model": detector.config.model, "device": str(detector.device)}
    if not stream:
        status = _status(node, DiagnosticStatus.OK, f"{state}: not detecting", values)
        return _array(stamp, [status])
    counts, rates = stream.statistics.counts(), stream.statistics.rate_hz
    values |= {
        "image topic": stream.input.topic if stream.input else "in memory",
        "received": counts.get("received", 0),
        "published": counts.get("published", 0),
        "publish rate (Hz)": rates("published"),
        "objects in the last image": stream.objects,
        **{f"images {reason}": counts.get(reason, 0) for reason in DROPS_OF_IMAGES},
        **_latencies(stream.statistics),
    }
    if stream.input and stream.input.lost.count is not None:
        values["images lost"] = stream.input.lost.count
    faults = {
        "no images come": not rates("received"),
        "images are refused: see the node's log": rates("refused"),
        "detection fails: see the node's log": rates("failed"),
    }
    warnings = [text for text, so in faults.items() if so]
    level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
    return _array(stamp, [_status(node, level, "; ".join(warnings) or "ok", values)])


def _model_values(pipeline: FusionPipeline) -> dict[str, Value]:
    engine = pipeline.engine
    values: dict[str, Value] = {
        "variant": engine.variant,
        "backend": engine.backend.name,
        "device": engine.backend.device,
        "precision": engine.backend.precision,
    }
    memory = memory_mib(engine.backend.device)
    return values | {f"{where} memory (MiB)": size for where, size in memory.items()}


def _stream_values(stream: FusionStream) -> dict[str, Value]:
    """What became of every message and pair, rates, and the latency of each stage."""
    counts, pairing = stream.statistics.counts(), stream.synchronizer.counts
    values: dict[str, Value] = {
        "infrared received": counts.get("infrared", 0),
        "visible received": counts.get("visible", 0),
        "pairs": pairing.paired,
        "published": counts.get("published", 0),
        "publish rate (Hz)": stream.statistics.rate_hz("published"),
        "pair rate (Hz)": stream.statistics.rate_hz("pairs"),
        "images used alone": counts.get("alone", 0),
    }
    for reason in DROPS_OF_PAIRS:
        values[f"pairs {reason}"] = counts.get(reason, 0)
    for camera in CAMERAS:
        values[f"{camera} refused"] = counts.get(f"{camera} refused", 0)
        lost = stream.inputs[camera].lost.count
        if lost is not None:
            values[f"{camera} lost"] = lost
    for reason in DROPS_OF_MESSAGES:
        values[f"messages {reason}"] = getattr(pairing, reason)
    values["messages waiting"] = sum(stream.synchronizer.waiting)
    values["jumps back in time"] = pairing.jumps
    if stream.fuser.alignment is not None:
        values["alignment (-1 to 1)"] = stream.fuser.alignment
    return values | _latencies(stream.statistics)


def _latencies(statistics: Statistics) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for stage, (median, p99) in statistics.percentiles_ms().items():
        values[f"{stage} p50 (ms)"], values[f"{stage} p99 (ms)"] = median, p99
    return values


def _warnings(stream: FusionStream) -> list[str]:
    """What else is wrong."""
    rates = stream.statistics.rate_hz
    warnings = ["fusion fails: see the node's log"] if rates("failed") else []
    warnings += [f"{camera} stamps are unset" for camera in CAMERAS if rates(f"{camera} unstamped")]
    return warnings


def _camera_status(
    node: str, camera: str, fault: Fault | None, stream: FusionStream
) -> DiagnosticStatus:
    subscription = stream.inputs[camera]
    values: dict[str, Value] = {
        "topic": subscription.topic,
        "rate (Hz)": stream.statistics.rate_hz(camera),
        "received": stream.statistics.counts().get(camera, 0),
        "publishers": subscription.describe_publishers(),
    }
    level = DiagnosticStatus.WARN if fault else DiagnosticStatus.OK
    message = f"{fault.kind}: {fault.text}" if fault else "ok"
    return _status(f"{node}: {camera}", level, message, values)


def _status(name: str, level: bytes, message: str, values: Mapping[str, Value]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def _array(stamp: Time, status: list[DiagnosticStatus]) -> DiagnosticArray:
    array = DiagnosticArray(status=status)
    array.header.stamp = stamp
    return array


def _text(value: Value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
