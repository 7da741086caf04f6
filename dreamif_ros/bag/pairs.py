"""The images of both cameras in a bag, decoded and paired as the fusion node does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from dreamif_model.errors import ConfigError, ImageError
from dreamif_ros.bag.recording import Recording, open_recording
from dreamif_ros.bag.storage import BagMessage, Topic
from dreamif_ros.bag.topics import TOPIC_OPTIONS, CameraTopics, choose_topics, encoding_of
from dreamif_ros.images import codec
from dreamif_ros.pairing import INFRARED, NANOSECONDS, Pair, PairSynchronizer

CAMERAS = ("infrared", "visible")
TYPES = get_typestore(Stores.ROS2_HUMBLE)
MOST_OFFSET_S = 3600.0
_DECODE: tuple[Callable[[Any], NDArray[Any]], ...] = (codec.decode_infrared, codec.decode_visible)


@dataclass(frozen=True)
class Pairing:
    """How images become pairs; the fusion node's ``sync.`` parameters.

    slop_s: greatest stamp distance of a pair. infrared_offset_s, visible_offset_s: added to that
    camera's stamps. queue_size: messages of each camera that wait for a partner.
    """

    slop_s: float = 0.05
    infrared_offset_s: float = 0.0
    visible_offset_s: float = 0.0
    queue_size: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.slop_s <= 10:
            raise ConfigError(f"the slop is {self.slop_s:g} s, expected 0 to 10 s")
        for camera, seconds in zip(CAMERAS, self.offsets_s, strict=True):
            if not abs(seconds) <= MOST_OFFSET_S:
                raise ConfigError(
                    f"the {camera} offset is {seconds:g} s, expected -{MOST_OFFSET_S:g} to "
                    f"{MOST_OFFSET_S:g} s"
                )

    @property
    def offsets_s(self) -> tuple[float, float]:
        """Of the infrared and of the visible stamps."""
        return self.infrared_offset_s, self.visible_offset_s


@dataclass
class RecordedImage:
    """One recorded message of a camera.

    camera: 0 infrared, 1 visible. header_ns: its own stamp, 0 where it has none. message: None
    where it cannot be read, with the reason.
    """

    camera: int
    recorded_ns: int
    header_ns: int
    message: Any
    refusal: str = ""

    @property
    def stamp_ns(self) -> int:
        """Its stamp; where that is zero, when it was recorded."""
        return self.header_ns or self.recorded_ns

    def decode(self) -> NDArray[Any]:
        """Infrared (h, w) or visible (H, W[, 3]), as the codec gives it; ImageError."""
        if self.message is None:
            raise ImageError(self.refusal)
        return _DECODE[self.camera](self.message)


@dataclass(frozen=True)
class RecordedPair:
    """Two images of one moment; each is decoded when you first ask for it.

    Attributes:
        time_s: seconds from the bag's first message to the recording of the visible image.
        stamp_ns: stamp of the visible image in nanoseconds.
        infrared_stamp_ns: stamp of the infrared image in nanoseconds.
        skew_ms: infrared minus visible stamp in milliseconds, offsets added.
        images: the recorded messages, infrared first.
    """

    time_s: float
    stamp_ns: int
    infrared_stamp_ns: int
    skew_ms: float
    images: tuple[RecordedImage, RecordedImage]

    @cached_property
    def infrared(self) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]:
        """(h, w) uint8 or uint16 counts, or float32 °C; ImageError if it is damaged."""
        return self.images[0].decode()

    @cached_property
    def visible(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB or (H, W) gray, uint8; ImageError if it is damaged."""
        return self.images[1].decode()


