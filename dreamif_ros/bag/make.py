"""Writes a rosbag2 recording of two cameras, one image of each in memory at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from dreamif_model.errors import ConfigError, ImageError
from dreamif_ros.bag.messages import Codec, MessageBuilder, Pixels
from dreamif_ros.bag.sources import NANOSECONDS, Cameras, Shot
from dreamif_ros.bag.storage import (
    BAG_VERSION,
    CAMERA_INFO,
    CAMERA_INFO_TOPIC,
    COMPRESSED_IMAGE,
    IMAGE,
    INFRARED_FRAME,
    INFRARED_TOPIC,
    START_NS,
    VISIBLE_FRAME,
    VISIBLE_TOPIC,
    BagError,
    errors_of_rosbags,
)

LONGEST_OFFSET_S = 3600.0  # as the node's sync.infrared_offset_s
INFRARED, VISIBLE = 0, 1


@dataclass
class Written:
    """What was written of one camera."""

    count: int = 0
    last_ns: int = 0  # time of its last image since its first

    @property
    def rate_hz(self) -> float:
        """Mean images per second, 0 below two images."""
        return (self.count - 1) * NANOSECONDS / self.last_ns if self.last_ns else 0.0

    def add(self, time_ns: int) -> None:
        """Count one image."""
        self.count, self.last_ns = self.count + 1, time_ns


def make_bag(
    cameras: Cameras, out: Path, *, infrared_offset_s: float = 0.0, codec: Codec | None = None
) -> tuple[Written, Written]:
    """Write a rosbag2 folder (MCAP); return what was written of infrared and of visible.

    The camera that begins first is stamped from 1 s on, for a stamp of zero reads as "not set".
    The same images give the same bytes, and nothing is left at ``out`` when one cannot be read.

    Args:
        cameras: where the images come from; of equal numbers where they go together by index.
        out: folder to write, which must not exist.
        infrared_offset_s: added to the stamps of infrared, -3600 to 3600 s.
        codec: write CompressedImage messages on <topic>/compressed; 16-bit infrared is PNG.
    """
    if not abs(infrared_offset_s) <= LONGEST_OFFSET_S:
        raise ConfigError(
            f"the infrared offset is {infrared_offset_s:g} s, expected {-LONGEST_OFFSET_S:g} to "
            f"{LONGEST_OFFSET_S:g} s"
        )
    if out.exists():
        raise BagError(f"{out} exists already: remove it or write somewhere else")
    with errors_of_rosbags(f"cannot write the bag {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        # The bag's file is named after its folder, so the unfinished folder has the final name.
        with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=out.parent) as unfinished:
            bag = Path(unfinished) / out.name
            written = _write(cameras, round(infrared_offset_s * NANOSECONDS), codec, bag)
            _check(cameras, written)
            bag.rename(out)
    return written


def _check(cameras: Cameras, written: tuple[Written, Written]) -> None:
    counts = [camera.count for camera in written]
    if not all(counts):
        raise ImageError("there is no pair of images to write")
    if cameras.by_index and counts[INFRARED] != counts[VISIBLE]:
        raise ImageError(
            f"infrared has {counts[INFRARED]} images and visible {counts[VISIBLE]}, but image i of "
            "one must go with image i of the other: cut them to one length, or leave out --rate to "
            "pair videos by their own times"
        )


def _write(
    cameras: Cameras, offset_ns: int, codec: Codec | None, bag: Path
) -> tuple[Written, Written]:
    written = Written(), Written()
    with Writer(bag, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = _Topics(writer, codec)
        for stamp_ns, camera, shot in _in_order_of_time(cameras, offset_ns):
            topics.write(camera, shot.image, stamp_ns)
            written[camera].add(shot.time_ns)
    return written


def _in_order_of_time(cameras: Cameras, offset_ns: int) -> Iterator[tuple[int, int, Shot]]:
    """Stamp, camera and shot of all images; infrared first where both are of one moment."""

    def stamped(camera: int, shots: Iterable[Shot], begin_ns: int) -> Iterator[Any]:
        return ((begin_ns + shot.time_ns, camera, shot) for shot in shots)

    return merge(
        stamped(INFRARED, cameras.infrared, START_NS + max(0, offset_ns)),
        stamped(VISIBLE, cameras.visible, START_NS + max(0, -offset_ns)),
        key=itemgetter(0),
    )


class _Topics:
    """The topics of one bag that is being written."""

    def __init__(self, writer: Writer, codec: Codec | None) -> None:
        self._writer, self._codec = writer, codec
        self._build = MessageBuilder()
        names = INFRARED_TOPIC, VISIBLE_TOPIC
        if codec:
            names = f"{INFRARED_TOPIC}/compressed", f"{VISIBLE_TOPIC}/compressed"
        type_name = COMPRESSED_IMAGE if codec else IMAGE
        self._images = [self._connection(name, type_name) for name in names]
        self._infos = self._connection(CAMERA_INFO_TOPIC, CAMERA_INFO)

    def write(self, camera: int, image: Pixels, stamp_ns: int) -> None:
        """Write one image, and the camera info of a visible one."""
        frame_id = INFRARED_FRAME if camera == INFRARED else VISIBLE_FRAME
        header = self._build.header(stamp_ns, frame_id)
        if self._codec:
            message = self._build.compressed(image, self._codec, header)
        else:
            message = self._build.image(image, header)
        self._write(self._images[camera], message, stamp_ns)
        if camera == VISIBLE:
            info = self._build.camera_info(image.shape[0], image.shape[1], header)
            self._write(self._infos, info, stamp_ns)

    def _connection(self, topic: str, type_name: str) -> Connection:
        return self._writer.add_connection(topic, type_name, typestore=self._build.store)

    def _write(self, connection: Connection, message: Any, stamp_ns: int) -> None:
        self._writer.write(connection, stamp_ns, self._build.serialize(message))
