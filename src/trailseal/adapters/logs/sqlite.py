"""The embedded log: one SQLite file, one partition, every record for ever."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import Any

from trailseal.adapters.locks import CONSUMER_LOCK, FileLock
from trailseal.adapters.logs.sqlite_subscription import PARTITION, Arrivals, SqliteSubscription
from trailseal.adapters.logs.sqlite_writer import Batch, GroupCommit
from trailseal.adapters.sqlite_cells import RECORD, Cells
from trailseal.adapters.sqlite_files import SqliteFile
from trailseal.adapters.sqlite_headers import decode_headers, encode_headers, erased_headers
from trailseal.adapters.sqlite_schema import Schema
from trailseal.adapters.sqlite_writing import WriteConnection
from trailseal.errors import Unavailable, UsageError
from trailseal.model.record import ERASED_HEADERS, MAX_GAP, Gap, NewRecord, Position, Record
from trailseal.ports.clock import Clock
from trailseal.ports.log import Bounds

_MAX_OFFSET = 2**63 - 1
_COLUMNS = f"offset, {RECORD}"
_ORIGIN_BYTES = 16
_ERASED_AT_ONCE = 10_000
_ORIGIN = Cells("log", "state", origin=str)
_END = Cells("log", "state", next=int, last_ms=int)
_BOUNDS = Cells("log", "state", first=int | None, next=int)
_READERS = Cells("log", "readers", name=str, next=int)

_SCHEMA = Schema(
    what="log",
    application_id=0x54534C47,
    version=1,
    statements=(
        """CREATE TABLE records (
            offset INTEGER PRIMARY KEY,
            timestamp_ms INTEGER NOT NULL,
            key BLOB,
            value BLOB,
            headers BLOB
        )""",
        # The next offset is kept, not derived from the last row: an offset is never given out twice, even where
        # the newest records were removed.
        """CREATE TABLE state (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            origin TEXT NOT NULL,
            next INTEGER NOT NULL,
            last_ms INTEGER NOT NULL
        )""",
        "CREATE TABLE readers (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID",
    ),
)


class SqliteLog:
    """`EventLog` and `RecordSource` on one file, shared by any number of threads and processes.

    Offsets start at 0 and are dense. ``origin`` is ``embedded/<32 hex digits>/<epoch>``, made with the file.
    A log opened for reading only may name a file that does not exist yet: every call raises `Unavailable`, which
    says so, until it does.

    Args:
        path: the database file; ``consumer.lock`` lies beside it.
        log_number: gives the number of an origin (the ledger's `Ledger.register_log`); asked once, when needed.
        clock: for append times and waiting.
        read_only: refuse appends and subscriptions' locks are not needed.

    Raises:
        SettingsError: the folder cannot be written, or the file is not a log this program can use.
    """

    def __init__(
        self, path: Path, *, log_number: Callable[[str], int], clock: Clock, read_only: bool = False
    ) -> None:
        self._clock = clock
        self._log_number = log_number
        self._file = SqliteFile(path, _schema_with_origin(), read_only=read_only)
        self._connection = WriteConnection(self._file)
        self._writing = threading.Lock()
        self._writer = GroupCommit(self._commit)
        self._arrivals = Arrivals()
        self._origin: str | None = None
        self._number: int | None = None

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        if self._origin is None:
            with self._file.reading("name its origin") as connection:
                (self._origin,) = _state(connection, _ORIGIN)
        return self._origin

    def append(self, records: Sequence[NewRecord], partition: int | None = None) -> list[Position]:
        """See `EventLog.append`; all or nothing."""
        _refuse_other(PARTITION if partition is None else partition)
        self._file.refuse_writes()
        if not records:
            return []
        log = self._log()
        rows = [(record.key, record.value, encode_headers(record.headers)) for record in records]
        size = sum(len(key or b"") + len(value or b"") + len(headers or b"") for key, value, headers in rows)
        first = self._writer.append(rows, size)
        return [Position(log, PARTITION, offset) for offset in range(first, first + len(rows))]

    def partitions(self) -> tuple[int, ...]:
        """The one partition, 0."""
        return (PARTITION,)

    def bounds(self, partition: int) -> Bounds:
        """See `EventLog.bounds`."""
        _refuse_other(partition)
        with self._file.snapshot("tell its bounds") as connection:
            return _bounds(connection)

    def retention_s(self) -> None:
        """For ever."""

    def forgets_within_s(self) -> None:
        """Never by itself."""

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog.read`."""
        _refuse_other(partition)
        log = self._log()
        with self._file.snapshot("be read") as connection:
            bounds = _bounds(connection)
            if start >= bounds.next or max_records < 1:
                return []
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM records WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?",  # noqa: S608 - constants
                (start, bounds.next, max_records),
            )
            items = _contiguous(rows, log, start, max_records, max_bytes)
            rows.close()
        last = items[-1] if items else None
        if last is None:
            return [Gap.between(Position(log, PARTITION, start), bounds.next)]
        return items

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `RecordSource.fetch`; one statement whatever the number."""
        log = self._log()
        wanted = {
            p.offset for p in positions if p.log == log and p.partition == PARTITION and p.offset <= _MAX_OFFSET
        }
        with self._file.reading("be read") as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM records WHERE offset IN (SELECT value FROM json_each(?))",  # noqa: S608 - constants
                (json.dumps(sorted(wanted)),),
            ).fetchall()
        found = {row[0]: _record(row, log) for row in rows}
        return [found.get(p.offset) if p.log == log and p.partition == PARTITION else None for p in positions]

    def erase(self, positions: Sequence[Position]) -> None:
        """See `ErasableLog.erase`.

        Each field is overwritten at its own length, so that SQLite writes over the very bytes and moves none; the
        write-ahead log is emptied afterwards.
        """
        self._file.refuse_writes()
        log = self._log()
        offsets = sorted({p.offset for p in positions if p.log == log and p.partition == PARTITION})
        for start in range(0, len(offsets), _ERASED_AT_ONCE):
            with self._writing, self._connection.transaction("erase records") as connection:
                _blank(connection, offsets[start : start + _ERASED_AT_ONCE])
        with self._writing:
            self._connection.settle("erase records")

    def subscribe(self, group: str) -> SqliteSubscription:
        """See `EventLog.subscribe`; assigned while it holds ``consumer.lock``, whatever the group."""
        self._file.refuse_writes()
        return SqliteSubscription(
            self,
            self._file,
            FileLock(self._file.path.parent / CONSUMER_LOCK),
            self._arrivals,
            lambda offset: self._store_reader(group, offset),
        )

    def readers(self) -> dict[str, int]:
        """The next offset each group last told by `Subscription.commit`, for dashboards."""
        with self._file.reading("list its readers") as connection:
            return dict(_READERS.rows(connection.execute(f"SELECT {_READERS.names} FROM readers")))  # noqa: S608 - constants

    def close(self) -> None:
        """See `EventLog.close`."""
        self._writer.close()
        with self._writing:
            self._connection.close()
        self._file.close()

    def _log(self) -> int:
        if self._number is None:
            self._number = self._log_number(self.origin)
        return self._number

    def _commit(self, group: Sequence[Batch]) -> None:
        with self._writing, self._connection.transaction("append") as connection:
            first, last_ms = _state(connection, _END)
            now_ms = max(last_ms, self._clock.now_us() // 1000)
            for batch in group:
                batch.first = first
                connection.executemany(
                    "INSERT INTO records (key, value, headers, offset, timestamp_ms) VALUES (?, ?, ?, ?, ?)",
                    ((*row, offset, now) for row, offset, now in zip(batch.rows, count(first), repeat(now_ms))),
                )
                first += len(batch.rows)
            connection.execute("UPDATE state SET next = ?, last_ms = ?", (first, now_ms))
        self._arrivals.announce()

    def _store_reader(self, group: str, offset: int) -> None:
        with self._writing, self._connection.transaction("store a reader's offset") as connection:
            connection.execute(
                "INSERT INTO readers (name, next) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET next = excluded.next",
                (group, offset),
            )


def begin_next_epoch(path: Path) -> str:
    """Give a log that nobody uses the next epoch, and so another origin; the new origin.

    From then on it is another log: none of its positions was ever given out.

    Raises:
        Unavailable: it cannot be written now.
    """
    file = SqliteFile(path, _SCHEMA, read_only=False)
    writing = WriteConnection(file)
    try:
        with writing.transaction("begin a new epoch") as connection:
            (origin,) = _state(connection, _ORIGIN)
            base, _, epoch = origin.rpartition("/")
            begun = f"{base}/{int(epoch) + 1}"
            connection.execute("UPDATE state SET origin = ?", (begun,))
            connection.execute("DELETE FROM readers")
        return begun
    finally:
        writing.close()
        file.close()


def _schema_with_origin() -> Schema:
    origin = f"embedded/{secrets.token_hex(_ORIGIN_BYTES)}/1"
    first_row = f"INSERT INTO state (one, origin, next, last_ms) VALUES (1, '{origin}', 0, 0)"  # noqa: S608 - hex digits
    return Schema(_SCHEMA.what, _SCHEMA.application_id, _SCHEMA.version, (*_SCHEMA.statements, first_row))


def _state(connection: sqlite3.Connection, cells: Cells, sql: str = "") -> tuple[Any, ...]:
    row = cells.row(connection.execute(sql or f"SELECT {cells.names} FROM state").fetchone())  # noqa: S608 - constants
    if row is None:
        raise Unavailable("The log's file has lost its identity and its end: restore it from a backup.")
    return row


def _bounds(connection: sqlite3.Connection) -> Bounds:
    first, following = _state(connection, _BOUNDS, "SELECT (SELECT min(offset) FROM records), next FROM state")
    return Bounds(following if first is None else first, following)


def _contiguous(rows: sqlite3.Cursor, log: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
    """The rows as records, with a gap wherever offsets are missing between them."""
    items: list[Record | Gap] = []
    expected, size = start, 0
    for row in rows:
        offset = row[0]
        if offset != expected:
            hole = Gap.between(Position(log, PARTITION, expected), offset)
            items.append(hole)
            if hole.count == MAX_GAP:
                break
        size += len(row[3] or b"")
        if (items and size > max_bytes) or len(items) >= max_records:
            break
        items.append(_record(row, log))
        expected = offset + 1
    return items


def _record(row: tuple[int, int, bytes | None, bytes | None, bytes | None], log: int) -> Record:
    offset, timestamp_ms, key, value, headers = row
    read = decode_headers(headers)
    if read == ERASED_HEADERS:
        key = value = None
    return Record(Position(log, PARTITION, offset), timestamp_ms, key, value, read)


def _blank(connection: sqlite3.Connection, offsets: Sequence[int]) -> None:
    lengths = connection.execute(
        "SELECT offset, length(CAST(key AS BLOB)), length(CAST(value AS BLOB)), length(CAST(headers AS BLOB))"
        " FROM records WHERE offset IN (SELECT value FROM json_each(?))"
        " AND (headers IS NULL OR substr(CAST(headers AS BLOB), 1, 1) != ?)",
        (json.dumps(offsets), erased_headers(1)),
    ).fetchall()
    connection.executemany(
        "UPDATE records SET key = ?, value = ?, headers = ? WHERE offset = ?",
        (
            (
                None if key is None else bytes(key),
                None if value is None else bytes(value),
                erased_headers(headers or 1),
                offset,
            )
            for offset, key, value, headers in lengths
        ),
    )


def _refuse_other(partition: int) -> None:
    if partition != PARTITION:
        raise UsageError(f"The embedded log has one partition, {PARTITION}; there is no partition {partition}.")
