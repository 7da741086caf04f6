"""What is in a bag, and which pairs the fusion node would make of its two cameras.

Messages are read once. Of images the headers and encodings are looked at; only the first image
of each topic is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from dreamif_model.cameras import Camera
from dreamif_model.errors import ImageError
from dreamif_ros.bag.files import reliabilities, storage_of
from dreamif_ros.bag.pairs import camera_topics
from dreamif_ros.bag.recording import DamagedBagError, Recording, read_recording
from dreamif_ros.bag.salvage import files_of
from dreamif_ros.bag.storage import BagError, BagMessage, Topic
from dreamif_ros.bag.topics import IMAGE_TYPES, CameraTopics, encoding_of
from dreamif_ros.images.codec import decode, decode_infrared, decode_visible, stamp_ns
from dreamif_ros.pairing import PairSynchronizer

INFRARED, VISIBLE = 0, 1
DECODERS: tuple[Callable[[Any], NDArray[Any]], ...] = (decode_infrared, decode_visible)
LEAST_GAP_S = 0.5  # without a message: the node's health.timeout_s ...
GAP_PERIODS = 3  # ... or so many of the topic's own periods
Messages = Callable[[Iterable[BagMessage]], Iterable[BagMessage]]  # may show progress

_STORE = get_typestore(Stores.ROS2_HUMBLE)


class Arrival(NamedTuple):
    """When an image of one of the cameras was taken and recorded, in nanoseconds."""

    camera: int
    stamp_ns: int  # 0 where the driver sets none
    recorded_ns: int


@dataclass
class Images:
    """What the messages of an image topic say of themselves."""

    frame_id: str = ""
    encodings: list[str] = field(default_factory=list)  # in the order in which they appear
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (width, height); first if JPEG
    first: str = ""  # the first image's type and shape, decoded
    unstamped: int = 0
    disordered: int = 0  # stamped before the one that came before
    damaged: int = 0  # no image messages at all
    refusal: str = ""  # why the first image cannot be decoded

    def add(self, message: Any, last_ns: int) -> int:
        """Take one message; return its stamp in nanoseconds."""
        stamp = stamp_ns(message)
        self.unstamped += not stamp
        self.disordered += bool(stamp) and stamp < last_ns
        if encoding_of(message) not in self.encodings:
            self.encodings.append(encoding_of(message))
        if hasattr(message, "width") and (message.width, message.height) not in self.sizes:
            self.sizes.append((int(message.width), int(message.height)))
        return stamp

    def decode_first(self, message: Any) -> None:
        """Look at the pixels of the topic's first message."""
        self.frame_id = message.header.frame_id
        try:
            image = decode(message)
        except ImageError as error:
            self.refusal = str(error)
            return
        self.first = f"{image.dtype} {' × '.join(map(str, image.shape))}"
        if not self.sizes:
            self.sizes.append((image.shape[1], image.shape[0]))


@dataclass
class TopicInfo:
    """One topic as recorded. Times are seconds since the bag's first message."""

    name: str
    type_name: str
    messages: int = 0
    megabytes: float = 0.0
    rate_hz: float = 0.0  # by the median distance of two messages; 0 below two
    first_s: float = 0.0
    last_s: float = 0.0
    gaps: int = 0  # longer than LEAST_GAP_S and GAP_PERIODS of its periods
    longest_gap_s: float = 0.0
    reliability: str = ""  # of its publishers as recorded: reliable, best_effort; "" if unknown
    images: Images | None = None  # of image topics


@dataclass(frozen=True)
class Pairing:
    """What the node's synchronizer makes of both cameras. Skew: infrared minus visible stamp."""

    slop_s: float
    pairs: int
    unpaired: dict[str, int]  # messages by reason, those that are
    skew_median_ms: float = 0.0
    skew_p5_ms: float = 0.0
    skew_p95_ms: float = 0.0
    distance_median_ms: float = 0.0  # of the absolute skew
    distance_p95_ms: float = 0.0
    distance_greatest_ms: float = 0.0


@dataclass(frozen=True)
class CameraPair:
    """The two cameras' topics and how they go together."""

    infrared: TopicInfo
    visible: TopicInfo
    refusals: tuple[str, str]  # why the node refuses the first image of each; "" where it does not
    kinds: tuple[str, str]  # what the node makes of it: uint8, uint16, float32, colour
    pairing: Pairing
    # Seconds to add to infrared stamps, by when both were recorded; None without stamps.
    clock_offset_s: float | None
    pairing_with_offset: Pairing | None  # with that added, where the clocks seem to differ


