"""What a bag is made of: files, topics and messages; how its files are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from dreamif_model.errors import DreamIFError

INFRARED_TOPIC = "/infrared/image_raw"
VISIBLE_TOPIC = "/visible/image_raw"
CAMERA_INFO_TOPIC = "/visible/camera_info"

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
BAG_VERSION: Literal[8] = 8  # 9 writes the topics' QoS as a list, which ROS 2 Humble cannot read
START_NS = 1_000_000_000  # stamp of the first pair: a stamp of zero means "not set"
LAST_NS = (1 << 63) - 1  # a later time is damage
CAUSES = "recording killed, disk full or copy unfinished"


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


def files_of(bag: Path) -> list[Path]:
    """The storage files of a bag, the parts of a split one in order.

    Raises:
        BagError: ``bag`` is neither a folder with such files nor one of them.
    """
    if not bag.exists():
        raise BagError(f"no such bag: {bag}")
    if bag.is_file():
        if not bag.name.endswith(SUFFIXES):
            raise BagError(f"{bag} is no bag: give a rosbag2 folder or its .mcap or .db3 file")
        return [bag]
    found = [path for path in bag.iterdir() if path.name.endswith(SUFFIXES) and path.is_file()]
    if not found:
        raise BagError(f"{bag} is no rosbag2 folder: it has no .mcap or .db3 file")
    return sorted(found, key=lambda path: [_number(part) for part in re.split(r"(\d+)", path.name)])


def _number(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdigit() else (-1, part)


@contextmanager
def errors_of_rosbags(what: str) -> Iterator[None]:
    """Turn every error of rosbags into a BagError of one line that begins with ``what``."""
    try:
        yield
    except DreamIFError:
        raise
    # Damaged files raise errors of any kind: struct, type, key, SQL, zstd.
    except Exception as error:
        raise BagError(f"{what}: {' '.join(str(error).split()) or repr(error)}") from error
