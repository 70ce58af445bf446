"""Tiles, checkpoints and added signatures in the ledger's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from trailseal.adapters.sqlite_cells import Cells
from trailseal.adapters.sqlite_files import SqliteFile
from trailseal.ports.seals import AddedSignature, StoredCheckpoint

STATEMENTS = (
    "CREATE TABLE tiles (root BLOB NOT NULL UNIQUE, data BLOB NOT NULL)",
    """CREATE TABLE checkpoints (
        log INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        size INTEGER NOT NULL,
        note BLOB NOT NULL,
        PRIMARY KEY (log, partition, size)
    ) WITHOUT ROWID""",
    """CREATE TABLE signatures (
        log INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        size INTEGER NOT NULL,
        key TEXT NOT NULL,
        time INTEGER NOT NULL,
        line TEXT NOT NULL,
        PRIMARY KEY (log, partition, size, key)
    ) WITHOUT ROWID""",
)
_TILES = Cells("ledger", "tiles", root=bytes, data=bytes)
_CHECKPOINTS = Cells("ledger", "checkpoints", size=int, note=bytes)
_SIGNATURES = Cells("ledger", "signatures", key=str, time=int, line=str)
_MAX_SIZE = 2**63 - 1
_MOST_AT_ONCE = 500
_KEPT_AT_ONCE = 100
"""SQLite lets go of the interpreter once a statement, and a thread that computes gives it back only 5 ms later."""


class SqliteSeals:
    """`SealStore` on the ledger's file.

    Args:
        file: gives reading connections.
        transaction: opens a writing transaction; takes what completes "could not …".
    """

    def __init__(
        self, file: SqliteFile, transaction: Callable[[str], AbstractContextManager[sqlite3.Connection]]
    ) -> None:
        self._file = file
        self._transaction = transaction

    def keep_tiles(self, tiles: Mapping[bytes, bytes]) -> None:
        """See `SealStore.keep_tiles`."""
        if not tiles:
            return
        kept = list(tiles.items())
        with self._transaction("keep tiles") as connection:
            for start in range(0, len(kept), _KEPT_AT_ONCE):
                some = kept[start : start + _KEPT_AT_ONCE]
                marks = ",".join(["(?, ?)"] * len(some))
                connection.execute(
                    f"INSERT OR IGNORE INTO tiles (root, data) VALUES {marks}",  # noqa: S608 - marks only
                    [part for tile in some for part in tile],
                )

    def tile(self, root: bytes) -> bytes | None:
        """See `SealStore.tile`."""
        return self.tiles([root]).get(root)

    def tiles(self, roots: list[bytes]) -> dict[bytes, bytes]:
        """See `SealStore.tiles`."""
        found: dict[bytes, bytes] = {}
        with self._file.reading("read tiles") as connection:
            for start in range(0, len(roots), _MOST_AT_ONCE):
                wanted = roots[start : start + _MOST_AT_ONCE]
                marks = ",".join("?" * len(wanted))
                query = f"SELECT root, data FROM tiles WHERE root IN ({marks})"  # noqa: S608 - marks only
                found.update(_TILES.rows(connection.execute(query, wanted)))
        return found

    def put_checkpoint(self, log: int, partition: int, size: int, note: bytes) -> bytes:
        """See `SealStore.put_checkpoint`."""
        key = (log, partition, size)
        with self._transaction("put a checkpoint") as connection:
            connection.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?)", (*key, note))
            stored = connection.execute(
                "SELECT size, note FROM checkpoints WHERE log = ? AND partition = ? AND size = ?", key
            ).fetchall()
        ((_, kept),) = _CHECKPOINTS.rows(stored)
        return bytes(kept)

    def add_signatures(self, log: int, partition: int, size: int, added: list[AddedSignature]) -> None:
        """See `SealStore.add_signatures`."""
        if not added:
            return
        with self._transaction("add signatures") as connection:
            connection.executemany(
                "INSERT INTO signatures SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS"
                " (SELECT 1 FROM checkpoints WHERE log = ?1 AND partition = ?2 AND size = ?3)"
                " ON CONFLICT DO UPDATE SET time = excluded.time, line = excluded.line"
                " WHERE (excluded.time, excluded.line) > (time, line)",
                [(log, partition, size, one.key, one.time, one.line) for one in added],
            )

    def checkpoint(self, log: int, partition: int, size: int | None = None) -> StoredCheckpoint | None:
        """See `SealStore.checkpoint`."""
        below = None if size is None else size + 1
        found = self.checkpoints(log, partition, below, 1)
        return found[0] if found and (size is None or found[0].size == size) else None

    def checkpoints(
        self, log: int, partition: int, below: int | None = None, limit: int = 100
    ) -> list[StoredCheckpoint]:
        """See `SealStore.checkpoints`."""
        with self._file.snapshot("list its checkpoints") as connection:
            rows = connection.execute(
                "SELECT size, note FROM checkpoints WHERE log = ? AND partition = ? AND size < ?"
                " ORDER BY size DESC LIMIT ?",
                (log, partition, _MAX_SIZE if below is None else below, limit),
            ).fetchall()
            return [
                StoredCheckpoint(size, note, _added(connection, (log, partition, size)))
                for size, note in _CHECKPOINTS.rows(rows)
            ]


def _added(connection: sqlite3.Connection, key: tuple[int, int, int]) -> tuple[AddedSignature, ...]:
    rows = connection.execute(
        "SELECT key, time, line FROM signatures WHERE log = ? AND partition = ? AND size = ? ORDER BY key", key
    )
    return tuple(AddedSignature(*row) for row in _SIGNATURES.rows(rows))
