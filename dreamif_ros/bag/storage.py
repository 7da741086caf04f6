"""Writes rosbag2 recordings from image pairs and reads recordings back, without a running ROS."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dreamif_model.data import PairPaths, read_gray, read_rgb
from dreamif_model.errors import ConfigError, DreamIFError

INFRARED_TOPIC = "/infrared/image_raw"
VISIBLE_TOPIC = "/visible/image_raw"
CAMERA_INFO_TOPIC = "/visible/camera_info"
INFRARED_FRAME = "infrared_optical"
VISIBLE_FRAME = "visible_optical"

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

START_NS = 1_000_000_000  # stamp of the first pair: a stamp of zero reads as "not set"
MAX_RATE_HZ = 1000.0
BAG_VERSION: Literal[8] = 8  # 9 writes the topics' QoS as a list, which ROS 2 Humble cannot read


class BagError(DreamIFError):
    """A bag that cannot be read or written."""


class Topic(NamedTuple):
    """A recorded topic."""

    name: str
    type_name: str  # package/msg/Name
    latched: bool = False  # recorded transient local: late subscribers get the last messages


class BagMessage(NamedTuple):
    """A recorded message, still serialized."""

    topic: str
    type_name: str
    timestamp_ns: int  # when it was recorded
    data: bytes  # CDR


def write_pairs(pairs: Iterable[PairPaths], rate_hz: float, out: Path) -> int:
    """Write image files as a rosbag2 folder (MCAP) of two cameras; return the number of pairs.

    Pair ``i`` is stamped 1 s + i / rate_hz on all three topics. The same files give the same
    bytes, and nothing is left at ``out`` when a file cannot be read.
    """
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise ConfigError(f"the rate is {rate_hz:g} Hz, expected more than 0 to {MAX_RATE_HZ:g} Hz")
    if out.exists():
        raise BagError(f"{out} exists already: remove it or write somewhere else")
    with errors_of_rosbags(f"cannot write the bag {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        # The bag's file is named after its folder, so the unfinished folder has the final name.
        with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=out.parent) as unfinished:
            bag = Path(unfinished) / out.name
            count = _write(pairs, rate_hz, bag)
            bag.rename(out)
    return count


def read_topics(bag: Path) -> list[Topic]:
    """The topics of a bag that have messages, sorted; BagError where there are none."""
    with errors_of_rosbags(f"cannot read the bag {bag}"), open_reader(bag) as reader:
        topics = sorted({topic_of(c) for c in reader.connections if c.msgcount})
    if not topics:
        raise BagError(f"the bag {bag} holds no messages")
    return topics


def read_messages(bag: Path, topics: Collection[Topic] = ()) -> Iterator[BagMessage]:
    """Read the messages of ``topics`` (all where empty) in the order of their timestamps."""
    with errors_of_rosbags(f"cannot read the bag {bag}"), open_reader(bag) as reader:
        wanted = [c for c in reader.connections if not topics or topic_of(c) in topics]
        for connection, timestamp_ns, data in reader.messages(wanted):
            yield BagMessage(connection.topic, connection.msgtype, timestamp_ns, bytes(data))


@contextmanager
def errors_of_rosbags(what: str) -> Iterator[None]:
    """Turn whatever rosbags raises into one line."""
    try:
        yield
    except DreamIFError:
        raise
    # Damaged files raise what the parsers happen to meet: struct, type, key, SQL, zstd errors.
    except Exception as error:
        raise BagError(f"{what}: {' '.join(str(error).split()) or repr(error)}") from error


def open_reader(bag: Path) -> Reader:
    """A reader for a rosbag2 folder or one of its files, not opened yet; BagError for neither."""
    if not bag.exists():
        raise BagError(f"no such bag: {bag}")
    if bag.is_dir() and not (bag / "metadata.yaml").is_file():
        raise BagError(
            f"{bag} is no rosbag2 folder, it has no metadata.yaml: give the folder that "
            "`ros2 bag record` or `dreamif bag make` wrote, or its .mcap or .db3 file"
        )
    if bag.is_file() and bag.suffix not in (".mcap", ".db3"):
        raise BagError(f"{bag} is no bag: give a rosbag2 folder or its .mcap or .db3 file")
    for path in bag.glob("*.mcap") if bag.is_dir() else [bag]:
        _check_ending(path)
    return Reader(bag)


def _check_ending(path: Path) -> None:
    """Refuse an MCAP file that was cut off, the one kind of damage that is common."""
    if path.suffix != ".mcap":
        return
    magic = b"\x89MCAP0\r\n"
    with path.open("rb") as file:
        start = file.read(len(magic))
        file.seek(max(0, path.stat().st_size - len(magic)))
        end = file.read()
    if start == magic and end != magic:
        raise BagError(
            f"{path} is cut off: its end is missing (recording killed, disk full or copy "
            "unfinished); `mcap recover` saves what is there"
        )


def topic_of(connection: Connection) -> Topic:
    """The topic of a connection, by its name, type and QoS."""
    extension = connection.ext
    profiles = extension.offered_qos_profiles if isinstance(extension, ConnectionExtRosbag2) else []
    latched = any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)
    return Topic(connection.topic, connection.msgtype, latched)


def _write(pairs: Iterable[PairPaths], rate_hz: float, bag: Path) -> int:
    store = get_typestore(Stores.ROS2_HUMBLE)
    build = _MessageBuilder(store.types)
    count = 0
    with Writer(bag, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = ((INFRARED_TOPIC, IMAGE), (VISIBLE_TOPIC, IMAGE), (CAMERA_INFO_TOPIC, CAMERA_INFO))
        connections = [writer.add_connection(*topic, typestore=store) for topic in topics]
        for index, pair in enumerate(pairs):
            stamp_ns = START_NS + round(index * 1e9 / rate_hz)
            messages = build.pair(read_gray(pair.infrared), read_rgb(pair.visible), stamp_ns)
            for connection, message in zip(connections, messages, strict=True):
                data = store.serialize_cdr(message, connection.msgtype)
                writer.write(connection, stamp_ns, data)
            count += 1
    return count


class _MessageBuilder:
    """Builds messages of rosbags' own types, which need no ROS."""

    def __init__(self, types: dict[str, type[Any]]) -> None:
        self._types = types

    def pair(
        self,
        infrared: NDArray[np.uint8] | NDArray[np.uint16],
        visible: NDArray[np.uint8],
        stamp_ns: int,
    ) -> tuple[Any, Any, Any]:
        """Infrared image, visible image, visible camera info.

        infrared: (h, w); visible: (H, W, 3) RGB.
        """
        encoding = "mono8" if infrared.dtype == np.uint8 else "mono16"
        header = self._header(stamp_ns, VISIBLE_FRAME)
        return (
            self._image(infrared, encoding, self._header(stamp_ns, INFRARED_FRAME)),
            self._image(visible, "rgb8", header),
            self._camera_info(visible.shape[0], visible.shape[1], header),
        )

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def _image(self, image: NDArray[Any], encoding: str, header: Any) -> Any:
        little_endian = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
        return self._types[IMAGE](
            header=header,
            height=image.shape[0],
            width=image.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=little_endian.strides[0],
            data=little_endian.reshape(-1).view(np.uint8),
        )

    def _camera_info(self, height: int, width: int, header: Any) -> Any:
        """An uncalibrated camera: K all zero, as the message's definition says."""
        roi = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types[CAMERA_INFO](
            header=header,
            height=height,
            width=width,
            distortion_model="",
            d=np.zeros(0),
            k=np.zeros(9),
            r=np.zeros(9),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
