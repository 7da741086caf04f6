"""Images of both cameras from a bag: a few pairs of equal times, and the clocks' offset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from dreamif_model.clock_offset import Activity, ClockOffset, clock_offset
from dreamif_model.errors import CalibrationError
from dreamif_ros.bag import IMAGE, BagError, Topic, read_messages, read_topics
from dreamif_ros.codec import decode_infrared, decode_visible, stamp_ns

LONGEST_S = 60.0  # of the recording that is looked at
GREATEST_DISTANCE_S = 0.05  # between the stamps of a pair, once the offset is known


@dataclass(frozen=True)
class Footage:
    """infrared: (h, w) uint8 or uint16. visible: (H, W[, 3]) uint8 RGB. Of equal times."""

    infrared: list[NDArray[Any]]
    visible: list[NDArray[np.uint8]]
    available: int  # pairs that there were to choose from
    clock_offset: ClockOffset | None
    no_offset: str  # why there is none


def read_footage(bag: Path, infrared_topic: str, visible_topic: str, count: int) -> Footage:
    """At most ``count`` pairs, spread evenly over the first minute; BagError without any."""
    topics = [_image_topic(bag, name) for name in (infrared_topic, visible_topic)]
    cameras = Activity(), Activity()
    stamps: tuple[list[int], list[int]] = ([], [])
    for camera, message in _messages(bag, topics):
        stamp = stamp_ns(message)
        image = decode_infrared(message) if camera == 0 else _gray(decode_visible(message))
        cameras[camera].add(stamp / 1e9, image)
        stamps[camera].append(stamp)
    offset, reason = None, ""
    try:
        offset = clock_offset(*cameras)
    except CalibrationError as error:
        reason = str(error)
    pairs = _pair(*stamps, 0 if offset is None else round(offset.seconds * 1e9))
    if not pairs:
        raise BagError(
            f"no images of {infrared_topic} and {visible_topic} in {bag} have stamps within "
            f"{GREATEST_DISTANCE_S:g} s"
        )
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    infrared, visible = _read(bag, topics, [pairs[place] for place in places])
    return Footage(infrared, visible, len(pairs), offset, reason)


def _image_topic(bag: Path, name: str) -> Topic:
    topics = read_topics(bag)
    for topic in topics:
        if topic.name == name and topic.type_name == IMAGE:
            return topic
    images = ", ".join(topic.name for topic in topics if topic.type_name == IMAGE) or "none"
    raise BagError(f"{bag} has no {IMAGE} on {name}; topics of that type: {images}")


def _messages(bag: Path, topics: list[Topic]) -> Iterator[tuple[int, Any]]:
    """Camera (0 infrared, 1 visible) and image message, of the first minute."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    names = [topic.name for topic in topics]
    first_ns: int | None = None
    for message in read_messages(bag, topics):
        first_ns = message.timestamp_ns if first_ns is None else first_ns
        if message.timestamp_ns - first_ns > LONGEST_S * 1e9:
            return
        yield names.index(message.topic), store.deserialize_cdr(message.data, message.type_name)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.generic]:
    return image if image.ndim == 2 else image[..., 1]  # green is near enough to luma for motion


def _pair(infrared: list[int], visible: list[int], offset_ns: int) -> list[tuple[int, int]]:
    """Stamps of each visible image and the infrared one nearest in time, where near enough."""
    if not infrared or not visible:
        return []
    corrected = np.array(sorted(infrared)) + offset_ns
    pairs = []
    for stamp in visible:
        distances = np.abs(corrected - stamp)
        nearest = int(distances.argmin())
        if distances[nearest] <= GREATEST_DISTANCE_S * 1e9:
            pairs.append((int(corrected[nearest]) - offset_ns, stamp))
    return pairs


def _read(
    bag: Path, topics: list[Topic], pairs: list[tuple[int, int]]
) -> tuple[list[NDArray[Any]], list[NDArray[np.uint8]]]:
    """The images of the chosen stamps."""
    infrared: dict[int, NDArray[Any]] = {}
    visible: dict[int, NDArray[np.uint8]] = {}
    wanted = [set(stamps) for stamps in zip(*pairs, strict=True)]
    for camera, message in _messages(bag, topics):
        stamp = stamp_ns(message)
        if stamp not in wanted[camera]:
            continue
        if camera == 0:
            infrared[stamp] = decode_infrared(message)
        else:
            visible[stamp] = decode_visible(message)
    return [infrared[stamp] for stamp, _ in pairs], [visible[stamp] for _, stamp in pairs]
