"""SQLite files: how they are opened, checked, read by many threads, and how their errors become ours.

Every file is in WAL mode with ``synchronous=FULL`` (a commit is on the disk when it returns) and
``secure_delete=ON`` (what is erased is overwritten). Nothing else in this process may open and close these
files: POSIX drops all of a process's locks on a file when any of its descriptors is closed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trailseal.adapters.sqlite_errors import translated
from trailseal.errors import PipelineFault, SettingsError, Unavailable, UsageError

BUSY_S = 10.0
_IDLE_READERS = 16
_CHECKPOINT_PAGES = 4_000
_JOURNAL_BYTES = 64 * 1024 * 1024
_CHECKPOINT_WAIT_MS = 200


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


class SqliteFile:
    """One database file: a pool of reading connections, and writing ones on request.

    Readers each have their own connection, so they never wait for the writer, nor the writer for them. A file
    opened for reading only need not exist yet: every use raises `Unavailable` until it does.

    Raises:
        SettingsError: the folder cannot be written, the file is no database, not ours, or from a newer Trailseal.
        Unavailable: it cannot be opened now.
    """

    def __init__(self, path: Path, schema: Schema, *, read_only: bool) -> None:
        self.path = path
        self._schema = schema
        self._read_only = read_only
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._checked = False
        self._closed = False
        self._file_identity: tuple[int, int] | None = None
        if not read_only:
            self._make_folder()
            self._create()
        elif path.exists():
            self._release(self._acquire())

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._read_only

    def refuse_writes(self) -> None:
        """Raise `UsageError` where the file was opened for reading only."""
        if self._read_only:
            raise UsageError(f"The {self._schema.what} {self.path} was opened for reading only.")

    def refuse_replacement(self) -> None:
        """Raise `PipelineFault` where the path no longer leads to the file that was opened."""
        with suppress(OSError):
            found = self.path.stat()
            if self._file_identity == (found.st_dev, found.st_ino):
                return
        raise PipelineFault(
            f"The {self._schema.what} {self.path} was removed or replaced while it was in use: stop, put the right"
            " file back, and start again."
        )

    @contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into ours; ``doing`` completes "could not …"."""
        with translated(f"The {self._schema.what} {self.path} could not {doing}"):
            yield

    @contextmanager
    def reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A connection of our own for reading, with errors translated."""
        with self.translated(doing):
            connection = self._acquire()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._release(connection)

    @contextmanager
    def snapshot(self, doing: str) -> Iterator[sqlite3.Connection]:
        """As `reading`, with all statements seeing one state of the file."""
        with self.reading(doing) as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    def writer(self) -> sqlite3.Connection:
        """A new connection for writing, to be used by one thread at a time. Raises SQLite's own errors."""
        return self._connect("rw")

    def watcher(self) -> sqlite3.Connection:
        """A new connection for reading that its owner keeps. Raises SQLite's own errors."""
        return self._connect("ro")

    def close(self) -> None:
        """Close idle readers now and the others as they come back; later use raises `Unavailable`."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _acquire(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise Unavailable(f"The {self._schema.what} {self.path} is closed.")
            if self._idle:
                return self._idle.pop()
        with translated(f"The {self._schema.what} {self.path} could not be opened", opening=not self._checked):
            connection = self._connect("ro")
            if not self._checked:
                try:
                    self._check(connection)
                except BaseException:
                    connection.close()
                    raise
        return connection

    def _release(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, mode: str) -> sqlite3.Connection:
        if mode != "rwc" and not self.path.exists():
            raise Unavailable(
                f"There is no {self._schema.what} at {self.path} yet: start `trailseal up` or `trailseal import`"
                " on this folder, or name another one with --data."
            )
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if mode != "ro":
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA secure_delete=ON")
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES}")
            connection.execute("PRAGMA cache_size=-8000")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_folder(self) -> None:
        folder = self.path.absolute().parent
        if folder.is_dir():
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SettingsError(
                f"The data folder {folder} cannot be made ({error.strerror}): choose another one with --data,"
                " or make this one writable."
            ) from error

    def _create(self) -> None:
        with translated(f"The {self._schema.what} {self.path} could not be opened", opening=True):
            connection = self._connect("rwc")
            try:
                self._write_schema(connection)
                self._check(connection)
            finally:
                connection.close()

    def _write_schema(self, connection: sqlite3.Connection) -> None:
        if not _is_empty(connection):
            return
        _switch_to_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _is_empty(connection):
                for statement in self._schema.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={self._schema.application_id}")
                connection.execute(f"PRAGMA user_version={self._schema.version}")
            connection.execute("COMMIT")
        finally:
            roll_back(connection)

    def _check(self, connection: sqlite3.Connection) -> None:
        what, path = self._schema.what, self.path
        application, version = _identity(connection)
        if self._read_only and _is_empty(connection):
            raise Unavailable(f"The {what} {path} is being made right now: try again.")
        if application != self._schema.application_id:
            raise SettingsError(
                f"{path} is a SQLite file, but not a Trailseal {what}: choose another folder with --data."
            )
        if version > self._schema.version:
            raise SettingsError(
                f"The {what} {path} was written by a newer Trailseal (file version {version}, this program knows up"
                f" to {self._schema.version}): upgrade Trailseal, or use the version that wrote it."
            )
        if version < self._schema.version:
            raise SettingsError(
                f"The {what} {path} has file version {version}, which this program cannot read (it knows"
                f" {self._schema.version}): use the version of Trailseal that wrote it."
            )
        found = path.stat()
        self._file_identity = (found.st_dev, found.st_ino)
        self._checked = True


class WriteConnection:
    """The one connection through which an object writes; opened when needed, opened anew after trouble.

    Not safe for concurrent use: its owner lets one thread in at a time.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._journal = Path(f"{file.path}-wal")
        self._next_truncation = 0.0

    @contextmanager
    def transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file's write lock: committed and on the disk at the end, or undone.

        Raises:
            Unavailable: nothing of it was written, or (failed while syncing) all of it may appear after a crash.
        """
        with self._file.translated(doing):
            connection = self._connection or self._file.writer()
            self._connection = connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
                self._file.refuse_replacement()
            except (sqlite3.Error, PipelineFault):
                self.close()
                raise
            finally:
                roll_back(connection)
            self._bound_journal(connection)

    def close(self) -> None:
        """Close the connection; the next transaction opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            roll_back(connection)
            with suppress(sqlite3.Error):
                connection.close()

    def _bound_journal(self, connection: sqlite3.Connection) -> None:
        """Truncate a WAL that readers kept from being reused; tried at most once a second."""
        try:
            oversize = self._journal.stat().st_size > _JOURNAL_BYTES
        except OSError:
            return
        if not oversize or time.monotonic() < self._next_truncation:
            return
        with suppress(sqlite3.Error):
            connection.execute(f"PRAGMA busy_timeout={_CHECKPOINT_WAIT_MS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with suppress(sqlite3.Error):
            connection.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")
        self._next_truncation = time.monotonic() + 1.0


def roll_back(connection: sqlite3.Connection) -> None:
    """End the open transaction, if there is one, without its changes; never raises."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL; SQLite does not wait for other processes that do the same, so we do."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_empty(connection: sqlite3.Connection) -> bool:
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(objects == 0) and _identity(connection) == (0, 0)
