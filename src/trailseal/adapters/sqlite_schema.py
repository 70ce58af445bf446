"""What a SQLite file of ours must look like: made once, checked at every opening."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trailseal.errors import SettingsError, Unavailable

_SWITCH_S = 10.0
_RETRY_S = 0.01


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file holds.

    Attributes:
        what: the noun for messages: ``log``, ``ledger``.
        application_id: SQLite's ``application_id``, so that one kind of file is never taken for another.
        version: SQLite's ``user_version``; a file with a higher one is refused.
        statements: what makes an empty file of that version.
    """

    what: str
    application_id: int
    version: int
    statements: tuple[str, ...]


def create(connection: sqlite3.Connection, schema: Schema) -> None:
    """Put the file into WAL mode and, where it is empty, make its tables. Raises SQLite's own errors."""
    if not _is_empty(connection) and _identity(connection)[0] != schema.application_id:
        return
    _switch_to_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(connection):
            for statement in schema.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={schema.application_id}")
            connection.execute(f"PRAGMA user_version={schema.version}")
        connection.execute("COMMIT")
    finally:
        roll_back(connection)


def check(connection: sqlite3.Connection, schema: Schema, path: Path) -> None:
    """Refuse a file that is not of this schema and version. Raises SQLite's own errors besides.

    Raises:
        Unavailable: it is empty still: another process is making it.
        SettingsError: it is another kind of file, or of another version.
    """
    application, version = _identity(connection)
    if _is_empty(connection):
        raise Unavailable(f"The {schema.what} {path} is being made right now: try again.")
    if application != schema.application_id:
        raise SettingsError(
            f"{path} is a SQLite file, but not a Trailseal {schema.what}: choose another folder with --data."
        )
    if version > schema.version:
        raise SettingsError(
            f"The {schema.what} {path} was written by a newer Trailseal (file version {version}, this program knows"
            f" {schema.version}): upgrade Trailseal, or use the version that wrote it."
        )
    if version < schema.version:
        raise SettingsError(
            f"The {schema.what} {path} has file version {version}, which this program cannot read (it knows"
            f" {schema.version}): use the version of Trailseal that wrote it."
        )


def roll_back(connection: sqlite3.Connection) -> None:
    """End the open transaction, if there is one, without its changes; never raises."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL; SQLite does not wait for other processes that do the same, so we do."""
    deadline = time.monotonic() + _SWITCH_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # costs nothing where it is set already
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_empty(connection: sqlite3.Connection) -> bool:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(objects == 0) and _identity(connection) == (0, 0)