class Pairer:
    """Pairs images as they come, as the node does."""

    def __init__(self, pairing: Pairing) -> None:
        self.synchronizer: PairSynchronizer[RecordedImage, RecordedImage] = PairSynchronizer(
            pairing.slop_s, pairing.queue_size
        )
        self._offsets_ns = [round(seconds * NANOSECONDS) for seconds in pairing.offsets_s]

    def add(self, image: RecordedImage) -> list[Pair[RecordedImage, RecordedImage]]:
        """Take one image; return the pairs that are now certain."""
        stamp_ns = image.stamp_ns + self._offsets_ns[image.camera]
        if image.camera == INFRARED:
            return self.synchronizer.add_infrared(stamp_ns, image)
        return self.synchronizer.add_visible(stamp_ns, image)


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
    """Iterate over the pairs of a bag, as the fusion node would make them.

    Only messages that wait for their partner are held in memory.

    Args:
        bag: rosbag2 folder, .mcap or .db3 file; a damaged one is read as far as possible.
        infrared: topic; None for ``/infrared/image_raw`` or the only topic that fits.
        visible: topic; None for ``/visible/image_raw`` or the only topic that fits.
        slop_s: maximum distance of the stamps of a pair, 0 to 10 s.
        infrared_offset_s: seconds added to infrared stamps, -3600 to 3600.
        visible_offset_s: seconds added to visible stamps, -3600 to 3600.
        start_s: start of the part to read, in seconds since the bag's first message.
        stop_s: end of that part; None for the end of the bag.

    Yields:
        The pairs in order of time.

    Raises:
        BagError: the bag cannot be read, or its topics are not clear.
        ConfigError: a number is out of range.
    """
    pairing = Pairing(slop_s, infrared_offset_s, visible_offset_s)
    with open_recording(Path(bag)) as recording:
        topics = camera_topics(recording, infrared, visible)
        images = read_images(recording, (topics.infrared, topics.visible), start_s, stop_s)
        yield from pair_images(images, pairing, recording.start_ns)


def pair_images(
    images: Iterator[RecordedImage], pairing: Pairing, start_ns: int
) -> Iterator[RecordedPair]:
    """Pairs of a bag whose first message was recorded at ``start_ns``."""
    pairer = Pairer(pairing)
    for image in images:
        if image.message is None:
            continue
        for pair in pairer.add(image):
            yield RecordedPair(
                time_s=(pair.visible.recorded_ns - start_ns) / NANOSECONDS,
                stamp_ns=pair.visible.stamp_ns,
                infrared_stamp_ns=pair.infrared.stamp_ns,
                skew_ms=pair.skew_ns / 1e6,
                images=(pair.infrared, pair.visible),
            )


def camera_topics(
    recording: Recording,
    infrared: str | None,
    visible: str | None,
    options: tuple[str, str] = TOPIC_OPTIONS,
) -> CameraTopics:
    """Of both cameras; BagError where they are not there or not clear. See choose_topics."""

    def encoding(topic: Topic) -> str:
        first = recording.first(topic)
        image = first and read_image(first, 0)
        return encoding_of(image.message) if image and image.message is not None else ""

    return choose_topics(recording.topics, encoding, infrared, visible, options)


def read_images(
    recording: Recording,
    topics: tuple[Topic, Topic],
    start_s: float = 0.0,
    stop_s: float | None = None,
) -> Iterator[RecordedImage]:
    """The messages of both cameras, infrared topic first, in the order of recording."""
    names = [topic.name for topic in topics]
    for message in recording.messages(topics, start_s, stop_s):
        yield read_image(message, names.index(message.topic))


def read_image(recorded: BagMessage, camera: int) -> RecordedImage:
    """A message of a camera; one that is no message of its type has none."""
    try:
        message = TYPES.deserialize_cdr(recorded.data, recorded.type_name)
        header_ns = codec.stamp_ns(message)
    # Damaged bytes raise what the parser happens to meet: struct, index, Unicode, value errors.
    except Exception as error:
        refusal = f"the message is damaged: {' '.join(str(error).split()) or repr(error)}"
        return RecordedImage(camera, recorded.timestamp_ns, 0, None, refusal)
    return RecordedImage(camera, recorded.timestamp_ns, header_ns, message)
