"""A bag that is open for reading: what is wrong with it is named, and the rest is read."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from typing_extensions import Self

from dreamif_ros.bag.salvage import (
    CAUSES,
    LAST_NS,
    MCAP_MAGIC,
    decompress_file,
    files_of,
    read_file,
)
from dreamif_ros.bag.storage import (
    BagError,
    BagMessage,
    Topic,
    errors_of_rosbags,
    open_reader,
    topic_of,
)

Result = TypeVar("Result")
MOST_S = LAST_NS / 1e9  # a later moment is after any bag
_FOOTER_BYTES = 37  # of an MCAP file: record head, summary start, offsets, checksum, magic


class DamagedBagError(BagError):
    """Damage met in the middle of a bag: :func:`salvage` reads around it."""


class Recording(ABC):
    """Messages in the order in which they were recorded; closed with the ``with`` block.

    topics: those with messages, sorted. start_ns, end_ns: when the bag's first and its last
    message were recorded.
    faults: what is wrong with its files, in words; there may be more once messages were read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: list[Topic] = []
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
        """Those of ``topics`` from ``start_s`` to before ``stop_s``, counted from start_ns."""

    def first(self, topic: Topic) -> BagMessage | None:
        """The first message of a topic."""
        return next(self.messages([topic]), None)

    def say(self, fault: str) -> None:
        """Add a fault, once."""
        if fault not in self.faults:
            self.faults.append(fault)

    def _span(self, start_s: float, stop_s: float | None) -> tuple[int, int | None]:
        return self._time_ns(start_s), None if stop_s is None else self._time_ns(stop_s)

    def _time_ns(self, seconds: float) -> int:
        """Any, also infinite, seconds after the beginning as a time that a database takes."""
        return min(self.start_ns + round(min(seconds, MOST_S) * 1e9), LAST_NS)


class IndexedRecording(Recording):
    """A whole bag, by rosbags; BagError for others, DamagedBagError for damage met later."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._errors = partial(errors_of_rosbags, f"cannot read the bag {path}")
        with self._errors():
            logs = _unclosed_logs(path)
            if logs:
                raise BagError(f"the recording was not closed: {logs[0]} is still there")
            self._reader = self._stack.enter_context(open_reader(path))
            self.topics = sorted({topic_of(c) for c in self._reader.connections if c.msgcount})
            self.start_ns = self._reader.start_time
            self.end_ns = self._reader.end_time - 1
            for file in files_of(path):
                if file.suffix == ".mcap" and not _has_index(file):
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
    """What can be read of a bag in trouble, see :mod:`dreamif_ros.bag.salvage`.

    It is read once to know what there is. BagError where that is nothing.
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
        """Of all files; one that is no bag at all is named and left out."""
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
        return decompress_file(file, Path(folder), self.say)


def open_recording(bag: Path) -> Recording:
    """A bag, whole or in trouble; BagError where nothing can be read of it."""
    try:
        recording = IndexedRecording(bag)
    except BagError as error:
        return salvage(bag, error)
    if not recording.topics:
        with recording:
            raise BagError(f"the bag {bag} holds no messages")
    return recording


def read_recording(bag: Path, read: Callable[[Recording], Result]) -> Result:
    """What ``read`` makes of a bag: again, of what can be salvaged, where it meets damage.

    Raises what ``read`` raises, and BagError where nothing can be read of the bag.
    """
    with open_recording(bag) as recording:
        try:
            return read(recording)
        except DamagedBagError as error:
            damage = error
    with salvage(bag, damage) as recording:
        return read(recording)


def salvage(bag: Path, reason: BagError) -> Recording:
    """What can be read of a bag that was refused for a reason."""
    files_of(bag)  # what is no bag at all is refused, not salvaged
    recording = SalvagedRecording(bag)
    recording.faults[:0] = _metadata_faults(bag)
    if not recording.faults:
        what = str(reason).replace(str(bag), bag.name)
        recording.say(f"{what}; what can be read was read")
    return recording


def _names(topics: Collection[Topic]) -> set[tuple[str, str]]:
    """Of all publishers: a topic with two of unequal QoS is recorded twice."""
    return {(topic.name, topic.type_name) for topic in topics}


def _metadata_faults(bag: Path) -> list[str]:
    if not bag.is_dir():
        return []
    advice = "the files beside it were read; `ros2 bag reindex` writes a new one"
    metadata = bag / "metadata.yaml"
    if not metadata.is_file():
        return [f"metadata.yaml is missing ({CAUSES}): {advice}"]
    return []


def _unclosed_logs(bag: Path) -> list[Path]:
    """SQLite's logs that still hold messages."""
    logs = bag.glob("*.db3-wal") if bag.is_dir() else [bag.with_name(f"{bag.name}-wal")]
    return [log for log in logs if log.is_file() and log.stat().st_size]


def _has_index(file: Path) -> bool:
    """Whether the footer of an MCAP file says where its summary begins."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _FOOTER_BYTES))
        footer = stream.read()
    return footer.endswith(MCAP_MAGIC) and any(footer[9:17])
