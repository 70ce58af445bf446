"""Writing to a SQLite file: one transaction at a time, trouble survived, the write-ahead log kept small."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trailseal.adapters.sqlite_files import BUSY_S, JOURNAL_BYTES, SqliteFile
from trailseal.adapters.sqlite_schema import roll_back
from trailseal.errors import PipelineFault, Unavailable

_CHECKPOINT_WAIT_MS = 200


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

    def settle(self, doing: str, *, rewrite: bool = False) -> None:
        """Leave nothing of what was overwritten or deleted in the file or its journal.

        ``secure_delete`` overwrites what a deletion frees, but a page that was split earlier may hold an old copy
        of a row that lies elsewhere now; only writing the file anew is sure to leave none.

        Args:
            doing: completes "could not …".
            rewrite: write the file anew as well: where rows were deleted or changed their size.

        Raises:
            Unavailable: a reader holds an old state, or the disk is full; call again.
        """
        with self._file.translated(doing):
            connection = self._connection or self._file.writer()
            self._connection = connection
            try:
                if rewrite:
                    connection.execute("VACUUM")
                (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error:
                self.close()
                raise
        if busy:
            raise Unavailable(f"{self._file.path} is being read in an older state: what was erased is still in it.")

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
            oversize = self._journal.stat().st_size > JOURNAL_BYTES
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
