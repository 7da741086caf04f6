"""The state of the detector node, as ``diagnostic_msgs``: tables of its keys and conditions."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

from dreamif_ros.detection.detection_stream import DetectionStream
from dreamif_ros.detection.detector import Detector
from dreamif_ros.node.diagnostic_status import (
    Condition,
    Key,
    judged_status,
    read_keys,
    stage_keys,
    status,
)

DROPS_OF_IMAGES = {
    "superseded": "images that a newer one replaced before the worker was free",
    "unwatched": "images while nobody subscribed",
    "above max_rate_hz": "images that came too soon for `max_rate_hz`",
    "refused": "images that could not be used; the log says why",
    "failed": "images whose detection ended in an error",
}
STAGES = {
    "wait": "from arrival to the worker",
    "decode": "message to pixels",
    "detect": "the network and the tracker",
    "publish": "messages to the middleware, with the boxes drawn",
    "stamp_to_publish": "age of a frame when its result was published; not of recorded stamps",
}


def _count(name: str) -> Callable[[DetectionStream], int]:
    return lambda stream: stream.statistics.counts().get(name, 0)


MODEL_KEYS: tuple[Key[Detector], ...] = (
    Key("model", "file or folder of the model", lambda detector: detector.config.model),
    Key("device", "where it runs", lambda detector: str(detector.device)),
)
STREAM_KEYS: tuple[Key[DetectionStream], ...] = (
    Key(
        "image topic",
        "of the images; `in memory` in `pipeline_node`",
        lambda stream: stream.input.topic if stream.input else "in memory",
    ),
    Key("received", "images that came, since activation as all counts", _count("received")),
    Key("published", "images whose detections were published", _count("published")),
    Key(
        "publish rate (Hz)",
        "results, over the last 2 s",
        lambda stream: stream.statistics.rate_hz("published"),
    ),
    Key(
        "objects in the last image",
        "detections in the image that was published last",
        lambda stream: stream.objects,
    ),
    *(Key(f"images {why}", text, _count(why)) for why, text in DROPS_OF_IMAGES.items()),
    Key(
        "images lost",
        "images that were sent but never received; not on Humble",
        lambda stream: stream.input.lost.count if stream.input else None,
    ),
    *stage_keys(STAGES),
)
CONDITIONS: tuple[Condition[DetectionStream], ...] = (
    Condition(
        "no images come",
        "no image came in the last 2 s",
        lambda stream: not stream.statistics.rate_hz("received"),
    ),
    Condition(
        "images are refused: see the node's log",
        "an image in the last 2 s could not be used",
        lambda stream: stream.statistics.rate_hz("refused") > 0,
    ),
    Condition(
        "detection fails: see the node's log",
        "the detection in an image ended in an error in the last 2 s",
        lambda stream: stream.statistics.rate_hz("failed") > 0,
    ),
)


def detector_diagnostics(
    node: str, state: str, detector: Detector | None, stream: DetectionStream | None
) -> DiagnosticStatus:
    """The status of the node (full name)."""
    values = read_keys(MODEL_KEYS, detector) if detector else {}
    if not stream:
        return status(node, values, message=f"{state}: not detecting")
    return judged_status(node, values | read_keys(STREAM_KEYS, stream), CONDITIONS, stream)
