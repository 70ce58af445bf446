"""The embedded ledger: heads, outcome rows, kept records and documents in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trailseal.adapters.ledgers import sqlite_documents, sqlite_rows, sqlite_seals
from trailseal.adapters.sqlite_cells import Cells
from trailseal.adapters.sqlite_files import SqliteFile
from trailseal.adapters.sqlite_schema import Schema
from trailseal.adapters.sqlite_writing import WriteConnection
from trailseal.errors import Fenced, PipelineFault, Unavailable
from trailseal.model.outcomes import Delta, Head, OutcomeKind, OutcomeRow, Totals
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Document

_SCHEMA = Schema(
    what="ledger",
    application_id=0x54534C44,
    version=2,
    statements=(
        "CREATE TABLE logs (number INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE)",
        # The sums of a partition's rows move in the transaction that writes them: totals cost one look-up.
        """CREATE TABLE heads (
            log INTEGER NOT NULL,
            partition INTEGER NOT NULL,
            base INTEGER NOT NULL,
            next INTEGER NOT NULL,
            version INTEGER NOT NULL,
            seal BLOB,
            duplicates INTEGER NOT NULL DEFAULT 0,
            dead_letters INTEGER NOT NULL DEFAULT 0,
            gaps INTEGER NOT NULL DEFAULT 0,
            expired INTEGER NOT NULL DEFAULT 0,
            erased INTEGER NOT NULL DEFAULT 0,
            id_collisions INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (log, partition)
        ) WITHOUT ROWID""",
        *sqlite_rows.STATEMENTS,
        *sqlite_documents.STATEMENTS,
        *sqlite_seals.STATEMENTS,
    ),
)
_MAX_OFFSET = 2**63 - 1
_LOGS = Cells("ledger", "logs", number=int, origin=str)
_HEADS = Cells("ledger", "heads", log=int, partition=int, base=int, next=int, version=int, seal=bytes | None)
_TOTALS = Cells(
    "ledger",
    "heads",
    log=int,
    partition=int,
    duplicates=int,
    dead_letters=int,
    gaps=int,
    expired=int,
    erased=int,
    id_collisions=int,
)
_READ_HEAD = f"SELECT {_HEADS.names} FROM heads "  # noqa: S608 - constants


class SqliteLedger:
    """`Ledger` on one file, shared by any number of threads and processes.

    A ledger opened for reading only may name a file that does not exist yet: every call raises `Unavailable`,
    which says so, until it does. A head's version is the number of its advances.

    Args:
        path: the database file.
        read_only: refuse every write with `UsageError`.

    Raises:
        SettingsError: the folder cannot be written, or the file is not a ledger this program can use.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._file = SqliteFile(path, _SCHEMA, read_only=read_only)
        self._connection = WriteConnection(self._file)
        self._writing = threading.Lock()
        self._closed = False
        self._seals = sqlite_seals.SqliteSeals(self._file, self._transaction)

    @property
    def seals(self) -> sqlite_seals.SqliteSeals:
        """See `Ledger.seals`."""
        return self._seals

    def log_number(self, origin: str) -> int | None:
        """See `Ledger.log_number`."""
        with self._file.reading("look up a log") as connection:
            row = connection.execute("SELECT number FROM logs WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else int(row[0])

    def register_log(self, origin: str) -> int:
        """See `Ledger.register_log`."""
        self._file.refuse_writes()
        known = self.log_number(origin)
        if known is not None:
            return known
        with self._transaction("register a log") as connection:
            connection.execute("INSERT OR IGNORE INTO logs (origin) VALUES (?)", (origin,))
            (number,) = connection.execute("SELECT number FROM logs WHERE origin = ?", (origin,)).fetchone()
        return int(number)

    def logs(self) -> dict[int, str]:
        """See `Ledger.logs`."""
        with self._file.reading("list its logs") as connection:
            return dict(_LOGS.rows(connection.execute("SELECT number, origin FROM logs ORDER BY number")))

    def head(self, log: int, partition: int) -> Head | None:
        """See `Ledger.head`."""
        with self._file.reading("read a head") as connection:
            return _head(connection, log, partition)

    def heads(self, log: int) -> list[Head]:
        """See `Ledger.heads`."""
        with self._file.reading("read the heads") as connection:
            rows = connection.execute(_READ_HEAD + "WHERE log = ? ORDER BY partition", (log,)).fetchall()
        return [_head_of(row) for row in _HEADS.rows(rows)]

    def open_partition(self, log: int, partition: int, base: int) -> Head:
        """See `Ledger.open_partition`."""
        with self._transaction("open a partition") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO heads (log, partition, base, next, version) VALUES (?, ?, ?, ?, 0)",
                (log, partition, base, base),
            )
            head = _head(connection, log, partition)
        if head is None:
            raise PipelineFault(f"The head {log}/{partition} vanished from the ledger {self._file.path}.")
        return head

    def advance(self, expected: Head, delta: Delta) -> Head:
        """See `Ledger.advance`; one transaction."""
        return self._advance(expected, delta, sqlite_rows.write_rows)

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        """See `ErasableLedger.remove`; one transaction."""
        return self._advance(expected, Delta(expected.next, tuple(rows)), sqlite_rows.replace_rows)

    def _advance(
        self, expected: Head, delta: Delta, write: Callable[[sqlite3.Connection, Sequence[OutcomeRow]], Totals]
    ) -> Head:
        _refuse_impossible(expected, delta)
        with self._transaction("move a head") as connection:
            stored = _head(connection, expected.log, expected.partition)
            if stored is None or (stored.version, stored.next) != (expected.version, expected.next):
                raise Fenced(
                    f"The head {expected.log}/{expected.partition} is not at {expected.next} (version"
                    f" {expected.version}) any more: another process owns the partition."
                )
            _move(connection, expected, delta, write(connection, delta.rows))
            moved = _head(connection, expected.log, expected.partition)
        return moved or expected

    def outcomes(
        self,
        log: int,
        partition: int,
        start: int = 0,
        stop: int | None = None,
        kinds: Sequence[OutcomeKind] | None = None,
    ) -> Iterator[OutcomeRow]:
        """See `Ledger.outcomes`; no transaction stays open between rows."""
        end = _MAX_OFFSET if stop is None else min(stop, _MAX_OFFSET)
        return sqlite_rows.read_rows(self._file, sqlite_rows.Span(log, partition, start, end), kinds)

    def totals(self, log: int, partition: int) -> Totals:
        """See `Ledger.totals`; the sums were maintained by `advance`, so this costs one look-up."""
        with self._file.reading("sum its rows") as connection:
            row = connection.execute(
                f"SELECT {_TOTALS.names} FROM heads WHERE log = ? AND partition = ?",  # noqa: S608 - constants
                (log, partition),
            ).fetchone()
        return Totals(*(_TOTALS.row(row) or ())[2:])

    def recount(self, log: int, partition: int) -> Totals:
        """The same sums computed from the rows, for reconciling; reads every row of the partition."""
        with self._file.reading("count its rows") as connection:
            return sqlite_rows.recounted(connection, log, partition)

    def keep(self, records: Sequence[Record]) -> None:
        """See `Ledger.keep`."""
        with self._transaction("keep records") as connection:
            sqlite_documents.keep_records(connection, records)

    def kept(self, position: Position) -> Record | None:
        """See `Ledger.kept`."""
        with self._file.reading("read a kept record") as connection:
            return sqlite_documents.kept_record(connection, position)

    def kept_among(self, positions: Sequence[Position]) -> dict[Position, Record]:
        """See `Ledger.kept_among`."""
        with self._file.reading("read kept records") as connection:
            found = (sqlite_documents.kept_record(connection, position) for position in positions)
            return {record.position: record for record in found if record is not None}

    def discard(self, positions: Sequence[Position]) -> None:
        """See `ErasableLedger.discard`; the file is written anew."""
        with self._transaction("discard records") as connection:
            sqlite_documents.discard_records(connection, positions)
        with self._writing:
            self._connection.settle("discard records", rewrite=True)

    def document(self, name: str) -> Document | None:
        """See `Ledger.document`."""
        with self._file.reading("read a document") as connection:
            return sqlite_documents.read_document(connection, name)

    def documents(self, prefix: str) -> dict[str, Document]:
        """See `Ledger.documents`."""
        with self._file.reading("read documents") as connection:
            return sqlite_documents.read_documents(connection, prefix)

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        """See `Ledger.put_document`."""
        with self._transaction("write a document") as connection:
            return sqlite_documents.write_document(connection, name, body, expected)

    def delete_document(self, name: str, expected: str) -> None:
        """See `Ledger.delete_document`."""
        with self._transaction("delete a document") as connection:
            sqlite_documents.remove_document(connection, name, expected)

    def close(self) -> None:
        """See `Ledger.close`; waits for the write under way."""
        with self._writing:
            self._closed = True
            self._connection.close()
        self._file.close()

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        self._file.refuse_writes()
        with self._writing:
            if self._closed:
                raise Unavailable(f"The ledger {self._file.path} is closed.")
            with self._connection.transaction(doing) as connection:
                yield connection


