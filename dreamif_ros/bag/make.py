"""Writes a rosbag2 recording of two cameras; it holds one image of each in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from dreamif_model.arrays import StoredImage
from dreamif_model.cameras import Both, Camera
from dreamif_model.errors import ImageError
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.camera_topics import COMPRESSED
from dreamif_ros.bag.image_sources import ImageSource, Shot
from dreamif_ros.bag.recorded_pairs import check_offset
from dreamif_ros.bag.storage import (
    BAG_VERSION,
    CAMERA_INFO_TOPIC,
    INFRARED_TOPIC,
    START_NS,
    VISIBLE_TOPIC,
    BagError,
    errors_of_rosbags,
)
from dreamif_ros.codec.message_builder import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    Compression,
    encoding_for,
)
from dreamif_ros.stamps import from_seconds, to_seconds

MAX_SHIFT_S = 3600.0  # between the stamps of both cameras


@dataclass
class Written:
    """The images of one camera that were written.

    Attributes:
        count: of the images.
        last_ns: time of the last image, in nanoseconds since the first.
    """

    count: int = 0
    last_ns: int = 0

    @property
    def rate_hz(self) -> float:
        """Mean images per second, 0 below two images."""
        return (self.count - 1) / to_seconds(self.last_ns) if self.last_ns else 0.0


def make_bag(
    source: ImageSource,
    out: Path,
    *,
    infrared_offset_s: float = 0.0,
    codec: Compression | None = None,
) -> Both[Written]:
    """Write a rosbag2 folder (MCAP); the same images give the same bytes.

    The camera that begins first is stamped from 1 s on, because a stamp of zero means "not set".
    If an image cannot be read, nothing is left at ``out``.

    Args:
        source: of the images; both cameras need equal numbers where they are paired by index.
        out: folder to write, which must not exist.
        infrared_offset_s: added to the stamps of infrared, -3600 to 3600 s.
        codec: write CompressedImage messages on <topic>/compressed; 16-bit infrared becomes PNG.

    Returns:
        What was written of each camera.

    Raises:
        BagError: ``out`` exists or cannot be written.
        ConfigError: the offset is out of range.
        ImageError: an image cannot be read, or the cameras have unequal numbers of images.
    """
    check_offset(Camera.INFRARED, infrared_offset_s, MAX_SHIFT_S)
    if out.exists():
        raise BagError(f"{out} exists already: remove it or write somewhere else")
    with errors_of_rosbags(f"cannot write the bag {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        # The bag's file is named after its folder, so the unfinished folder has the final name.
        with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=out.parent) as unfinished:
            bag = Path(unfinished) / out.name
            written = _write(source, from_seconds(infrared_offset_s), codec, bag)
            _check(source, written)
            bag.rename(out)
    return written


def _check(source: ImageSource, written: Both[Written]) -> None:
    counts = written.map(lambda camera: camera.count)
    if not all(counts):
        raise ImageError("there is no pair of images to write")
    if source.by_index and counts.infrared != counts.visible:
        raise ImageError(
            f"infrared has {counts.infrared} images and visible {counts.visible}, but image i of "
            "one must go with image i of the other: cut them to one length, or leave out --rate to "
            "pair videos by their own times"
        )


def _write(
    source: ImageSource, offset_ns: int, codec: Compression | None, bag: Path
) -> Both[Written]:
    written = Both(Written(), Written())
    with Writer(bag, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = _TopicWriter(writer, codec)
        for stamp_ns, camera, shot in _in_order_of_time(source, offset_ns):
            topics.write(camera, shot.image, stamp_ns)
            written[camera].count += 1
            written[camera].last_ns = shot.time_ns
    return written


def _in_order_of_time(source: ImageSource, offset_ns: int) -> Iterator[tuple[int, Camera, Shot]]:
    """Stamp, camera and shot of all images; infrared first where both have one stamp."""
    begin_ns = Both(START_NS + max(0, offset_ns), START_NS + max(0, -offset_ns))

    def stamped(camera: Camera) -> Iterator[tuple[int, Camera, Shot]]:
        return ((begin_ns[camera] + s.time_ns, camera, s) for s in source.shots[camera])

    return merge(stamped(Camera.INFRARED), stamped(Camera.VISIBLE), key=itemgetter(0))


class _TopicWriter:
    """Writes images to the topics of one bag."""

    def __init__(self, writer: Writer, codec: Compression | None) -> None:
        self._writer, self._codec = writer, codec
        ending, type_name = (COMPRESSED, COMPRESSED_IMAGE) if codec else ("", IMAGE)
        self._images = Both(INFRARED_TOPIC, VISIBLE_TOPIC).map(
            lambda topic: self._connection(topic + ending, type_name)
        )
        self._infos = self._connection(CAMERA_INFO_TOPIC, CAMERA_INFO)

    def write(self, camera: Camera, image: StoredImage, stamp_ns: int) -> None:
        """Write one image, and with a visible one its camera info."""
        header = MESSAGES.header(stamp_ns, f"{camera}_optical")
        if self._codec and image.dtype == np.float32:
            raise ImageError("JPEG and PNG hold no °C (float32): leave out --compressed")
        if self._codec:
            message = MESSAGES.compressed(image, self._codec, header)
        else:
            message = MESSAGES.image(image, encoding_for(image), header)
        self._write(self._images[camera], message, stamp_ns)
        if camera == Camera.VISIBLE:
            info = MESSAGES.camera_info(image.shape[0], image.shape[1], header)
            self._write(self._infos, info, stamp_ns)

    def _connection(self, topic: str, type_name: str) -> Connection:
        return self._writer.add_connection(topic, type_name, typestore=MESSAGES.store)

    def _write(self, connection: Connection, message: Any, stamp_ns: int) -> None:
        self._writer.write(connection, stamp_ns, MESSAGES.serialize(message))