@dataclass(frozen=True)
class BagInfo:
    """Everything that is told of one bag."""

    bag: str
    storage: str  # mcap or sqlite3
    compression: str  # none, or what is compressed and how
    megabytes: float  # of its files
    start_ns: int
    duration_s: float
    messages: int
    topics: tuple[TopicInfo, ...]
    cameras: CameraPair | None
    no_cameras: str  # why there are none
    faults: tuple[str, ...]  # what is wrong with the bag's files


def inspect_bag(
    bag: Path,
    infrared: str | None = None,
    visible: str | None = None,
    *,
    slop_s: float = 0.05,
    queue_size: int = 10,
    progress: Messages = iter,
) -> BagInfo:
    """Read a bag; BagError where it is none, or has no images on a topic that was named.

    infrared, visible: topics of the cameras, found by name and encoding where not given. slop_s,
    queue_size: of the synchronizer. progress: wraps the messages.
    """

    def inspect(recording: Recording) -> BagInfo:
        chosen = _choose(recording, infrared, visible)
        return _inspect(recording, chosen, slop_s, queue_size, progress)

    return read_recording(bag, inspect)


def _inspect(
    recording: Recording,
    chosen: CameraTopics | str,
    slop_s: float,
    queue_size: int,
    progress: Messages,
) -> BagInfo:
    """What :func:`inspect_bag` returns. chosen: the cameras, or why there are none."""
    cameras = None if isinstance(chosen, str) else chosen
    reading = _Reading(recording, cameras)
    reading.read(progress)
    storage, compression = storage_of(recording.path)
    return BagInfo(
        str(recording.path),
        storage,
        compression,
        megabytes=sum(file.stat().st_size for file in files_of(recording.path)) / 1e6,
        start_ns=recording.start_ns,
        duration_s=reading.duration_s,
        messages=sum(topic.messages for topic in reading.topics.values()),
        topics=tuple(reading.topics.values()),
        cameras=reading.camera_pair(slop_s, queue_size) if cameras else None,
        no_cameras=chosen if isinstance(chosen, str) else "",
        faults=(*recording.faults, *(cameras.faults if cameras else ())),
    )


def _choose(recording: Recording, infrared: str | None, visible: str | None) -> CameraTopics | str:
    """The cameras' topics, or why they cannot be told; BagError where one that was named is not."""
    try:
        return camera_topics(recording, infrared, visible)
    except BagError as error:
        if infrared or visible:
            raise
        return str(error)


class _Reading:
    """One pass over a bag's messages."""

    def __init__(self, recording: Recording, cameras: CameraTopics | None) -> None:
        self._recording = recording
        self._cameras = [] if cameras is None else [_key(t) for t in cameras[:2]]
        qos = reliabilities(recording.path)
        self.topics = {
            _key(topic): TopicInfo(topic.name, topic.type_name, reliability=qos.get(topic.name, ""))
            for topic in recording.topics
        }
        self.duration_s = 0.0
        self._times: dict[tuple[str, str], list[int]] = {key: [] for key in self.topics}
        self._last_ns = dict.fromkeys(self.topics, 0)
        self._arrivals: list[Arrival] = []
        self._seen: dict[int, tuple[str, str]] = {}  # by camera: kind and refusal of its first

    def read(self, progress: Messages) -> None:
        """Take all messages."""
        for recorded in progress(self._recording.messages(self._recording.topics)):
            key = recorded.topic, recorded.type_name
            topic = self.topics[key]
            topic.megabytes += len(recorded.data) / 1e6
            self._times[key].append(recorded.timestamp_ns)
            if recorded.type_name in IMAGE_TYPES:
                self._add_image(topic, key, recorded)
        if not any(self._times.values()):
            raise DamagedBagError(
                f"no message of the bag {self._recording.path} can be read: damaged"
            )
        for key, topic in self.topics.items():
            self._summarize(topic, self._times[key])
        self.duration_s = max(topic.last_s for topic in self.topics.values())

    def camera_pair(self, slop_s: float, queue_size: int) -> CameraPair:
        """What is told of both cameras together."""
        infrared, visible = (self.topics[key] for key in self._cameras)
        nothing = "", "none of its messages can be read"
        kinds, refusals = zip(*(self._seen.get(c, nothing) for c in (0, 1)), strict=True)
        offset_s = _clock_offset_s(self._arrivals)
        apart = offset_s is not None and abs(offset_s) > slop_s
        return CameraPair(
            infrared,
            visible,
            (refusals[INFRARED], refusals[VISIBLE]),
            (kinds[INFRARED], kinds[VISIBLE]),
            pair_arrivals(self._arrivals, slop_s, queue_size),
            offset_s,
            pair_arrivals(self._arrivals, slop_s, queue_size, offset_s or 0.0) if apart else None,
        )

    def _add_image(self, topic: TopicInfo, key: tuple[str, str], recorded: BagMessage) -> None:
        images = topic.images = topic.images or Images()
        message = _deserialize(recorded)
        if message is None:
            images.damaged += 1
            return
        is_first = not images.encodings
        stamp = images.add(message, self._last_ns[key])
        self._last_ns[key] = stamp
        if is_first:
            images.decode_first(message)
        if key in self._cameras:
            camera = self._cameras.index(key)
            self._arrivals.append(Arrival(camera, stamp, recorded.timestamp_ns))
            if is_first:
                self._seen[camera] = _decoded(camera, message)

    def _summarize(self, topic: TopicInfo, times: Sequence[int]) -> None:
        topic.messages = len(times)
        if not times:  # the index knows more than can be read
            self._recording.say(f"no message of {topic.name} can be read: damaged")
            return
        topic.first_s, topic.last_s = ((t - self._recording.start_ns) / 1e9 for t in _ends(times))
        steps = np.diff(np.sort(times)) / 1e9
        if not steps.size:
            return
        period_s = float(np.median(steps))
        topic.rate_hz = 1 / period_s if period_s else 0.0
        topic.longest_gap_s = float(steps.max())
        topic.gaps = int(np.sum(steps > max(LEAST_GAP_S, GAP_PERIODS * period_s)))


