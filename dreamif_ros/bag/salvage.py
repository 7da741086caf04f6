"""Reads the files of a bag from their beginning as far as they go, without index and metadata.

It serves where :mod:`rosbags` refuses a bag: files that are cut off, damaged or without an index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from dreamif_ros.bag.compression import ZSTD_MAGIC, unpack
from dreamif_ros.bag.mcap_file import McapFile
from dreamif_ros.bag.storage import CAUSES, BagError, BagMessage

Say = Callable[[str], None]  # takes what is wrong with a file, in one line

_MAX_JUMPS = 64  # over damaged rows of a database, each twice as far as the last


def read_file(path: Path, say: Say) -> Iterator[BagMessage]:
    """The messages of one storage file in the order in which they were written."""
    is_mcap = ".mcap" in path.name
    for message in McapFile(path, say).messages() if is_mcap else _read_rows(path, say):
        if not message.data.startswith(ZSTD_MAGIC):
            yield message
        elif data := unpack("zstd", message.data):
            yield message._replace(data=data)
        else:
            say(f"{path.name} has damaged messages, which are left out")


def _read_rows(path: Path, say: Say) -> Iterator[BagMessage]:
    """The messages of an SQLite file in the order of their numbers, without damaged ones."""
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise BagError(f"cannot read the bag {path}: {error}") from None
    try:
        yield from _rows(connection, path, say)
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    # A log that was never closed holds the last messages. Without one, no lock file is written.
    closed = not path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if closed else ''}"
    connection = sqlite3.connect(uri, uri=True)
    connection.execute("PRAGMA writable_schema=ON")  # opens files that are cut off
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
    for _ in range(_MAX_JUMPS):
        try:
            for key, topic, time_ns, data in connection.execute(query, (after,)):
                after, jump = key, 1
                if topic in topics and isinstance(data, bytes):
                    yield BagMessage(*topics[topic], time_ns, data)
            return
        except (sqlite3.Error, OverflowError):
            say(f"{path.name} is cut off or damaged ({CAUSES}); what can be read was read")
            after, jump = after + jump, 2 * jump
