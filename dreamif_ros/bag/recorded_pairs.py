"""The images of both cameras in a bag, decoded and paired as the fusion node does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both, Camera
from dreamif_model.errors import ConfigError, ImageError
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.camera_topics import TOPIC_OPTIONS, CameraTopics, choose_topics
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.remote import bag_path
from dreamif_ros.bag.storage import BagMessage, Topic
from dreamif_ros.codec.decode import DECODERS, InfraredPixels, encoding_of, stamp_ns
from dreamif_ros.pairing import Pair, PairSynchronizer
from dreamif_ros.stamps import from_seconds, to_seconds

MAX_SLOP_S = 10.0
MAX_OFFSET_S = 1e10  # longer than a wall clock is ahead of one that counts from the start


@dataclass(frozen=True)
class PairingOptions:
    """How images become pairs: the fusion node's ``sync.`` parameters.

    Attributes:
        slop_s: max distance between the stamps of a pair, 0 to 10 s.
        infrared_offset_s: added to the infrared stamps, -1e10 to 1e10 s.
        visible_offset_s: added to the visible stamps, -1e10 to 1e10 s.
        queue_size: messages of each camera that wait for a partner.

    Raises:
        ConfigError: a value is out of range.
    """

    slop_s: float = 0.05
    infrared_offset_s: float = 0.0
    visible_offset_s: float = 0.0
    queue_size: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.slop_s <= MAX_SLOP_S:
            raise ConfigError(f"the slop is {self.slop_s:g} s, expected 0 to {MAX_SLOP_S:g} s")
        for camera, seconds in self.offsets_s.items():
            check_offset(camera, seconds)

    @property
    def offsets_s(self) -> Both[float]:
        """What is added to the stamps of each camera, in seconds."""
        return Both(self.infrared_offset_s, self.visible_offset_s)


def check_offset(camera: Camera, seconds: float, max_s: float = MAX_OFFSET_S) -> None:
    """ConfigError for an offset of stamps that is out of range."""
    if not abs(seconds) <= max_s:
        raise ConfigError(
            f"the {camera} offset is {seconds:g} s, expected {-max_s:g} to {max_s:g} s"
        )


@dataclass(slots=True)
class RecordedImage:
    """One recorded message of a camera.

    Attributes:
        camera: that took it.
        recorded_ns: when it was recorded.
        header_ns: its own stamp, 0 where it has none.
        message: None where its bytes cannot be read, see ``refusal``.
        refusal: why they cannot be read.
    """

    camera: Camera
    recorded_ns: int
    header_ns: int
    message: Any
    refusal: str = ""

    @property
    def stamp_ns(self) -> int:
        """Its stamp; where that is zero, when it was recorded."""
        return self.header_ns or self.recorded_ns

    def decode(self) -> NDArray[Any]:
        """Its pixels, see :mod:`dreamif_ros.codec.decode`; ImageError where it has none."""
        if self.message is None:
            raise ImageError(self.refusal)
        return DECODERS[self.camera](self.message)


@dataclass(frozen=True)
class RecordedPair:
    """Two images of one moment; they are decoded when they are asked for.

    Attributes:
        time_s: when the visible image was recorded, in seconds since the bag's first message.
        stamp_ns: of the visible image, in nanoseconds.
        infrared_stamp_ns: of the infrared image, in nanoseconds.
        skew_ms: infrared minus visible stamp, offsets added, in milliseconds.
        images: the recorded messages.
    """

    time_s: float
    stamp_ns: int
    infrared_stamp_ns: int
    skew_ms: float
    images: Both[RecordedImage]

    @cached_property
    def infrared(self) -> InfraredPixels:
        """(h, w) counts as uint8 or uint16, or °C as float32; ImageError where it is no image."""
        return self.images.infrared.decode()

    @cached_property
    def visible(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB or (H, W) gray, uint8; ImageError where it is no image."""
        return self.images.visible.decode()


class Pairer:
    """Pairs images in the order in which they come, as the node does."""

    def __init__(self, options: PairingOptions) -> None:
        self.synchronizer: PairSynchronizer[RecordedImage] = PairSynchronizer(
            options.slop_s, options.queue_size
        )
        self._offsets_ns = options.offsets_s.map(from_seconds)

    def add(self, image: RecordedImage) -> list[Pair[RecordedImage]]:
        """Take one image; return the pairs that are now certain."""
        stamp = image.stamp_ns + self._offsets_ns[image.camera]
        return self.synchronizer.add(image.camera, stamp, image)


