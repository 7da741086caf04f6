"""Reads MCAP files (https://mcap.dev/spec), whole or damaged, in order of time."""

from __future__ import annotations

import struct
from array import array
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dreamif_ros.bag.compression import unpack
from dreamif_ros.bag.remote import is_remote, open_bag_file
from dreamif_ros.bag.storage import (
    CAUSES,
    LAST_NS,
    MAX_BYTES,
    BagError,
    BagMessage,
    Block,
    Selection,
    printable,
)

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # of a record: its kind and length
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, recorded, published
_FOOTER_BYTES = 37  # at the end: record head, summary start, offsets, checksum, magic
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_READ = (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK)
_KINDS = range(0x01, 0x10)  # the records that the specification defines
_OWN_KINDS = 0x80  # and above: records of applications
_ERRORS = (struct.error, UnicodeDecodeError, IndexError)  # of damaged records


class _Channel(NamedTuple):
    topic: tuple[str, str]  # name and type
    encoding: str
    qos: str


class _Chunk(NamedTuple):
    begin: int  # of its content in the file
    length: int
    is_whole: bool
    start_ns: int  # as it says
    end_ns: int
    unpacked: int  # bytes, as it says


class _Found:
    """Where messages are, in the order in which they were written."""

    def __init__(self) -> None:
        self.times_ns, self.channels = array("q"), array("H")
        self.begins, self.ends = array("Q"), array("Q")  # of their data

    def add(self, head: bytes, begin: int, end: int) -> None:
        """Take the message whose record lies there; ``head``: its first bytes."""
        channel, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(head)
        if time_ns <= LAST_NS and begin + _MESSAGE_HEAD.size <= end:
            self.times_ns.append(time_ns)
            self.channels.append(channel)
            self.begins.append(begin + _MESSAGE_HEAD.size)
            self.ends.append(end)


