"""Opens rosbag2 recordings and reads their messages, without a running ROS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability
from rosbags.rosbag2 import Reader

from dreamif_model.errors import DreamIFError

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
        raise BagError(f"{path} is cut off: its end is missing")


def topic_of(connection: Connection) -> Topic:
    """The topic of a connection, by its name, type and QoS."""
    extension = connection.ext
    profiles = extension.offered_qos_profiles if isinstance(extension, ConnectionExtRosbag2) else []
    latched = any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)
    return Topic(connection.topic, connection.msgtype, latched)
