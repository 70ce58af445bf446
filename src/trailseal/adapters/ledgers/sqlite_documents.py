"""Small named documents with compare-and-set, and whole records kept by position."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from trailseal.adapters.sqlite_cells import RECORD, Cells
from trailseal.adapters.sqlite_headers import decode_headers, encode_headers
from trailseal.errors import Fenced
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Document

# Versions come from one counter that never goes back: a document made anew after a deletion cannot be taken for
# the deleted one.
STATEMENTS = (
    "CREATE TABLE documents (name TEXT PRIMARY KEY, body BLOB NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE document_versions (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL)",
    "INSERT INTO document_versions (one, last) VALUES (1, 0)",
    """CREATE TABLE kept (
        log INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        timestamp_ms INTEGER NOT NULL,
        key BLOB,
        value BLOB,
        headers BLOB,
        UNIQUE (log, partition, offset)
    )""",
)

_DOCUMENTS = Cells("ledger", "documents", name=str, body=bytes, version=int)
_VERSIONS = Cells("ledger", "document_versions", last=int)
_READ = f"SELECT {_DOCUMENTS.names} FROM documents WHERE name "  # noqa: S608 - constants


def read_document(connection: sqlite3.Connection, name: str) -> Document | None:
    """The named document, or None."""
    row = _DOCUMENTS.row(connection.execute(f"{_READ} = ?", (name,)).fetchone())
    return None if row is None else Document(row[1], str(row[2]))


def read_documents(connection: sqlite3.Connection, prefix: str) -> dict[str, Document]:
    """All documents whose name begins so; such names stand together in the key's order."""
    found: dict[str, Document] = {}
    rows = connection.execute(f"{_READ} >= ? ORDER BY name", (prefix,))
    for stored in rows:
        ((name, body, version),) = _DOCUMENTS.rows((stored,))
        if not name.startswith(prefix):
            break
        found[name] = Document(body, str(version))
    rows.close()
    return found


def write_document(connection: sqlite3.Connection, name: str, body: bytes, expected: str | None) -> str:
    """Write in the caller's transaction if ``expected`` is stored; the new version, or `Fenced`."""
    stored = read_document(connection, name)
    _refuse_other(name, None if stored is None else stored.version, expected)
    connection.execute("UPDATE document_versions SET last = last + 1")
    ((version,),) = _VERSIONS.rows(connection.execute("SELECT last FROM document_versions"))
    connection.execute(
        "INSERT INTO documents (name, body, version) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET body = excluded.body, version = excluded.version",
        (name, body, version),
    )
    return str(version)


def remove_document(connection: sqlite3.Connection, name: str, expected: str) -> None:
    """Delete in the caller's transaction if ``expected`` is stored or nothing is; else `Fenced`."""
    stored = read_document(connection, name)
    if stored is not None:
        _refuse_other(name, stored.version, expected)
        connection.execute("DELETE FROM documents WHERE name = ?", (name,))


def keep_records(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Store the records whose position has none yet, in the caller's transaction."""
    connection.executemany(
        "INSERT OR IGNORE INTO kept (log, partition, offset, timestamp_ms, key, value, headers)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                record.position.log,
                record.position.partition,
                record.position.offset,
                record.timestamp_ms,
                record.key,
                record.value,
                encode_headers(record.headers),
            )
            for record in records
        ),
    )


def discard_records(connection: sqlite3.Connection, positions: Sequence[Position]) -> None:
    """Delete what is kept under these positions, in the caller's transaction."""
    connection.executemany(
        "DELETE FROM kept WHERE log = ? AND partition = ? AND offset = ?",
        ((position.log, position.partition, position.offset) for position in positions),
    )


def kept_record(connection: sqlite3.Connection, position: Position) -> Record | None:
    """The record kept under that position, or None."""
    row = connection.execute(
        f"SELECT {RECORD} FROM kept WHERE log = ? AND partition = ? AND offset = ?",  # noqa: S608 - constants
        (position.log, position.partition, position.offset),
    ).fetchone()
    return None if row is None else Record(position, row[0], row[1], row[2], decode_headers(row[3]))


def _refuse_other(name: str, stored: str | None, expected: str | None) -> None:
    if stored != expected:
        raise Fenced(f"The document {name!r} was changed by someone else meanwhile: read it again, then decide.")
