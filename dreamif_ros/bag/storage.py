"""What a bag is made of: files, topics and messages; how its files are stored."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from dreamif_model.errors import DreamIFError

INFRARED_TOPIC = "/infrared/image_raw"
VISIBLE_TOPIC = "/visible/image_raw"
CAMERA_INFO_TOPIC = "/visible/camera_info"

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
BAG_VERSION: Literal[8] = 8  # 9 writes the topics' QoS as a list, which ROS 2 Humble cannot read
START_NS = 1_000_000_000  # stamp of the first pair: a stamp of zero means "not set"
LAST_NS = (1 << 63) - 1  # a later time is damage
MAX_BYTES = 128 << 20  # of one message or chunk; a longer one is damage
MAX_NAME = 200  # characters of a name that a file holds
CAUSES = "recording killed, disk full or copy unfinished"


class BagError(DreamIFError):
    """A bag that cannot be read or written."""


class Topic(NamedTuple):
    """A recorded topic."""

    name: str
    type_name: str  # package/msg/Name
    latched: bool = False  # recorded transient local: late subscribers get the last messages

    @property
    def key(self) -> tuple[str, str]:
        """Name and type: a bag may hold messages of two types under one name."""
        return self.name, self.type_name


class BagMessage(NamedTuple):
    """A recorded message, still serialized."""

    topic: str
    type_name: str
    timestamp_ns: int  # when it was recorded
    data: bytes  # CDR

    @property
    def key(self) -> tuple[str, str]:
        """That of its topic."""
        return self.topic, self.type_name


class Selection(NamedTuple):
    """Which messages are read: those of some topics, recorded in [begin_ns, end_ns)."""

    topics: frozenset[tuple[str, str]]  # names and types
    begin_ns: int = 0
    end_ns: int = LAST_NS + 1

    def takes(self, topic: tuple[str, str], time_ns: int) -> bool:
        """Whether a message is one of them."""
        return topic in self.topics and self.begin_ns <= time_ns < self.end_ns


class Block(NamedTuple):
    """A part of a file."""

    start_ns: int  # when its first and last message were recorded
    end_ns: int
    bytes: int  # of memory while it is read
    read: Callable[[Selection], Iterator[BagMessage]]  # in order of time


class StorageFile(Protocol):
    """What one file of a bag holds.

    Attributes:
        blocks: of its messages.
        counts: messages by the name and type of their topic.
        foreign: messages that are not in the format of ROS 2, by their format; they are not read.
        qos: of the publishers, as text, by the name of the topic.
        compression: of its chunks; empty for none.
    """

    blocks: list[Block]
    counts: Counter[tuple[str, str]]
    foreign: Counter[str]
    qos: dict[str, str]
    compression: str


def printable(text: str) -> str:
    """Text of a file as it may be shown: no control characters, not endlessly long."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: MAX_NAME + 1])
    return shown if len(shown) <= MAX_NAME else f"{shown[:MAX_NAME]}…"


def files_of(bag: Path) -> list[Path]:
    """The storage files of a bag, the parts of a split one in order.

    Raises:
        BagError: ``bag`` is neither a folder with such files nor one of them.
    """
    if not bag.exists():
        raise BagError(f"no such bag: {bag}")
    if bag.is_file():
        if bag.suffix == ".bag":
            raise BagError(_ros1(bag))
        if not bag.name.endswith(SUFFIXES):
            raise BagError(f"{bag} is no bag: give a rosbag2 folder or its .mcap or .db3 file")
        return [bag]
    inside = [path for path in bag.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = [path for path in inside if path.name.endswith(SUFFIXES)]
    if not found:
        for path in inside:
            if path.suffix == ".bag":
                raise BagError(_ros1(path))
        raise BagError(f"{bag} is no rosbag2 folder: it has no .mcap or .db3 file")
    return sorted(found, key=lambda path: [_number(part) for part in re.split(r"(\d+)", path.name)])


def _ros1(bag: Path) -> str:
    command = shlex.join(["rosbags-convert", "--src", str(bag), "--dst", str(bag.with_suffix(""))])
    return f"{bag} is a recording of ROS 1, which ROS 2 cannot read: convert it with `{command}`"


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