def read_pairs(
    bag: Path | str,
    infrared: str | None = None,
    visible: str | None = None,
    *,
    slop_s: float = 0.05,
    infrared_offset_s: float = 0.0,
    visible_offset_s: float = 0.0,
    start_s: float = 0.0,
    stop_s: float | None = None,
) -> Iterator[RecordedPair]:
    """The pairs of a bag, one by one; only the messages that wait for a partner are in memory.

    ::

        for pair in read_pairs("drive.mcap"):
            pair.visible, pair.infrared, pair.stamp_ns, pair.skew_ms

    Args:
        bag: rosbag2 folder, ``.mcap`` or ``.db3`` file; a damaged one is read as far as it goes.
            A text may be the URL of an MCAP bag.
        infrared: topic; by default ``/infrared/image_raw``, or found by name and encoding.
        visible: topic; by default ``/visible/image_raw``, or found by name and encoding.
        slop_s: max distance between the stamps of a pair, 0 to 10 s.
        infrared_offset_s: added to the infrared stamps, -1e10 to 1e10 s.
        visible_offset_s: added to the visible stamps, -1e10 to 1e10 s.
        start_s: leave out what was recorded earlier, in seconds since the bag's first message.
        stop_s: leave out what was recorded then or later, in seconds since the first message.

    Yields:
        The pairs in the order of time.

    Raises:
        BagError: the bag cannot be read, or its topics are not clear.
        ConfigError: a value is out of range.
    """
    options = PairingOptions(slop_s, infrared_offset_s, visible_offset_s)
    with Recording(bag_path(bag) if isinstance(bag, str) else bag) as recording:
        topics = camera_topics(recording, Both(infrared, visible)).topics
        images = read_images(recording, topics, start_s, stop_s)
        yield from pair_images(images, options, recording.start_ns)


def pair_images(
    images: Iterator[RecordedImage], options: PairingOptions, start_ns: int
) -> Iterator[RecordedPair]:
    """Pairs of a bag whose first message was recorded at ``start_ns``."""
    pairer = Pairer(options)
    for image in images:
        if image.message is None:
            continue
        for pair in pairer.add(image):
            yield RecordedPair(
                time_s=to_seconds(pair.visible.recorded_ns - start_ns),
                stamp_ns=pair.visible.stamp_ns,
                infrared_stamp_ns=pair.infrared.stamp_ns,
                skew_ms=pair.skew_ns / 1e6,
                images=Both(pair.infrared, pair.visible),
            )


def camera_topics(
    recording: Recording, named: Both[str | None], options: Both[str] = TOPIC_OPTIONS
) -> CameraTopics:
    """The topics of both cameras in a bag, see :func:`choose_topics`."""

    def encoding(topic: Topic) -> str:
        first = recording.first(topic)
        image = first and read_image(first, Camera.VISIBLE)
        return encoding_of(image.message) if image and image.message is not None else ""

    return choose_topics(recording.topics, encoding, named, options)


def read_images(
    recording: Recording, topics: Both[Topic], start_s: float = 0.0, stop_s: float | None = None
) -> Iterator[RecordedImage]:
    """The messages of both cameras in the order of recording."""
    cameras = {topic.name: camera for camera, topic in topics.items()}
    for message in recording.messages(list(topics), start_s, stop_s):
        yield read_image(message, cameras[message.topic])


def read_image(recorded: BagMessage, camera: Camera) -> RecordedImage:
    """One message of a camera; its ``message`` is None where the bytes are damaged."""
    try:
        message = MESSAGES.deserialize(recorded.data, recorded.type_name)
        header_ns = stamp_ns(message)
    # Damaged bytes raise errors of any kind: struct, index, Unicode, value.
    except Exception as error:
        refusal = f"the message is damaged: {' '.join(str(error).split()) or repr(error)}"
        return RecordedImage(camera, recorded.timestamp_ns, 0, None, refusal)
    return RecordedImage(camera, recorded.timestamp_ns, header_ns, message)