def pair_arrivals(
    arrivals: Iterable[Arrival], slop_s: float, queue_size: int, infrared_offset_s: float = 0.0
) -> Pairing:
    """Pair as the node does, in the order of arrival; the arrival is the stamp where one is 0."""
    synchronizer: PairSynchronizer[None] = PairSynchronizer(slop_s, queue_size)
    offset_ns = round(infrared_offset_s * 1e9)
    skews_ns: list[int] = []
    for camera, stamp, recorded_ns in arrivals:
        stamp = stamp or recorded_ns
        if camera == INFRARED:
            pairs = synchronizer.add(Camera.INFRARED, stamp + offset_ns, None)
        else:
            pairs = synchronizer.add(Camera.VISIBLE, stamp, None)
        skews_ns += [pair.skew_ns for pair in pairs]
    counts = synchronizer.counts
    reasons = {
        "no partner": counts.no_partner,
        "too old": counts.too_old,
        "duplicate stamp": counts.duplicate,
        "time set back": counts.cleared,
        "waiting at the end": sum(synchronizer.waiting),
    }
    unpaired = {reason: count for reason, count in reasons.items() if count}
    if not skews_ns:
        return Pairing(slop_s, 0, unpaired)
    skews_ms = np.array(skews_ns) / 1e6
    signed = np.percentile(skews_ms, (50, 5, 95))
    distances = np.percentile(np.abs(skews_ms), (50, 95, 100))
    return Pairing(slop_s, len(skews_ns), unpaired, *map(float, (*signed, *distances)))


def _clock_offset_s(arrivals: Iterable[Arrival]) -> float | None:
    """How much longer infrared messages took from stamp to recording than visible ones."""
    delays: tuple[list[int], list[int]] = ([], [])
    for camera, stamp, recorded_ns in arrivals:
        if stamp:
            delays[camera].append(recorded_ns - stamp)
    if not all(delays):
        return None
    return (median(delays[INFRARED]) - median(delays[VISIBLE])) / 1e9


def _decoded(camera: int, message: Any) -> tuple[str, str]:
    """Kind of the image that the node decodes, and why it refuses the message; one is empty."""
    try:
        image = DECODERS[camera](message)
    except ImageError as error:
        return "", str(error)
    was_colour = decode(message).ndim == 3
    return ("colour" if was_colour else str(image.dtype)), ""


def _deserialize(recorded: BagMessage) -> Any | None:
    """None where its bytes are no such message."""
    try:
        return _STORE.deserialize_cdr(recorded.data, recorded.type_name)
    except Exception:  # whatever the parser happens to meet in damaged bytes
        return None


def _key(topic: Topic) -> tuple[str, str]:
    return topic.name, topic.type_name


def _ends(times: Sequence[int]) -> tuple[int, int]:
    return min(times), max(times)
