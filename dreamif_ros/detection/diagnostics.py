"""The state of the detector node, as ``diagnostic_msgs``."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from dreamif_ros.detection.detection_stream import DetectionStream
from dreamif_ros.detection.detector import Detector
from dreamif_ros.node.diagnostic_status import DiagnosticValue, latencies, status

DROPS_OF_IMAGES = ("superseded", "unwatched", "above max_rate_hz", "refused", "failed")


def detector_diagnostics(
    node: str, state: str, detector: Detector | None, stream: DetectionStream | None
) -> DiagnosticStatus:
    """The status of the node (full name)."""
    values: dict[str, DiagnosticValue] = {"lifecycle state": state}
    if detector:
        values |= {"model": detector.config.model, "device": str(detector.device)}
    if not stream:
        return status(node, values, message=f"{state}: not detecting")
    counts, rates = stream.statistics.counts(), stream.statistics.rate_hz
    values |= {
        "image topic": stream.input.topic if stream.input else "in memory",
        "received": counts.get("received", 0),
        "published": counts.get("published", 0),
        "publish rate (Hz)": rates("published"),
        "objects in the last image": stream.objects,
        **{f"images {reason}": counts.get(reason, 0) for reason in DROPS_OF_IMAGES},
        **latencies(stream.statistics),
    }
    if stream.input and stream.input.lost.count is not None:
        values["images lost"] = stream.input.lost.count
    faults = {
        "no images come": not rates("received"),
        "images are refused: see the node's log": rates("refused"),
        "detection fails: see the node's log": rates("failed"),
    }
    return status(node, values, [text for text, is_so in faults.items() if is_so])
