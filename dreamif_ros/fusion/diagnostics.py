"""The state of the fusion node, as ``diagnostic_msgs``: the tables of its keys and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus

from dreamif_model import FusionPipeline
from dreamif_model.arrays import Points
from dreamif_model.cameras import Both, Camera
from dreamif_model.device import memory_mib
from dreamif_model.engine import FusionEngine
from dreamif_model.registration.drift import size_px
from dreamif_ros.fusion.camera_health import Fault, FusionMode
from dreamif_ros.fusion.distances import Distances
from dreamif_ros.fusion.drift_check import DriftCheck
from dreamif_ros.fusion.fusion_stream import FusionStream
from dreamif_ros.node.diagnostic_status import (
    Condition,
    DiagnosticValue,
    Key,
    judged_status,
    read_keys,
    stage_keys,
    status,
)
from dreamif_ros.node.transport import FollowingSubscription

DROPS_OF_PAIRS = {
    "superseded": "pairs, or images used alone, that a newer one replaced before they were fused",
    "unwatched": "pairs, or images used alone, while nobody subscribed",
    "refused": "pairs, or images used alone, that could not be used; the log says why",
    "failed": "pairs, or images used alone, whose fusion ended in an error",
}
DROPS_OF_MESSAGES = {
    "no_partner": "images without an image of the other camera within `sync.slop_s`",
    "too_old": "images that came after a later one had been paired",
    "duplicate": "images whose stamp was already waiting, or was paired last",
    "cleared": "images that waited when the stamps went back",
}
STAGES = {
    "skew": "distance of the stamps of a pair",
    "infrared_offset": "infrared stamp minus visible stamp of a pair",
    "wait": "from arrival to the worker",
    "decode": "message to pixels",
    "normalize": "thermal counts to gray levels",
    "warp": "infrared onto the visible pixels",
    "temporal": "noise removed with earlier frames, if `temporal.mode` is on",
    "infer": "the network",
    "encode": "pixels to messages, JPEG among them",
    "publish": "messages to the middleware",
    "stamp_to_publish": "age of a frame when its result was published; not of recorded stamps",
}


@dataclass(frozen=True)
class _Active:
    """What the status of an active node is about."""

    stream: FusionStream
    mode: FusionMode | None  # None until it is known
    faults: Both[Fault | None]


@dataclass(frozen=True)
class _OneCamera:
    """What the status of a camera is about."""

    stream: FusionStream
    camera: Camera
    fault: Fault | None

    @property
    def input(self) -> FollowingSubscription:
        return self.stream.inputs[self.camera]


Read = Callable[[FusionStream], DiagnosticValue | None]


def _count(name: str) -> Read:
    return lambda stream: stream.statistics.counts().get(name, 0)


def _rate(name: str) -> Read:
    return lambda stream: stream.statistics.rate_hz(name)


def _unpaired(reason: str) -> Read:
    return lambda stream: int(getattr(stream.partners.counts, reason))


def _lost(camera: Camera) -> Read:
    return lambda stream: stream.inputs[camera].lost.count


def _of_distances(read: Callable[[Distances], int]) -> Read:
    """Something that counts messages; None without a topic."""
    return lambda stream: read(stream.distances) if stream.has_distances else None


def _of_drift(read: Callable[[DriftCheck], DiagnosticValue | None]) -> Read:
    """Something of the looks at the alignment; None before the first."""
    return lambda stream: read(stream.drift) if stream.drift.has_looked else None


def _size_px(moves: Points | None) -> float | None:
    return None if moves is None else size_px(moves)


def _memory(where: str, engine: FusionEngine) -> float | None:
    return memory_mib(engine.backend.device).get(where)


def _noise(one: _OneCamera) -> float | None:
    sequence = one.stream.fuser.sequence
    return None if sequence.config.mode == "off" else sequence.memory.noise[one.camera]


def _unstamped(active: _Active) -> Iterator[str]:
    rate_hz = active.stream.statistics.rate_hz
    return (f"{camera} stamps are unset" for camera in Camera if rate_hz(f"{camera} unstamped"))


ENGINE_KEYS: tuple[Key[FusionEngine], ...] = (
    Key("variant", "the model, as the parameter of this name", lambda engine: engine.variant),
    Key("backend", "what runs the network", lambda engine: engine.backend.name),
    Key("device", "where it runs", lambda engine: engine.backend.device),
    Key("precision", "in which precision", lambda engine: engine.backend.precision),
    Key("host memory (MiB)", "resident memory of the process", partial(_memory, "host")),
    Key(
        "device memory (MiB)",
        "GPU memory that torch holds, on CUDA only",
        partial(_memory, "device"),
    ),
)
DISTANCE_KEYS: tuple[Key[FusionStream], ...] = (
    Key(
        "registered distance (m)",
        "what the [registration](registration.md#follow-the-distance) of two cameras is for",
        lambda stream: stream.registration.registered_m,
    ),
    Key(
        "distance messages used",
        "of `registration.distance_topic`",
        _of_distances(lambda distances: distances.used),
    ),
    Key(
        "distance messages refused",
        "because they hold no distance that can be used",
        _of_distances(lambda distances: distances.refused),
    ),
)
DRIFT_KEYS: tuple[Key[FusionStream], ...] = (
    Key(
        "alignment looks judged",
        "frames that told [how infrared fits](registration.md#watch-the-alignment)",
        _of_drift(lambda drift: drift.judged),
    ),
    Key(
        "alignment looks refused",
        "frames whose edges did not tell it",
        _of_drift(lambda drift: drift.refused),
    ),
    Key(
        "drift (px)",
        "how far infrared lies from where it did at the start, in visible pixels",
        _of_drift(lambda drift: _size_px(drift.moves)),
    ),
    Key(
        "drift corrected (px)",
        "how far infrared was moved back, with `registration.follow_drift: correct`",
        _of_drift(lambda drift: _size_px(drift.corrected)),
    ),
)
STREAM_KEYS: tuple[Key[FusionStream], ...] = (
    *(
        Key(
            f"{camera} received",
            "images that came, since activation as all counts",
            _count(f"{camera} received"),
        )
        for camera in Camera
    ),
    Key("pairs", "pairs that were made", lambda stream: stream.partners.counts.paired),
    Key("published", "results that were published", _count("published")),
    Key("publish rate (Hz)", "results, over the last 2 s", _rate("published")),
    Key("pair rate (Hz)", "pairs, over the last 2 s", _rate("pairs")),
    Key("images used alone", "images of one camera that were used alone", _count("alone")),
    *(Key(f"pairs {why}", text, _count(why)) for why, text in DROPS_OF_PAIRS.items()),
    *(
        Key(
            f"{camera} refused",
            "images that could not be used; the log says why",
            _count(f"{camera} refused"),
        )
        for camera in Camera
    ),
    *(
        Key(
            f"{camera} lost",
            "images that were sent but never received: see [Transport](#transport); not on Humble",
            _lost(camera),
        )
        for camera in Camera
    ),
    *(Key(f"messages {why}", text, _unpaired(why)) for why, text in DROPS_OF_MESSAGES.items()),
    Key(
        "messages waiting",
        "images that wait for a partner now",
        lambda stream: sum(stream.partners.waiting),
    ),
    Key("jumps back in time", "how often the stamps went back", _unpaired("jumps")),
    Key(
        "alignment (-1 to 1)",
        "agreement of both cameras' edges, once a second: see [registration](registration.md)",
        lambda stream: stream.fuser.alignment,
    ),
    *DISTANCE_KEYS,
    *DRIFT_KEYS,
    *stage_keys(STAGES),
)
NODE_KEYS: tuple[Key[_Active], ...] = (
    Key(
        "fusion mode",
        "as the topic `fusion_mode`; `starting` until the first pair",
        lambda active: active.mode.value if active.mode else "starting",
    ),
)
CAMERA_KEYS: tuple[Key[_OneCamera], ...] = (
    Key("topic", "of the images", lambda one: one.input.topic),
    Key(
        "rate (Hz)",
        "images, over the last 2 s",
        lambda one: one.stream.statistics.rate_hz(f"{one.camera} received"),
    ),
    Key(
        "received",
        "images that came, since activation",
        lambda one: one.stream.statistics.counts().get(f"{one.camera} received", 0),
    ),
    Key(
        "publishers",
        "who publishes the topic, and with which QoS",
        lambda one: one.input.describe_publishers(),
    ),
    Key(
        "noise (σ, gray levels)",
        "noise of this camera, if `temporal.mode` is on",
        _noise,
    ),
)


NODE_CONDITIONS: tuple[Condition[_Active], ...] = (
    Condition(
        "CAMERA is FAULT",
        "a camera is silent, stale, broken, frozen or blank: [faults](#one-camera-fails)",
        lambda active: (f"{c} is {fault.kind}" for c, fault in active.faults.items() if fault),
    ),
    Condition(
        "neither camera gives an image",
        "both cameras are silent, stale or broken; nothing is published",
        lambda active: active.mode is FusionMode.NONE,
        is_error=True,
    ),
    Condition(
        "fusion fails: see the node's log",
        "the fusion of a pair ended in an error in the last 2 s",
        lambda active: active.stream.statistics.rate_hz("failed") > 0,
    ),
    Condition(
        "CAMERA stamps are unset",
        "images with a stamp of zero came in the last 2 s; their time of arrival is taken",
        _unstamped,
    ),
    Condition(
        "no distance on … for 2 s …",
        "`registration.distance_topic` has no message that can be used; the fixed distance counts",
        lambda active: filter(None, [active.stream.distance_fault()]),
    ),
    Condition(
        "infrared lies … px (…) from where it did at the start: …",
        "the alignment [drifts](registration.md#watch-the-alignment) by more than "
        "`registration.drift_px`",
        lambda active: filter(None, [active.stream.drift.fault]),
    ),
    Condition(
        "the cameras seem exchanged: …",
        "infrared images have colours, and visible ones 16 bit or °C",
        lambda active: filter(None, [active.stream.mixup]),
    ),
)
CAMERA_CONDITIONS: tuple[Condition[_OneCamera], ...] = (
    Condition(
        "FAULT: …",
        "the camera is silent, stale, broken, frozen or blank",
        lambda one: [f"{one.fault.kind}: {one.fault.text}"] if one.fault else [],
    ),
    Condition(
        "…",
        "infrared only: what is wrong with the thermal image, or how it is shown: "
        "[thermal images](#thermal-images)",
        lambda one: one.stream.remarks if one.camera is Camera.INFRARED else (),
    ),
)


def fusion_diagnostics(
    node: str,
    state: str,
    pipeline: FusionPipeline | None,
    stream: FusionStream | None,
    mode: FusionMode | None,
) -> list[DiagnosticStatus]:
    """One status of the node (full name) and, while it is active, one of each camera."""
    values = read_keys(ENGINE_KEYS, pipeline.engine) if pipeline else {}
    if not stream:
        return [status(node, values, message=f"{state}: not fusing")]
    active = _Active(stream, mode, stream.faults())
    values |= read_keys(NODE_KEYS, active) | read_keys(STREAM_KEYS, stream)
    cameras = (_OneCamera(stream, camera, fault) for camera, fault in active.faults.items())
    return [
        judged_status(node, values, NODE_CONDITIONS, active),
        *(_camera_status(node, one) for one in cameras),
    ]


def _camera_status(node: str, one: _OneCamera) -> DiagnosticStatus:
    values = read_keys(CAMERA_KEYS, one)
    name = f"{node}: {one.camera}"
    return judged_status(name, values, CAMERA_CONDITIONS, one, hardware_id=one.input.topic)
