"""What `dreamif bag info` tells of a bag: all topics, and the quick part of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dreamif_model.cameras import Both
from dreamif_ros.bag.camera_topics import IMAGE_TYPES
from dreamif_ros.bag.recorded_pairs import PairingOptions, camera_topics
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.remote import bag_files
from dreamif_ros.bag.storage import BagError, BagMessage
from dreamif_ros.evaluation.evaluation_results import CameraRecord, PairingSummary, Recorded
from dreamif_ros.evaluation.survey import CamerasSurvey, ImageSurvey, TopicSurvey

ShowProgress = Callable[[Iterable[BagMessage]], Iterable[BagMessage]]


@dataclass(frozen=True)
class ImagesInfo:
    """What the messages of an image topic say of themselves."""

    frame_id: str
    encodings: list[str]  # in the order in which they appear
    sizes: list[tuple[int, int]]  # (width, height); of compressed images the first
    first: str  # type and shape of the first image
    unstamped: int
    disordered: int  # stamped before the one that came before
    damaged: int  # messages that cannot be read
    refusal: str  # why the first image cannot be decoded


@dataclass(frozen=True)
class TopicInfo:
    """One topic as recorded. Times are seconds since the bag's first message."""

    name: str
    type_name: str
    messages: int
    megabytes: float
    rate_hz: float
    first_s: float
    last_s: float
    gaps: int
    longest_gap_s: float
    reliability: str  # of its publishers: reliable, best_effort; empty if unknown
    images: ImagesInfo | None  # of image topics


@dataclass(frozen=True)
class CamerasInfo:
    """The two cameras' topics and how they go together."""

    infrared: TopicInfo
    visible: TopicInfo
    refusals: Both[str]  # why the node refuses the first image; empty where it does not
    kinds: Both[str]  # what the node makes of it: uint8, uint16, float32, colour
    remarks: tuple[str, ...]  # on the first infrared image, see ThermalNormalizer
    pairing: PairingSummary
    clock_offset_s: float | None  # as in Recorded
    pairing_with_offset: PairingSummary | None
    recorded: Both[CameraRecord]  # as in an evaluation

    @property
    def topics(self) -> Both[TopicInfo]:
        """Both topics."""
        return Both(self.infrared, self.visible)

    @property
    def facts(self) -> Recorded:
        """What advice is about."""
        return Recorded(self.recorded, self.pairing, self.clock_offset_s, self.pairing_with_offset)


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
    cameras: CamerasInfo | None
    no_cameras: str  # why there are none
    faults: tuple[str, ...]  # what is wrong with the bag's files

    def content(self) -> dict[str, Any]:
        """What the JSON file holds: values of both cameras as lists, infrared first."""
        content = asdict(self)
        if self.cameras:
            content["cameras"]["refusals"] = list(self.cameras.refusals)
            content["cameras"]["kinds"] = list(self.cameras.kinds)
        return content


def inspect_bag(
    bag: Path,
    infrared: str | None = None,
    visible: str | None = None,
    *,
    progress: ShowProgress = iter,
) -> BagInfo:
    """Read a bag, its pairs with the node's defaults; only the first image of a topic is decoded.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.
        infrared: topic; by default found by name and encoding.
        visible: topic; by default found by name and encoding.
        progress: wraps the messages.

    Raises:
        BagError: the bag cannot be read, or has no images on a topic that was named.
    """
    named = Both(infrared, visible)
    with Recording(bag) as recording:
        return _inspect(recording, named, progress)


def _inspect(recording: Recording, named: Both[str | None], progress: ShowProgress) -> BagInfo:
    cameras, faults, no_cameras = None, tuple[str, ...](), ""
    try:
        chosen = camera_topics(recording, named)
        cameras = CamerasSurvey(chosen.topics, PairingOptions(), recording.start_ns)
        faults = chosen.faults
    except BagError as error:
        if named != Both(None, None):
            raise
        no_cameras = str(error)
    surveys = _read(recording, cameras, progress)
    topics = {s.topic.key: _topic_info(s, recording) for s in surveys}
    storage, compression = recording.storage()
    return BagInfo(
        str(recording.path),
        storage,
        compression,
        megabytes=sum(file.stat().st_size for file in bag_files(recording.path)) / 1e6,
        start_ns=recording.start_ns,
        duration_s=max(survey.last_s for survey in surveys),
        messages=sum(survey.messages for survey in surveys),
        topics=tuple(topics.values()),
        cameras=_cameras_info(cameras, topics) if cameras else None,
        no_cameras=no_cameras,
        faults=(*recording.faults, *faults),
    )


def _read(
    recording: Recording, cameras: CamerasSurvey | None, progress: ShowProgress
) -> list[TopicSurvey]:
    """Read every message once; what is found of each topic."""
    surveys: dict[tuple[str, str], TopicSurvey] = {}
    for topic in recording.topics:
        kind = ImageSurvey if topic.type_name in IMAGE_TYPES else TopicSurvey
        own = cameras and cameras.of(topic)
        surveys.setdefault(topic.key, own or kind(topic, recording.start_ns))
    for message in progress(recording.messages(recording.topics)):
        survey = surveys[message.key]
        if cameras and cameras.of(survey.topic):
            cameras.add(message)
        else:
            survey.add(message)
    if cameras:
        cameras.finish()
    if not any(survey.messages for survey in surveys.values()):
        raise BagError(f"no message of the bag {recording.path} can be read: damaged")
    for survey in surveys.values():
        if not survey.messages:  # the index knows more than can be read
            recording.say(f"no message of {survey.topic.name} can be read: damaged")
    return list(surveys.values())


def _topic_info(survey: TopicSurvey, recording: Recording) -> TopicInfo:
    topic = survey.topic
    return TopicInfo(
        name=topic.name,
        type_name=topic.type_name,
        messages=survey.messages,
        megabytes=survey.bytes / 1e6,
        rate_hz=survey.rate_hz,
        first_s=survey.first_s,
        last_s=survey.last_s,
        gaps=len(survey.gaps()),
        longest_gap_s=survey.longest_gap_s,
        reliability=recording.reliabilities.get(topic.name, ""),
        images=_images_info(survey) if isinstance(survey, ImageSurvey) else None,
    )


def _images_info(survey: ImageSurvey) -> ImagesInfo:
    return ImagesInfo(
        frame_id=survey.frame_id,
        encodings=survey.encodings,
        sizes=survey.sizes or ([survey.size] if survey.size else []),
        first=survey.first,
        unstamped=survey.unstamped,
        disordered=survey.disordered,
        damaged=survey.damaged,
        refusal=survey.first_refusal,
    )


def _cameras_info(survey: CamerasSurvey, topics: dict[tuple[str, str], TopicInfo]) -> CamerasInfo:
    found, both = survey.recorded(), survey.cameras
    return CamerasInfo(
        infrared=topics[both.infrared.topic.key],
        visible=topics[both.visible.topic.key],
        refusals=both.map(lambda camera: camera.node_refusal),
        kinds=both.map(lambda camera: camera.kind),
        remarks=both.infrared.remarks,
        pairing=found.pairing,
        clock_offset_s=found.clock_offset_s,
        pairing_with_offset=found.pairing_with_offset,
        recorded=found.cameras,
    )
