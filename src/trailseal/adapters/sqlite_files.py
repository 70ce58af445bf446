"""SQLite files: how they are opened, checked, read by many threads, and how their errors become ours.

Every file is in WAL mode with ``synchronous=FULL`` (a commit is on the disk when it returns) and
``secure_delete=ON`` (what is erased is overwritten). Nothing else in this process may open and close these
files: POSIX drops all of a process's locks on a file when any of its descriptors is closed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from trailseal.adapters.sqlite_cells import text_or_bytes
from trailseal.adapters.sqlite_errors import translated
from trailseal.adapters.sqlite_schema import Schema, check, create
from trailseal.errors import PipelineFault, SettingsError, Unavailable, UsageError

BUSY_S = 10.0
_IDLE_READERS = 16
_CHECKPOINT_PAGES = 4_000
JOURNAL_BYTES = 64 * 1024 * 1024


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
            self._exists()
            self._create()
        elif self._exists():
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
        if self._file_identity is not None:
            self.refuse_replacement()
        elif mode != "rwc" and not self._exists():
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
        connection.text_factory = text_or_bytes
        try:
            if mode != "ro":
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA secure_delete=ON")
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES}")
            connection.execute("PRAGMA cache_size=-8000")
        except BaseException:
            connection.close()
            raise
        return connection

    def _exists(self) -> bool:
        """Whether there is something at the path; `SettingsError` where it is a folder or out of reach."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._out_of_reach(error) from error
        if stat.S_ISDIR(found.st_mode):
            raise SettingsError(f"{self.path} is a folder: the {self._schema.what} needs the name of a file.")
        return True

    def _make_folder(self) -> None:
        folder = self.path.absolute().parent
        try:
            if folder.exists():
                return
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._out_of_reach(error) from error

    def _out_of_reach(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"The {self._schema.what} {self.path} cannot be reached ({error.strerror}): choose another folder with"
            " --data, or make this one writable for this user."
        )

    def _create(self) -> None:
        with translated(f"The {self._schema.what} {self.path} could not be opened", opening=True):
            connection = self._connect("rwc")
            try:
                create(connection, self._schema)
                self._check(connection)
            finally:
                connection.close()

    def _check(self, connection: sqlite3.Connection) -> None:
        check(connection, self._schema, self.path)
        found = self.path.stat()
        self._file_identity = (found.st_dev, found.st_ino)
        self._checked = True