class McapFile:
    """One MCAP file, see StorageFile.

    Args:
        path: of the file.
        say: takes each fault, in one line.

    Raises:
        BagError: the file does not begin as an MCAP file.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, _Channel] = {}
        self._chunks: list[_Chunk] = []
        self._outside = _Found()  # of chunks
        self.compression = ""
        with open_bag_file(path) as file:
            self._size = file.seek(0, 2)
            file.seek(0)
            if file.read(len(MAGIC)) != MAGIC:
                found = "begins with something else" if self._size else "is empty"
                raise BagError(f"{path} is no MCAP file: it {found}")
            # The walk meets every chunk, also behind damage. Each step is a request where the file
            # is remote, and the index of a whole file tells the same.
            counts = self._read_index(file, with_chunks=True) if is_remote(path) else None
            is_whole = counts is not None or self._look(file, self._size)
            if counts is None and is_whole:
                counts = self._read_index(file, with_chunks=False)
        if is_whole and counts is None:
            say(f"{path.name} has no index: it was read from beginning to end")
        if counts is None:
            counts = self._count()
        self.blocks = [
            Block(
                c.start_ns,
                c.end_ns,
                min(c.length + c.unpacked, MAX_BYTES),
                partial(self._read_chunk, c),
            )
            for c in self._chunks
        ]
        if times_ns := self._outside.times_ns:
            self.blocks.append(Block(min(times_ns), max(times_ns), 0, self._read_outside))
        self.counts: Counter[tuple[str, str]] = Counter()
        self.foreign: Counter[str] = Counter()
        for key, count in counts.items():
            channel = self._channels.get(key)
            if channel and channel.encoding == "cdr":
                self.counts[channel.topic] += count
            else:
                self.foreign[channel.encoding if channel else "unknown"] += count
        self.qos = {channel.topic[0]: channel.qos for channel in self._channels.values()}

    def _look(self, file: BinaryIO, size: int) -> bool:
        """Find the chunks and messages; whether all records up to the end are there."""
        self._chunks = []
        file.seek(len(MAGIC))
        while head := file.read(_HEAD.size):
            if len(head) < _HEAD.size:
                break
            kind, length = _HEAD.unpack(head)
            begin = file.tell()
            if kind in (_FOOTER, _DATA_END):
                file.seek(max(0, size - len(MAGIC)))
                if file.read() == MAGIC:
                    return True
                break
            if _is_damage(kind, length):
                self._say(
                    f"{self._path.name} is damaged {begin / 1e6:.1f} MB from its beginning; what "
                    "comes before was read"
                )
                return False
            is_whole = begin + length <= size
            if kind in _READ and (is_whole or kind == _CHUNK):
                try:
                    self._note(file, kind, begin, min(length, size - begin), is_whole)
                except _ERRORS:
                    self._say(f"{self._path.name} has damaged records, which are left out")
            if not is_whole:
                break
            file.seek(begin + length)
        self._say(
            f"{self._path.name} is cut off: its end is missing ({CAUSES}); what is there was read"
        )
        return False

    def _note(self, file: BinaryIO, kind: int, begin: int, length: int, is_whole: bool) -> None:
        if kind == _CHUNK:
            head = file.read(min(length, 64))
            start_ns, end_ns, unpacked = struct.unpack_from("<QQQ", head)
            self.compression = self.compression or printable(_text(head, 28)[0])
            self._chunks.append(_Chunk(begin, length, is_whole, start_ns, end_ns, unpacked))
        elif kind == _MESSAGE:
            self._outside.add(file.read(_MESSAGE_HEAD.size), begin, begin + length)
        else:
            self._describe(kind, file.read(length))

    def _describe(self, kind: int, content: bytes) -> None:
        """Learn of a schema or a channel."""
        (key,) = struct.unpack_from("<H", content)
        if kind == _SCHEMA:
            self._schemas[key] = printable(_text(content, 2)[0])
            return
        (schema,) = struct.unpack_from("<H", content, 2)
        name, end = _text(content, 4)
        encoding, end = _text(content, end)
        topic = printable(name), self._schemas.get(schema, "")
        self._channels[key] = _Channel(topic, printable(encoding), _qos(content, end + 4))

    def _read_index(self, file: BinaryIO, *, with_chunks: bool) -> Counter[int] | None:
        """Messages by channel, as the summary says; None where that cannot be relied on.

        with_chunks: find the chunks, too; None where there are none or not all.
        """
        counts, chunks, told = Counter[int](), list[_Chunk](), 0
        try:
            for kind, content in _summary(file):
                if kind in (_SCHEMA, _CHANNEL):
                    self._describe(kind, content)
                elif kind == _CHUNK_INDEX and with_chunks:
                    chunks.append(self._indexed(content))
                elif kind == _STATISTICS:
                    (told,) = struct.unpack_from("<I", content, 22)
                    counts.update(dict(struct.iter_unpack("<HQ", content[46:])))
        except _ERRORS:
            return None
        if with_chunks:
            if not chunks or len(chunks) != told or not all(chunk.is_whole for chunk in chunks):
                return None
            self._chunks = sorted(chunks)
        is_known = all(channel in self._channels for channel in counts)
        is_timed = all(c.start_ns <= c.end_ns and 0 < c.end_ns <= LAST_NS for c in self._chunks)
        return +counts if counts and is_known and is_timed else None

    def _indexed(self, content: bytes) -> _Chunk:
        """A chunk, of which this is the content of its record in the index."""
        start_ns, end_ns, place, length = struct.unpack_from("<QQQQ", content)
        (offsets,) = struct.unpack_from("<I", content, 32)
        compression, end = _text(content, 36 + offsets + 8)
        self.compression = self.compression or printable(compression)
        (unpacked,) = struct.unpack_from("<Q", content, end + 8)
        begin, length = place + _HEAD.size, length - _HEAD.size
        is_whole = 0 < length <= min(MAX_BYTES, self._size - begin)
        return _Chunk(begin, length, is_whole, start_ns, end_ns, unpacked)

    def _count(self) -> Counter[int]:
        """Messages by channel, and when chunks begin and end, by reading all of them."""
        counts = Counter(self._outside.channels)
        chunks, self._chunks = self._chunks, []
        for chunk in chunks:
            found = self._unpacked(chunk)[1]
            counts.update(found.channels)
            if times := found.times_ns:
                self._chunks.append(chunk._replace(start_ns=min(times), end_ns=max(times)))
        return counts

    def _unpacked(self, chunk: _Chunk) -> tuple[bytes, _Found]:
        """The records of a chunk, and where its messages are in them."""
        found = _Found()
        with open_bag_file(self._path, self._size) as file:
            file.seek(chunk.begin)
            content = file.read(chunk.length)
        try:
            (checksum,) = struct.unpack_from("<I", content, 24)
            compression, end = _text(content, 28)
            records = unpack(compression, content[end + 8 :], min(chunk.unpacked, MAX_BYTES))
            is_right = 0 < len(records) == chunk.unpacked and checksum in (0, crc32(records))
            if chunk.is_whole and not is_right:
                self._say(f"{self._path.name} has damaged blocks, which are left out")
                return b"", found
            for kind, begin, end in _records(records):
                if kind == _MESSAGE:
                    found.add(records[begin : begin + _MESSAGE_HEAD.size], begin, end)
                elif kind in (_SCHEMA, _CHANNEL):
                    self._describe(kind, records[begin:end])
        except _ERRORS:
            self._say(f"{self._path.name} has damaged records, which are left out")
            return b"", found
        return records, found

    def _read_chunk(self, chunk: _Chunk, wanted: Selection) -> Iterator[BagMessage]:
        records, found = self._unpacked(chunk)
        yield from self._messages(found, wanted, lambda begin, end: records[begin:end])

    def _read_outside(self, wanted: Selection) -> Iterator[BagMessage]:
        with open_bag_file(self._path, self._size) as file:

            def data(begin: int, end: int) -> bytes:
                file.seek(begin)
                return file.read(end - begin)

            yield from self._messages(self._outside, wanted, data)

    def _messages(
        self, found: _Found, wanted: Selection, data: Callable[[int, int], bytes]
    ) -> Iterator[BagMessage]:
        """Those that are wanted, in order of time."""
        for index in sorted(range(len(found.times_ns)), key=found.times_ns.__getitem__):
            channel = self._channels.get(found.channels[index])
            time_ns = found.times_ns[index]
            if channel and channel.encoding == "cdr" and wanted.takes(channel.topic, time_ns):
                content = data(found.begins[index], found.ends[index])
                yield BagMessage(*channel.topic, time_ns, content)


def _summary(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Kind and content of the records between the messages and the end; none without a summary."""
    file.seek(-_FOOTER_BYTES, 2)
    footer = file.read()
    (start,) = struct.unpack_from("<Q", footer, _HEAD.size)
    if footer[0] != _FOOTER or not start or not footer.endswith(MAGIC):
        return
    file.seek(start)
    summary = file.read(MAX_BYTES)
    for kind, begin, end in _records(summary):
        yield kind, summary[begin:end]


def _is_damage(kind: int, length: int) -> bool:
    is_known = kind in _KINDS or kind >= _OWN_KINDS
    return not is_known or (kind in _READ and length > MAX_BYTES)


def _records(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, begin and end of the records in a chunk or summary, as far as they are whole."""
    begin = 0
    while begin + _HEAD.size <= len(content):
        kind, length = _HEAD.unpack_from(content, begin)
        begin += _HEAD.size
        if _is_damage(kind, length):
            raise IndexError(f"a record of kind {kind} has {length} bytes")
        if begin + length > len(content):
            return
        yield kind, begin, begin + length
        begin += length


def _text(content: bytes, start: int) -> tuple[str, int]:
    """The string at ``start``, and where it ends."""
    (length,) = struct.unpack_from("<I", content, start)
    end = start + 4 + length
    if end > len(content):
        raise IndexError(f"a string of {length} bytes does not fit its record")
    return content[start + 4 : end].decode(), end


def _qos(content: bytes, start: int) -> str:
    """The QoS profiles among the values of a channel, which begin at ``start``."""
    while start < len(content):
        key, start = _text(content, start)
        value, start = _text(content, start)
        if key == "offered_qos_profiles":
            return value
    return ""
