"""A bag that is open for reading: its faults are named, and all that can be read is read.

What the files of the bag hold counts, in order of time whatever file it is in.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from heapq import heappop, heappush, heapreplace
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dreamif_ros.bag.compression import ZSTD_MAGIC, unpack, unpack_file
from dreamif_ros.bag.mcap_file import McapFile
from dreamif_ros.bag.metadata import metadata_faults
from dreamif_ros.bag.remote import RemoteError, bag_files, is_remote, remote_errors
from dreamif_ros.bag.sqlite_file import SqliteFile
from dreamif_ros.bag.storage import (
    LAST_NS,
    BagError,
    BagMessage,
    Block,
    Selection,
    StorageFile,
    Topic,
)
from dreamif_ros.stamps import from_seconds, to_seconds

LAST_S = to_seconds(LAST_NS)  # a later moment is after any bag
OPEN_BYTES = 64 << 20  # of blocks that overlap in time and are read together
_RELIABILITY = re.compile(r"\breliability: *[\"']?(\w+)")  # numbers until ROS 2 Iron, then names
_DURABILITY = re.compile(r"\bdurability: *[\"']?(\w+)")
_RELIABILITIES = {"1": "reliable", "2": "best_effort"}
_LATCHED = ("1", "transient_local")


class Recording:
    """Messages in the order in which they were recorded; closed with the ``with`` block.

    Args:
        path: rosbag2 folder, or its ``.mcap`` or ``.db3`` file, whole or damaged; or what
            :func:`~dreamif_ros.bag.remote.bag_path` makes of a URL.

    Attributes:
        path: of the bag.
        topics: those with messages, sorted.
        reliabilities: of the publishers that were recorded, by topic: ``reliable``,
            ``best_effort``, or both; empty where the bag does not say.
        start_ns: when the bag's first message was recorded.
        end_ns: when its last message was recorded.
        faults: what is wrong with its files, in words; reading messages may add more.

    Raises:
        BagError: it holds no message that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self._stack = ExitStack()
        files = bag_files(path)
        paths = _once(files, self.say)
        try:
            self._files = [file for one in paths if (file := self._open(one, len(paths)))]
        except BaseException:
            self._stack.close()
            raise
        self._counts = sum((file.counts for file in self._files), Counter[tuple[str, str]]())
        blocks = [block for file in self._files if file.counts for block in file.blocks]
        self._blocks = sorted(blocks, key=lambda block: block.start_ns)
        self._refuse_foreign()
        self.start_ns = min(block.start_ns for block in blocks)
        self.end_ns = max(block.end_ns for block in blocks)
        if files != [path]:
            span_ns = self.start_ns, self.end_ns
            with remote_errors(path):
                self.faults[:0] = metadata_faults(path, paths, self._counts, span_ns)
        self.reliabilities, latched = self._quality_of_service()
        self.topics = sorted(Topic(*topic, topic[0] in latched) for topic in self._counts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def messages(
        self, topics: Collection[Topic], start_s: float = 0.0, stop_s: float | None = None
    ) -> Iterator[BagMessage]:
        """Messages of some topics.

        Args:
            topics: which.
            start_s: leave out messages recorded earlier, in seconds since ``start_ns``.
            stop_s: leave out messages recorded then or later, in seconds since ``start_ns``.
        """
        end_ns = LAST_NS + 1 if stop_s is None else self._time_ns(stop_s)
        names = frozenset(topic.key for topic in topics)
        wanted = Selection(names, self._time_ns(start_s), end_ns)
        read = Counter[tuple[str, str]]()
        for message in _in_order_of_time(self._blocks, wanted):
            if message.data.startswith(ZSTD_MAGIC):
                message = message._replace(data=unpack("zstd", message.data))
                if not message.data:
                    self.say(f"{self.path.name} has damaged messages, which are left out")
                    continue
            read[message.key] += 1
            yield message
        if start_s <= 0 and stop_s is None:
            self._say_unread(names, read)

    def first(self, topic: Topic) -> BagMessage | None:
        """The first message of a topic."""
        return next(self.messages([topic]), None)

    def storage(self) -> tuple[str, str]:
        """Kind of the files (``mcap`` or ``sqlite3``), and how they are compressed."""
        file = bag_files(self.path)[0]
        kind = "mcap" if ".mcap" in file.name else "sqlite3"
        if file.suffix == ".zstd":
            return kind, "files by zstd"
        if compression := self._files[0].compression:
            return kind, f"chunks by {compression}"
        wanted = Selection(frozenset(self._counts))
        first = next(_in_order_of_time(self._blocks, wanted), None)
        is_packed = first is not None and first.data.startswith(ZSTD_MAGIC)
        return kind, "messages by zstd" if is_packed else "none"

    def say(self, fault: str) -> None:
        """Add a fault, once."""
        if fault not in self.faults:
            self.faults.append(fault)

    def _open(self, path: Path, count: int) -> StorageFile | None:
        """One of ``count`` files; None where it is no bag, which is named."""
        try:
            if is_remote(path) and not path.name.endswith(".mcap"):
                raise BagError(
                    f"{path}: only .mcap files are read from URLs, because others cannot be read "
                    "in parts: copy it to this machine, or write it as MCAP with `ros2 bag convert`"
                )
            if path.suffix == ".zstd":
                folder = tempfile.TemporaryDirectory(prefix="dreamif_bag_")
                path = unpack_file(path, Path(self._stack.enter_context(folder)), self.say)
            kind = McapFile if path.suffix == ".mcap" else SqliteFile
            return kind(path, self.say)
        except RemoteError:  # what another moment may read is not left out
            raise
        except OSError as error:
            failure = f"cannot read the bag {path}: {error.strerror or error}"
        except BagError as error:
            failure = str(error)
        if count == 1:
            raise BagError(failure)
        self.say(f"{failure}; it was left out")
        return None

    def _refuse_foreign(self) -> None:
        """Name messages of other formats than that of ROS 2; BagError where there are no others."""
        foreign = sum((file.foreign for file in self._files), Counter[str]())
        listed = ", ".join(f"{count} in {name}" for name, count in foreign.most_common(3))
        if self._blocks:
            if foreign:
                self.say(
                    f"messages that are not in cdr, the format of ROS 2, are left out: {listed}"
                )
            return
        self._stack.close()
        if "ros1" in foreign:
            raise BagError(
                f"{self.path} holds messages of ROS 1, which ROS 2 cannot read: convert the .bag "
                "file that it was made from with `rosbags-convert --src FILE.bag --dst FOLDER`"
            )
        if foreign:
            raise BagError(
                f"{self.path} holds messages that are not in cdr, the format of ROS 2: {listed}"
            )
        why = f": {'; '.join(self.faults)}" if self.faults else ""
        raise BagError(f"the bag {self.path} holds no messages{why}")

    def _quality_of_service(self) -> tuple[dict[str, str], set[str]]:
        """Reliabilities by topic, and the topics that are latched."""
        found: dict[str, set[str]] = {}
        latched = set()
        for file in self._files:
            for topic, text in file.qos.items():
                values = _RELIABILITY.findall(text)
                found.setdefault(topic, set()).update(_RELIABILITIES.get(v, v) for v in values)
                if any(value in _LATCHED for value in _DURABILITY.findall(text)):
                    latched.add(topic)
        return {topic: " and ".join(sorted(names)) for topic, names in found.items()}, latched

    def _say_unread(
        self, names: frozenset[tuple[str, str]], read: Counter[tuple[str, str]]
    ) -> None:
        """Name messages that the files count and that could not be read."""
        for name, type_name in sorted(names):
            held = self._counts[name, type_name]
            if read[name, type_name] != held:
                self.say(
                    f"the files count {held} messages of {name}, and {read[name, type_name]} can "
                    "be read"
                )

    def _time_ns(self, seconds: float) -> int:
        """Seconds after the beginning as a time; also infinite ones."""
        return min(self.start_ns + from_seconds(min(seconds, LAST_S)), LAST_NS)


def _once(files: list[Path], say: Callable[[str], None]) -> list[Path]:
    """The files without the unpacked copies that a player left beside packed ones."""
    packed = {file.with_suffix("") for file in files if file.suffix == ".zstd"}
    for file in packed.intersection(files):
        say(f"{file.name} is there packed too: it was read once")
    return [file for file in files if file not in packed]


def _in_order_of_time(blocks: list[Block], wanted: Selection) -> Iterator[BagMessage]:
    """The messages of blocks that are sorted by their start; a block is read when it is due."""
    due = [b for b in blocks if b.start_ns < wanted.end_ns and b.end_ns >= wanted.begin_ns]
    due.reverse()
    # Time, number, message, the messages behind it, bytes: of each block that is open.
    is_open: list[tuple[int, int, BagMessage, Iterator[BagMessage], int]] = []
    open_bytes = 0
    while due or is_open:
        while due and (
            not is_open or (due[-1].start_ns <= is_open[0][0] and open_bytes < OPEN_BYTES)
        ):
            block = due.pop()
            messages = block.read(wanted)
            if first := next(messages, None):
                number = -len(due)
                heappush(is_open, (first.timestamp_ns, number, first, messages, block.bytes))
                open_bytes += block.bytes
        if not is_open:
            return
        _, number, message, messages, size = is_open[0]
        yield message
        after = next(messages, None)
        if after:
            heapreplace(is_open, (after.timestamp_ns, number, after, messages, size))
        else:
            heappop(is_open)
            open_bytes -= size
