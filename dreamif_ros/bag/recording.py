"""A bag that is open for reading: its faults are named, and all that can be read is read."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos, QosDurability
from rosbags.rosbag2 import Reader
from typing_extensions import Self

from dreamif_ros.bag.compression import unpack_file
from dreamif_ros.bag.mcap_file import McapFile
from dreamif_ros.bag.salvage import read_file
from dreamif_ros.bag.storage import (
    CAUSES,
    LAST_NS,
    BagError,
    BagMessage,
    Topic,
    errors_of_rosbags,
    files_of,
)
from dreamif_ros.stamps import from_seconds, to_seconds

Result = TypeVar("Result")
LAST_S = to_seconds(LAST_NS)  # a later moment is after any bag


class DamagedBagError(BagError):
    """Damage met in the middle of a bag: :func:`salvage` reads around it."""


class Recording(ABC):
    """Messages in the order in which they were recorded; closed with the ``with`` block.

    Attributes:
        path: of the bag.
        topics: those with messages, sorted.
        reliabilities: of the publishers that were recorded, by topic: ``reliable``,
            ``best_effort``, or both; empty where the bag does not say.
        start_ns: when the bag's first message was recorded.
        end_ns: when its last message was recorded.
        faults: what is wrong with its files, in words; reading messages may add more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: list[Topic] = []
        self.reliabilities: dict[str, str] = {}
        self.start_ns = self.end_ns = 0
        self.faults: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @abstractmethod
    def messages(
        self, topics: Collection[Topic], start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[BagMessage]:
        """Messages of some topics.

        Args:
            topics: which.
            start_s: leave out messages recorded earlier, in seconds since ``start_ns``.
            stop_s: leave out messages recorded then or later, in seconds since ``start_ns``.
        """

    def first(self, topic: Topic) -> BagMessage | None:
        """The first message of a topic."""
        return next(self.messages([topic]), None)

    def storage(self) -> tuple[str, str]:
        """Kind of the files (``mcap`` or ``sqlite3``), and how they are compressed."""
        file = files_of(self.path)[0]
        kind = "mcap" if ".mcap" in file.name else "sqlite3"
        if file.suffix == ".zstd":
            return kind, "files by zstd"
        if kind == "mcap" and (compression := McapFile(file).compression):
            return kind, f"chunks by {compression}"
        metadata = self.path / "metadata.yaml"
        text = metadata.read_text("utf-8", "replace").lower() if metadata.is_file() else ""
        return kind, "messages by zstd" if "compression_mode: message" in text else "none"

    def say(self, fault: str) -> None:
        """Add a fault, once."""
        if fault not in self.faults:
            self.faults.append(fault)

    def _span(self, start_s: float, stop_s: float | None) -> tuple[int, int | None]:
        return self._time_ns(start_s), None if stop_s is None else self._time_ns(stop_s)

    def _time_ns(self, seconds: float) -> int:
        """Seconds after the beginning as a time that a database takes; also infinite ones."""
        return min(self.start_ns + from_seconds(min(seconds, LAST_S)), LAST_NS)


class IndexedRecording(Recording):
    """A whole bag, read by rosbags.

    Raises:
        BagError: the bag is not whole.
        DamagedBagError: damage is met while messages are read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._errors = partial(errors_of_rosbags, f"cannot read the bag {path}")
        with self._errors():
            logs = _unclosed_logs(path)
            if logs:
                raise BagError(f"the recording was not closed: {logs[0]} is still there")
            self._reader = self._stack.enter_context(_reader(path))
            connections = self._reader.connections
            self.topics = sorted({_topic_of(c) for c in connections if c.msgcount})
            self.reliabilities = _reliabilities(connections)
            self.start_ns = self._reader.start_time
            self.end_ns = self._reader.end_time - 1
            for file in files_of(path):
                if file.suffix == ".mcap" and not McapFile(file).has_index:
                    self.say(f"{file.name} has no index: it was read from beginning to end")

    def messages(
        self, topics: Collection[Topic], start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[BagMessage]:
        """See Recording."""
        names = _names(topics)
        wanted = [c for c in self._reader.connections if (c.topic, c.msgtype) in names]
        if not wanted:
            return
        try:
            with self._errors():
                for c, time_ns, data in self._reader.messages(wanted, *self._span(start_s, stop_s)):
                    yield BagMessage(c.topic, c.msgtype, time_ns, bytes(data))
        except BagError as error:
            raise DamagedBagError(str(error)) from error


class SalvagedRecording(Recording):
    """What can be read of a damaged bag, see :mod:`dreamif_ros.bag.salvage`.

    All messages are read once to find the topics and the times.

    Raises:
        BagError: no message can be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files = [self._unpacked(file) for file in files_of(path)]
        firsts: dict[Topic, BagMessage] = {}
        try:
            for message in self._read():
                firsts.setdefault(Topic(message.topic, message.type_name), message)
                self.end_ns = max(self.end_ns, message.timestamp_ns)
        except BaseException:
            self._stack.close()
            raise
        if not firsts:
            self._stack.close()
            why = f": {'; '.join(self.faults)}" if self.faults else ""
            raise BagError(f"the bag {path} holds no messages{why}")
        self.topics = sorted(firsts)
        self.start_ns = min(message.timestamp_ns for message in firsts.values())

    def messages(
        self, topics: Collection[Topic], start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[BagMessage]:
        """See Recording."""
        names = _names(topics)
        begin_ns, end_ns = self._span(start_s, stop_s)
        for message in self._read():
            if end_ns is not None and message.timestamp_ns >= end_ns:
                continue
            if message.timestamp_ns >= begin_ns and (message.topic, message.type_name) in names:
                yield message

    def _read(self) -> Iterator[BagMessage]:
        """The messages of all files; a file that is no bag is named and left out."""
        for file in self._files:
            try:
                yield from read_file(file, self.say)
            except BagError as error:
                if len(self._files) == 1:
                    raise
                self.say(f"{error}; it was left out")

    def _unpacked(self, file: Path) -> Path:
        if file.suffix != ".zstd":
            return file
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dreamif_bag_"))
        return unpack_file(file, Path(folder), self.say)


def open_recording(bag: Path) -> Recording:
    """Open a bag, whole or damaged, to read its messages in a ``with`` block.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.

    Raises:
        BagError: no message of it can be read.
    """
    try:
        recording = IndexedRecording(bag)
    except BagError as error:
        return salvage(bag, error)
    if not recording.topics:
        with recording:
            raise BagError(f"the bag {bag} holds no messages")
    return recording


def read_recording(bag: Path, read: Callable[[Recording], Result]) -> Result:
    """The result of ``read`` for a bag; it is called again where it meets damage.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.
        read: takes the open bag, the second time with all that can be salvaged.

    Raises:
        BagError: no message of the bag can be read. Errors of ``read`` are raised too.
    """
    with open_recording(bag) as recording:
        try:
            return read(recording)
        except DamagedBagError as error:
            damage = error
    with salvage(bag, damage) as recording:
        return read(recording)


def salvage(bag: Path, reason: BagError) -> Recording:
    """What can be read of a bag that rosbags refused for a reason."""
    files_of(bag)  # refuses what is no bag
    recording = SalvagedRecording(bag)
    recording.faults[:0] = _metadata_faults(bag)
    if not recording.faults:
        what = str(reason).replace(str(bag), bag.name)
        recording.say(f"{what}; what can be read was read")
    return recording


def _names(topics: Collection[Topic]) -> set[tuple[str, str]]:
    """Names without QoS: a topic with two publishers of unequal QoS is recorded twice."""
    return {(topic.name, topic.type_name) for topic in topics}


def _reader(bag: Path) -> Reader:
    """A reader of rosbags that is not open yet; BagError for what is not a whole bag."""
    if not bag.exists():
        raise BagError(f"no such bag: {bag}")
    if bag.is_dir() and not (bag / "metadata.yaml").is_file():
        raise BagError(f"{bag} has no metadata.yaml")
    if bag.is_file() and bag.suffix not in (".mcap", ".db3"):
        raise BagError(f"{bag} is no bag: give a rosbag2 folder or its .mcap or .db3 file")
    for path in bag.glob("*.mcap") if bag.is_dir() else [bag]:
        if path.suffix == ".mcap" and McapFile(path).is_cut_off:
            raise BagError(f"{path} is cut off: its end is missing")
    return Reader(bag)


def _qos(connection: Connection) -> list[Qos]:
    extension = connection.ext
    return extension.offered_qos_profiles if isinstance(extension, ConnectionExtRosbag2) else []


def _topic_of(connection: Connection) -> Topic:
    latched = any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in _qos(connection))
    return Topic(connection.topic, connection.msgtype, latched)


def _reliabilities(connections: list[Connection]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for connection in connections:
        names = {qos.reliability.name.lower() for qos in _qos(connection)}
        found.setdefault(connection.topic, set()).update(names)
    return {topic: " and ".join(sorted(names)) for topic, names in found.items()}


def _metadata_faults(bag: Path) -> list[str]:
    if not bag.is_dir() or (bag / "metadata.yaml").is_file():
        return []
    return [
        f"metadata.yaml is missing ({CAUSES}): the files beside it were read; `ros2 bag reindex` "
        "writes a new one"
    ]


def _unclosed_logs(bag: Path) -> list[Path]:
    """SQLite's logs that still hold messages."""
    logs = bag.glob("*.db3-wal") if bag.is_dir() else [bag.with_name(f"{bag.name}-wal")]
    return [log for log in logs if log.is_file() and log.stat().st_size]
