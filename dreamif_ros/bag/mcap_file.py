"""Reads MCAP files (https://mcap.dev/spec) as far as they go, without their index.

This is the only reader of the bytes of MCAP files that is ours; rosbags reads those that are whole.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable, Generator, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from dreamif_ros.bag.compression import unpack
from dreamif_ros.bag.storage import CAUSES, LAST_NS, BagError, BagMessage

MAGIC = b"\x89MCAP0\r\n"
_HEAD_BYTES = 9  # of a record: its kind and length
_FOOTER_BYTES = 37  # at the end: record head, summary start, offsets, checksum, magic
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_READ = (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK)
_KINDS = range(0x01, 0x10)  # the records that the specification defines
_OWN_KINDS = 0x80  # and above: records of applications
_MAX_BYTES = 1 << 30  # of one record; a greater length is damage


class McapFile:
    """One MCAP file.

    Args:
        path: of the file.
        say: takes each fault that :meth:`messages` meets, in one line.
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None) -> None:
        self._path, self._say = path, say or _ignore
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, tuple[str, str]] = {}  # topic and type

    @property
    def is_cut_off(self) -> bool:
        """Whether it begins as an MCAP file and does not end as one."""
        with self._path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC and not self._footer(file).endswith(MAGIC)

    @property
    def has_index(self) -> bool:
        """Whether its footer says where the summary begins."""
        with self._path.open("rb") as file:
            footer = self._footer(file)
        return footer.endswith(MAGIC) and any(footer[_HEAD_BYTES : _HEAD_BYTES + 8])

    @property
    def compression(self) -> str:
        """How its first chunk is compressed: ``zstd``, ``lz4``, or empty for none."""
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            file.seek(len(MAGIC))
            while head := _head(file):
                kind, length = head
                if kind == _CHUNK:
                    try:
                        return _text(file.read(64), 28)[0]
                    except (struct.error, UnicodeDecodeError, IndexError):
                        return ""
                file.seek(min(length, size), 1)
        return ""

    def messages(self) -> Iterator[BagMessage]:
        """The messages in the order in which they were written.

        Raises:
            BagError: the file does not begin as an MCAP file.
        """
        with self._path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{self._path} is no MCAP file: it begins with something else")
            if not (yield from self._messages(file, self._path.stat().st_size)):
                self._say(
                    f"{self._path.name} is cut off: its end is missing ({CAUSES}); what is there "
                    "was read"
                )

    def _footer(self, file: BinaryIO) -> bytes:
        file.seek(max(0, self._path.stat().st_size - _FOOTER_BYTES))
        return file.read()

    def _messages(self, stream: BinaryIO, size: int) -> Generator[BagMessage, None, bool]:
        """The messages up to ``size``; returns whether the end of the records was found."""
        while head := _head(stream):
            kind, length = head
            if kind in (_FOOTER, _DATA_END):
                return True
            if (kind not in _KINDS and kind < _OWN_KINDS) or length > _MAX_BYTES:
                self._say(
                    f"{self._path.name} is damaged {stream.tell() / 1e6:.1f} MB from its "
                    "beginning; what comes before was read"
                )
                return True
            if kind not in _READ:
                stream.seek(length, 1)
                continue
            content = stream.read(min(length, size - stream.tell()))
            whole = len(content) == length
            if whole or kind == _CHUNK:
                yield from self._record(kind, content, whole)
            if not whole:
                return False
        return False

    def _record(self, kind: int, content: bytes, whole: bool) -> Iterator[BagMessage]:
        try:
            if kind == _SCHEMA:
                self._schemas[int.from_bytes(content[:2], "little")] = _text(content, 2)[0]
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
        records = unpack(compression, content[end + 8 :])
        damaged = whole and checksum and crc32(records) != checksum
        if damaged or not records:
            if whole:
                self._say(f"{self._path.name} has damaged blocks, which are left out")
            return
        yield from self._messages(BytesIO(records), len(records))


def _ignore(_: str) -> None:
    """Take a fault that nobody asks for."""


def _head(stream: BinaryIO) -> tuple[int, int] | None:
    """Kind and length of the next record; None at the end of the file."""
    head = stream.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    kind, length = struct.unpack("<BQ", head)
    return kind, length


def _text(content: bytes, start: int) -> tuple[str, int]:
    """The string at ``start``, and where it ends."""
    (length,) = struct.unpack_from("<I", content, start)
    end = start + 4 + length
    if end > len(content):
        raise IndexError(f"a string of {length} bytes does not fit its record")
    return content[start + 4 : end].decode(), end
