"""The files of a bag, read from their beginning as far as they go: no index, no metadata needed.

For what :mod:`rosbags` refuses: files that are cut off, damaged or without an index.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
import sys
from binascii import crc32
from collections.abc import Callable, Generator, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from dreamif_ros.bag.storage import BagError, BagMessage

if sys.version_info >= (3, 14):  # where rosbags has it from
    from compression import zstd
else:
    from backports import zstd

Say = Callable[[str], None]  # takes what is wrong with a file, in one line

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
CAUSES = "recording killed, disk full or copy unfinished"
MCAP_MAGIC = b"\x89MCAP0\r\n"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # no CDR message begins so
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_READ = (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK)
_KINDS = range(0x01, 0x10)  # the records that there are
_MOST_BYTES = 1 << 30  # of one record; a greater length is damage
LAST_NS = (1 << 63) - 1  # a later time is damage
_MOST_JUMPS = 64  # over damaged rows of a database, each twice as far as the last


def files_of(bag: Path) -> list[Path]:
    """The storage files of a bag, the parts of a split one in order; BagError without any."""
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


def read_file(path: Path, say: Say) -> Iterator[BagMessage]:
    """The messages of one storage file in the order in which they were written."""
    messages = _McapFile(path, say).messages() if ".mcap" in path.name else _read_rows(path, say)
    for message in messages:
        if message.data.startswith(_ZSTD_MAGIC):
            data = _unpack("zstd", message.data)
            if not data:
                say(f"{path.name} has damaged messages, which are left out")
                continue
            message = message._replace(data=data)
        yield message


def decompress_file(path: Path, folder: Path, say: Say) -> Path:
    """A copy of ``x.mcap.zstd`` as ``folder / x.mcap``, as far as it goes."""
    copy = folder / path.stem
    with path.open("rb") as source, copy.open("wb") as target:
        try:
            with zstd.open(source, "rb") as unpacked:
                shutil.copyfileobj(unpacked, target)
        except (zstd.ZstdError, EOFError, OSError) as error:
            say(f"{path.name} is cut off or damaged ({error}); what is there was read")
    return copy


def _number(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdigit() else (-1, part)


class _McapFile:
    """One MCAP file: https://mcap.dev/spec, of which this reads what carries messages."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path, self._say = path, say
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, tuple[str, str]] = {}  # topic and type

    def messages(self) -> Iterator[BagMessage]:
        """BagError where it is no MCAP file."""
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                raise BagError(f"{self._path} is no MCAP file: it begins with something else")
            if not (yield from self._messages(file, size)):
                self._say(
                    f"{self._path.name} is cut off: its end is missing ({CAUSES}); what is there "
                    "was read"
                )

    def _messages(self, stream: BinaryIO, size: int) -> Generator[BagMessage, None, bool]:
        """Of the records up to ``size``; returns whether their end was found."""
        while True:
            head = stream.read(9)
            if len(head) < 9:
                return False
            kind, length = struct.unpack("<BQ", head)
            if kind in (_FOOTER, _DATA_END):
                return True
            left = size - stream.tell()
            if (kind not in _KINDS and kind < 0x80) or length > _MOST_BYTES:
                self._say(
                    f"{self._path.name} is damaged {stream.tell() / 1e6:.1f} MB from its "
                    "beginning; what comes before was read"
                )
                return True
            if kind not in _READ:
                stream.seek(length, 1)
                continue
            content = stream.read(min(length, left))
            if len(content) == length or kind == _CHUNK:
                yield from self._record(kind, content, len(content) == length)
            if len(content) < length:
                return False

    def _record(self, kind: int, content: bytes, whole: bool) -> Iterator[BagMessage]:
        try:
            if kind == _SCHEMA:
                self._schemas[_integer(content, 0, 2)] = _text(content, 2)[0]
            elif kind == _CHANNEL:
                self._add_channel(content)
            elif kind == _CHUNK:
                yield from self._chunk(content, whole)
            else:
                yield from self._message(content)
        except (struct.error, UnicodeDecodeError, IndexError):
            self._say(f"{self._path.name} has damaged records, which are left out")

    def _add_channel(self, content: bytes) -> None:
        key, schema = struct.unpack_from("<HH", content)
        topic, end = _text(content, 4)
        if _text(content, end)[0] == "cdr":
            self._channels[key] = topic, self._schemas.get(schema, "")

    def _message(self, content: bytes) -> Iterator[BagMessage]:
        channel, _, time_ns = struct.unpack_from("<HIQ", content)
        if channel in self._channels and time_ns <= LAST_NS:
            yield BagMessage(*self._channels[channel], time_ns, content[22:])

    def _chunk(self, content: bytes, whole: bool) -> Iterator[BagMessage]:
        _, _, _, checksum = struct.unpack_from("<QQQI", content)
        compression, end = _text(content, 28)
        records = _unpack(compression, content[end + 8 :])
        damaged = whole and checksum and crc32(records) != checksum
        if damaged or not records:
            if whole:
                self._say(f"{self._path.name} has damaged blocks, which are left out")
            return
        yield from self._messages(BytesIO(records), len(records))


def _integer(content: bytes, start: int, size: int) -> int:
    return int.from_bytes(content[start : start + size], "little")


def _text(content: bytes, start: int) -> tuple[str, int]:
    """The string at ``start``, and where it ends."""
    (length,) = struct.unpack_from("<I", content, start)
    end = start + 4 + length
    if end > len(content):
        raise IndexError(f"a string of {length} bytes does not fit its record")
    return content[start + 4 : end].decode(), end


def _unpack(compression: str, data: bytes) -> bytes:
    """What can be had of compressed bytes: the beginning of those that are cut off, or nothing."""
    if not compression:
        return data
    try:
        if compression == "zstd":
            return zstd.ZstdDecompressor().decompress(data)
        if compression == "lz4":
            return bytes(LZ4FrameDecompressor().decompress(data))
    except (zstd.ZstdError, RuntimeError, EOFError, ValueError):
        pass
    return b""


def _read_rows(path: Path, say: Say) -> Iterator[BagMessage]:
    """The messages of an SQLite file by number, over damaged ones where there are any."""
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise BagError(f"cannot read the bag {path}: {error}") from None
    try:
        yield from _rows(connection, path, say)
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    # A log that was never closed holds the last messages; else no lock file is to be written.
    closed = not path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if closed else ''}"
    connection = sqlite3.connect(uri, uri=True)
    connection.execute("PRAGMA writable_schema=ON")  # else a file that is cut off is not opened
    return connection


def _rows(connection: sqlite3.Connection, path: Path, say: Say) -> Iterator[BagMessage]:
    try:
        topics = {
            key: (name, type_name)
            for key, name, type_name in connection.execute("SELECT id, name, type FROM topics")
        }
    except sqlite3.Error as error:
        raise BagError(f"cannot read the bag {path}: {error}") from None
    after, jump = -1, 1
    query = "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id"
    for _ in range(_MOST_JUMPS):
        try:
            for key, topic, time_ns, data in connection.execute(query, (after,)):
                after, jump = key, 1
                if topic in topics and isinstance(data, bytes):
                    yield BagMessage(*topics[topic], time_ns, data)
            return
        except (sqlite3.Error, OverflowError):
            say(f"{path.name} is cut off or damaged ({CAUSES}); what can be read was read")
            after, jump = after + jump, 2 * jump
