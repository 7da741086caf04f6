"""Reads the SQLite files of a bag, whole or damaged, in order of time.

A file may be anything that SQLite opens: only plain tables are read, within bounds of steps.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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

_MAX_JUMPS = 64  # over damaged rows of a database, each twice as far as the last
_STEPS = 20_000  # of SQLite between two looks at how many there were
_STEPS_AT_ONCE, _STEPS_PER_BYTE = 1_000_000, 4  # more than reading a table of that size takes
_ROWS = (
    "SELECT rowid, topic_id, timestamp, CASE typeof(data) WHEN 'blob' THEN length(data) END "
    "FROM messages NOT INDEXED WHERE rowid > ? ORDER BY rowid"
)
_DATA = "SELECT data FROM messages NOT INDEXED WHERE rowid = ?"
_COLUMNS = {
    "topics": {"id", "name", "type", "serialization_format"},
    "messages": {"topic_id", "timestamp", "data"},
}


class SqliteFile:
    """One SQLite file, see StorageFile.

    Args:
        path: of the file.
        say: takes each fault, in one line.

    Raises:
        BagError: the file is no database with the tables of a bag.
    """

    compression = ""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._keys, self._times_ns, self._topics = array("q"), array("q"), array("q")
        self.counts: Counter[tuple[str, str]] = Counter()
        self.foreign: Counter[str] = Counter()
        self.qos: dict[str, str] = {}
        self._names: dict[int, tuple[str, str]] = {}
        log = path.with_name(f"{path.name}-wal")
        if log.is_file() and log.stat().st_size:
            say(f"the recording was not closed: {log.name} is still there; it was read too")
        try:
            with closing(self._connect()) as connection:
                self._check_tables(connection)
                formats = self._read_topics(connection)
                self._find_messages(connection, formats)
        except (sqlite3.Error, OverflowError) as error:
            raise BagError(f"cannot read the bag {path}: {printable(str(error))}") from None
        times = self._times_ns or (0,)
        self.blocks = [Block(min(times), max(times), 0, self._read)]

    def _connect(self) -> sqlite3.Connection:
        # A log that was never closed holds the last messages. Without one, no lock file is written.
        closed = not self._path.with_name(f"{self._path.name}-wal").exists()
        uri = f"{self._path.resolve().as_uri()}?mode=ro{'&immutable=1' if closed else ''}"
        connection = sqlite3.connect(uri, uri=True)
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute("PRAGMA writable_schema=ON")  # opens files that are cut off
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    def _run(self, connection: sqlite3.Connection, query: str, *values: int) -> Iterator[Any]:
        """The rows of a query; sqlite3.Error after more steps than the file can need."""
        left = _STEPS_AT_ONCE + _STEPS_PER_BYTE * self._path.stat().st_size

        def spend() -> bool:
            nonlocal left
            left -= _STEPS
            return left < 0

        connection.set_progress_handler(spend, _STEPS)
        return connection.execute(query, values)

    def _check_tables(self, connection: sqlite3.Connection) -> None:
        """BagError where a table is missing, a view, or computes its columns."""
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        found = dict(self._run(connection, query))
        for table, needed in _COLUMNS.items():
            if table not in found:
                raise BagError(f"{self._path} is no bag: it has no such table as {table}")
            columns = list(self._run(connection, f"PRAGMA table_xinfo({table})"))
            is_plain = not any(hidden for *_, hidden in columns)
            if not is_plain or str(found[table]).lstrip()[:14].upper() == "CREATE VIRTUAL":
                raise BagError(f"{self._path} is no bag: its table {table} holds no plain values")
            if missing := sorted(needed - {name for _, name, *_ in columns}):
                raise BagError(
                    f"{self._path} is no bag: its table {table} has no {' and no '.join(missing)}"
                )

    def _read_topics(self, connection: sqlite3.Connection) -> dict[int, str]:
        """Note names, types and QoS; returns the formats."""
        formats = {}
        columns = {row[1] for row in self._run(connection, "PRAGMA table_xinfo(topics)")}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        query = f"SELECT id, name, type, serialization_format, {qos} FROM topics NOT INDEXED"
        for key, name, type_name, encoding, profiles in self._run(connection, query):
            if not (isinstance(name, str) and isinstance(type_name, str) and isinstance(key, int)):
                self._say(
                    f"{self._path.name} has a topic whose name or type is no text: its messages "
                    "are left out"
                )
                continue
            self._names[key] = printable(name), printable(type_name)
            formats[key] = printable(str(encoding))
            self.qos[printable(name)] = str(profiles)
        return formats

    def _find_messages(self, connection: sqlite3.Connection, formats: dict[int, str]) -> None:
        """Note which messages there are, without reading them."""
        odd = 0
        for key, topic, time_ns, length in self._rows(connection):
            is_time = isinstance(time_ns, int) and 0 <= time_ns <= LAST_NS
            is_read = isinstance(length, int) and length <= MAX_BYTES
            if not (is_time and is_read and isinstance(topic, int) and topic in formats):
                odd += 1
            elif formats[topic] != "cdr":
                self.foreign[formats[topic]] += 1
            else:
                self.counts[self._names[topic]] += 1
                self._keys.append(key)
                self._times_ns.append(time_ns)
                self._topics.append(topic)
        if odd:
            self._say(
                f"{self._path.name} has damaged messages: {odd} without a topic, a time or data "
                "that can be read are left out"
            )

    def _rows(self, connection: sqlite3.Connection) -> Iterator[Any]:
        """The rows of the messages without their data, around damaged ones."""
        after, jump = -1, 1
        for _ in range(_MAX_JUMPS):
            try:
                for row in self._run(connection, _ROWS, after):
                    after, jump = row[0], 1
                    yield row
                return
            except (sqlite3.Error, OverflowError):
                self._say_damage()
                after, jump = after + jump, 2 * jump

    def _read(self, wanted: Selection) -> Iterator[BagMessage]:
        with closing(self._connect()) as connection:
            for index in sorted(range(len(self._keys)), key=self._times_ns.__getitem__):
                topic, time_ns = self._names[self._topics[index]], self._times_ns[index]
                if not wanted.takes(topic, time_ns):
                    continue
                try:
                    ((data,),) = self._run(connection, _DATA, self._keys[index])
                except (sqlite3.Error, ValueError):
                    self._say_damage()
                    continue
                yield BagMessage(*topic, time_ns, data)

    def _say_damage(self) -> None:
        self._say(f"{self._path.name} is cut off or damaged ({CAUSES}); what can be read was read")
