"""Which topics of a bag are the two cameras'."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dreamif_ros.bag.storage import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    INFRARED_TOPIC,
    VISIBLE_TOPIC,
    BagError,
    Topic,
)

COMPRESSED = "/compressed"  # what image_transport adds to a topic's name
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
_INFRARED_WORDS = frozenset(
    {"ir", "infrared", "infra", "thermal", "thermo", "lwir", "mwir", "swir"}
    | {"flir", "boson", "lepton", "tau2", "seek", "optris", "hadron"}
)
_INFRARED_ENCODINGS = ("mono16", "16UC1")
_OTHER_WORDS = frozenset(("depth", "disparity", "fused", "dominance", "detections", "mask"))
TOPIC_OPTIONS = "--ir", "--vi"  # of `dreamif bag`
Encoding = Callable[[Topic], str]  # of a topic's first image


class CameraTopics(NamedTuple):
    """The topics of both cameras, and what is odd about the choice, in words."""

    infrared: Topic
    visible: Topic
    faults: tuple[str, ...] = ()


def choose_topics(
    topics: Iterable[Topic],
    encoding: Encoding,
    infrared: str | None,
    visible: str | None,
    options: tuple[str, str] = TOPIC_OPTIONS,
) -> CameraTopics:
    """Those that are named, or ours, or the only pair that fits.

    topics: of the bag. encoding: asked only where names do not tell. A topic may also be named
    without its ``/compressed``. options: what names them on the command line. BagError lists the
    image topics where there is no single answer.
    """
    images = [topic for topic in topics if topic.type_name in IMAGE_TYPES]
    if infrared is None and visible is None and (ours := _ours(images)):
        return _with_faults(ours, images)
    named = [None if name is None else _named(name, images) for name in (infrared, visible)]
    if named[0] is not None and named[0] == named[1]:
        raise BagError(f"{named[0].name} cannot be both cameras: {_listed(images)}")
    pair = (
        named[0] or _only(images, encoding, True, named[1]),
        named[1] or _only(images, encoding, False, named[0]),
    )
    if pair[0] is None or pair[1] is None:
        raise BagError(_undecided(images, encoding, named[0], named[1], options))
    return _with_faults((pair[0], pair[1]), images)


def info_topic(image: Topic) -> Topic:
    """The ``camera_info`` beside an image topic."""
    base = image.name.removesuffix(COMPRESSED)
    return Topic(f"{base.rpartition('/')[0]}/camera_info", CAMERA_INFO)


def _ours(images: list[Topic]) -> tuple[Topic, Topic] | None:
    found = [_find(name, images) for name in (INFRARED_TOPIC, VISIBLE_TOPIC)]
    return (found[0], found[1]) if found[0] and found[1] else None


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


def _cameras(images: list[Topic]) -> list[Topic]:
    """One topic for each camera: raw where it was also recorded compressed, no results of ours."""
    kept = [topic for topic in images if not _words(topic) & _OTHER_WORDS]
    bases = sorted({topic.name.removesuffix(COMPRESSED) for topic in kept})
    return [topic for base in bases if (topic := _find(base, kept))]


def _only(
    images: list[Topic], encoding: Encoding, infrared: bool, other: Topic | None
) -> Topic | None:
    """The only camera of that kind besides ``other``."""
    cameras = [topic for topic in _cameras(images) if other is None or not _same(topic, other)]
    found = [topic for topic in cameras if _is_infrared(topic, encoding) == infrared]
    return found[0] if len(found) == 1 else None


def _same(one: Topic, other: Topic) -> bool:
    return one.name.removesuffix(COMPRESSED) == other.name.removesuffix(COMPRESSED)


def _is_infrared(topic: Topic, encoding: Encoding) -> bool:
    named = bool(_words(topic) & _INFRARED_WORDS)
    return named or encoding(topic).partition(";")[0].strip() in _INFRARED_ENCODINGS


def _words(topic: Topic) -> set[str]:
    """``/front_ir2/image_raw`` to front, ir, ir2, image, raw."""
    words = re.split(r"[^a-z0-9]+", topic.name.lower())
    return {*words, *(word.rstrip("0123456789") for word in words)}


def _with_faults(pair: tuple[Topic, Topic], images: list[Topic]) -> CameraTopics:
    faults = []
    for topic in pair:
        types = sorted({other.type_name for other in images if other.name == topic.name})
        if len(types) > 1:
            faults.append(
                f"{topic.name} has messages of two types ({', '.join(types)}): only those of "
                f"{topic.type_name} were read"
            )
    return CameraTopics(*pair, tuple(faults))


def _undecided(
    images: list[Topic],
    encoding: Encoding,
    infrared: Topic | None,
    visible: Topic | None,
    options: tuple[str, str],
) -> str:
    cameras = _cameras(images)
    if len(cameras) < 2:
        return f"two cameras are needed: {_listed(images)}"
    guesses = [topic for topic in cameras if _is_infrared(topic, encoding)]
    first = infrared or next((t for t in guesses if t != visible), None)
    first = first or next(t for t in cameras if t != visible)
    second = visible or next((t for t in cameras if t != first and t not in guesses), None)
    second = second or next(t for t in cameras if t != first)
    return (
        f"which topics are the infrared and the visible camera's is not clear: {_listed(images)}; "
        f"name them, such as {options[0]} {first.name} {options[1]} {second.name}"
    )


def _listed(images: list[Topic]) -> str:
    names = ", ".join(f"{topic.name} ({topic.type_name})" for topic in images) or "none"
    return f"image topics in this bag: {names}"


def encoding_of(message: Any) -> str:
    """How an image message names its pixels: ``mono16``, ``rgb8; jpeg compressed bgr8``."""
    text: str = message.format if hasattr(message, "format") else message.encoding
    return text