def _head(connection: sqlite3.Connection, log: int, partition: int) -> Head | None:
    row = _HEADS.row(
        connection.execute(_READ_HEAD + "WHERE log = ? AND partition = ?", (log, partition)).fetchone()
    )
    return None if row is None else _head_of(row)


def _head_of(row: tuple[Any, ...]) -> Head:
    log, partition, base, following, version, seal = row
    return Head(log, partition, base, following, str(version), seal)


def _move(connection: sqlite3.Connection, head: Head, delta: Delta, written: Totals) -> None:
    connection.execute(
        "UPDATE heads SET next = ?, version = version + 1, seal = coalesce(?, seal), duplicates = duplicates + ?,"
        " dead_letters = dead_letters + ?, gaps = gaps + ?, expired = expired + ?, erased = erased + ?,"
        " id_collisions = id_collisions + ? WHERE log = ? AND partition = ?",
        (
            delta.next,
            delta.seal,
            written.duplicates,
            written.dead_letters,
            written.gaps,
            written.expired,
            written.erased,
            written.id_collisions,
            head.log,
            head.partition,
        ),
    )


def _refuse_impossible(head: Head, delta: Delta) -> None:
    """Refuse what no correct caller asks for, before it can bend the books."""
    if delta.next < head.next:
        raise PipelineFault(f"A head cannot go back from {head.next} to {delta.next}.")
    for row in delta.rows:
        at = row.position
        if (
            (at.log, at.partition) != (head.log, head.partition)
            or row.count < 1
            or at.offset + row.count > delta.next
        ):
            raise PipelineFault(
                f"An outcome of {row.count} offsets at {at} does not belong to an advance of"
                f" {head.log}/{head.partition} to {delta.next}."
            )
