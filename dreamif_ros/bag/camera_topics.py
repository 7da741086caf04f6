"""Finds the topics of the two cameras in a bag."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dreamif_model.cameras import Both, Camera
from dreamif_ros.bag.storage import INFRARED_TOPIC, VISIBLE_TOPIC, BagError, Topic
from dreamif_ros.codec.message_builder import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE

COMPRESSED = "/compressed"  # what image_transport adds to a topic's name
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
_INFRARED_WORDS = frozenset(
    ("ir", "infrared", "infra", "thermal", "thermo", "lwir", "mwir", "swir")
)
# Their makers sell visible cameras too: such a name says nothing of a camera in colour.
_BRANDS = frozenset(("flir", "boson", "lepton", "tau2", "seek", "optris", "hadron"))
_INFRARED_ENCODINGS = ("mono16", "16UC1")
_COLOURS = ("rgb", "bgr", "bayer", "yuv", "uyvy", "yuyv", "nv", "8UC3", "8UC4", "16UC3")
# Forms of an image, or video, that only their own decoder reads: topics beside the image's own.
_TRANSPORTS = frozenset(
    ("compressedDepth", "zstd", "theora", "ffmpeg", "h264", "h265", "avif", "jxl", "draco", "rvl")
)
_VIDEO = re.compile("Packet$|CompressedVideo$")  # names of message types
MAX_CAMERAS = 32  # image topics among which two are looked for
MAX_LISTED = 12
_OTHER_WORDS = frozenset(("depth", "disparity", "fused", "dominance", "detections", "mask"))
TOPIC_OPTIONS = Both("--ir", "--vi")  # of `dreamif bag`
EncodingOf = Callable[[Topic], str]  # the encoding of a topic's first image


@dataclass(frozen=True)
class CameraTopics:
    """The topics of both cameras, and what is unusual about them, in words."""

    topics: Both[Topic]
    faults: tuple[str, ...] = ()


def choose_topics(
    topics: Iterable[Topic],
    encoding: EncodingOf,
    named: Both[str | None],
    options: Both[str] = TOPIC_OPTIONS,
) -> CameraTopics:
    """The topics that are named, or those of `dreamif bag make`, or the only pair that fits.

    Args:
        topics: of the bag.
        encoding: called only where the names of the topics do not decide.
        named: by the user, with or without ``/compressed``.
        options: of the command line, which name the topics.

    Raises:
        BagError: a named topic has no images, or there is no single answer; lists the image topics.
    """
    topics = list(topics)
    images = [topic for topic in topics if topic.type_name in IMAGE_TYPES]
    if named == Both(None, None):
        ours = Both(INFRARED_TOPIC, VISIBLE_TOPIC).map(lambda name: _find(name, images))
        if ours.infrared and ours.visible:
            return _with_faults(Both(ours.infrared, ours.visible), images)
    given = named.map(lambda name: None if name is None else _named(name, images))
    if given.infrared is not None and given.infrared == given.visible:
        raise BagError(f"{given.infrared.name} cannot be both cameras: {_listed(images)}")
    if given.infrared and given.visible:
        return _with_faults(Both(given.infrared, given.visible), images)
    cameras = _one_per_camera(images)
    if len(cameras) < 2:
        raise BagError(f"two cameras are needed: {_listed(images)}{_unread(topics)}")
    looks = _looks_of(cameras, encoding)
    found = Both.make(lambda camera: given[camera] or _only(looks, camera, given))
    if found.infrared is None or found.visible is None:
        raise BagError(_undecided(images, looks, given, options))
    return _with_faults(Both(found.infrared, found.visible), images)


def info_topic(image: Topic) -> Topic:
    """The ``camera_info`` beside an image topic."""
    base = image.name.removesuffix(COMPRESSED)
    return Topic(f"{base.rpartition('/')[0]}/camera_info", CAMERA_INFO)


def _find(name: str, images: list[Topic]) -> Topic | None:
    """The topic of that name, raw before compressed."""
    for type_name, candidate in ((IMAGE, name), (None, name), (None, name + COMPRESSED)):
        for topic in images:
            if topic.name == candidate and type_name in (None, topic.type_name):
                return topic
    return None


def _named(name: str, images: list[Topic]) -> Topic:
    topic = _find(name, images)
    if topic is None:
        raise BagError(f"there are no images on {name}: {_listed(images)}")
    return topic


def _one_per_camera(images: list[Topic]) -> list[Topic]:
    """One topic for each camera, raw before compressed, without images made from others."""
    names = {topic.name for topic in images}
    kept = [
        topic
        for topic in images
        if not _words(topic) & _OTHER_WORDS and not _is_transport(topic.name, names)
    ]
    bases = sorted({topic.name.removesuffix(COMPRESSED) for topic in kept})
    return [topic for base in bases if (topic := _find(base, kept))]


def _is_transport(name: str, images: set[str]) -> bool:
    """Whether a topic has the images of another topic in a form that is not read."""
    base, _, last = name.rpartition("/")
    is_beside = base in images or base + COMPRESSED in images
    return last in _TRANSPORTS or (is_beside and last != COMPRESSED[1:])


def _only(looks: dict[Topic, Camera], camera: Camera, given: Both[Topic | None]) -> Topic | None:
    """The only topic that fits this camera and is not the other camera's."""
    other = given[camera.other]
    found = [
        topic
        for topic, looked in looks.items()
        if looked == camera and not (other and _same(topic, other))
    ]
    return found[0] if len(found) == 1 else None


def _same(one: Topic, other: Topic) -> bool:
    return one.name.removesuffix(COMPRESSED) == other.name.removesuffix(COMPRESSED)


def _looks_of(cameras: list[Topic], encoding: EncodingOf) -> dict[Topic, Camera]:
    """The camera that each topic seems to be; what is infrared by its encoding comes first."""
    few = len(cameras) <= MAX_CAMERAS
    encodings = {t: encoding(t).partition(";")[0].strip() if few else "" for t in cameras}
    colours = {topic: name.startswith(_COLOURS) for topic, name in encodings.items()}
    all_in_colour = all(colours.values())

    def look(topic: Topic) -> Camera:
        words = _words(topic)
        is_infrared = (
            encodings[topic] in _INFRARED_ENCODINGS
            or words & _INFRARED_WORDS
            or (words & _BRANDS and (all_in_colour or not colours[topic]))
        )
        return Camera.INFRARED if is_infrared else Camera.VISIBLE

    def doubt(topic: Topic) -> tuple[bool, bool]:
        return encodings[topic] not in _INFRARED_ENCODINGS, colours[topic]

    return {topic: look(topic) for topic in sorted(cameras, key=doubt)}


def _words(topic: Topic) -> set[str]:
    """``/front_ir2/image_raw`` to front, ir, ir2, image, raw."""
    words = re.split(r"[^a-z0-9]+", topic.name.lower())
    return {*words, *(word.rstrip("0123456789") for word in words)}


def _with_faults(topics: Both[Topic], images: list[Topic]) -> CameraTopics:
    faults = []
    for topic in topics:
        types = sorted({other.type_name for other in images if other.name == topic.name})
        if len(types) > 1:
            faults.append(
                f"{topic.name} has messages of two types ({', '.join(types)}): only those of "
                f"{topic.type_name} were read"
            )
    return CameraTopics(topics, tuple(faults))


def _undecided(
    images: list[Topic], looks: dict[Topic, Camera], given: Both[Topic | None], options: Both[str]
) -> str:
    cameras, guesses = list(looks), [t for t, camera in looks.items() if camera == Camera.INFRARED]
    first = given.infrared or next((t for t in guesses if t != given.visible), None)
    first = first or next(t for t in cameras if t != given.visible)
    second = given.visible or next((t for t in cameras if t != first and t not in guesses), None)
    second = second or next(t for t in cameras if t != first)
    return (
        f"which topics are the infrared and the visible camera's is not clear: {_listed(images)}; "
        f"name them, such as {options.infrared} {first.name} {options.visible} {second.name}"
    )


def _listed(images: list[Topic]) -> str:
    names = ", ".join(f"{topic.name} ({topic.type_name})" for topic in images[:MAX_LISTED])
    more = f" and {len(images) - MAX_LISTED} more" if len(images) > MAX_LISTED else ""
    return f"image topics in this bag: {names or 'none'}{more}"


def _unread(topics: list[Topic]) -> str:
    """Topics that hold images in a form that is not read, to be added to a sentence."""
    names = {topic.name for topic in topics if topic.type_name in IMAGE_TYPES}
    found = [
        topic.name
        for topic in topics
        if (topic.name in names and _is_transport(topic.name, names))
        or _VIDEO.search(topic.type_name)
    ]
    if not found:
        return ""
    return (
        f"; video and other forms of images are not read: republish {', '.join(found[:3])} as "
        "images (ros2 run image_transport republish) and record those"
    )
