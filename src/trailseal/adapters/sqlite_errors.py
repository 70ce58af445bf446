"""SQLite's errors in our words; the only place that knows both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from trailseal.errors import PipelineFault, SettingsError, TrailsealError, Unavailable

_WAITING = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, nothing was written and later calls go on",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: check its space, limits and health",
    sqlite3.SQLITE_BUSY: "another process kept it locked: try again, or find out who holds it",
    sqlite3.SQLITE_LOCKED: "another thread kept it locked: try again",
    sqlite3.SQLITE_NOMEM: "memory ran out: try again with less at once",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and belongs to this user",
    sqlite3.SQLITE_READONLY: "the file cannot be written: check its permissions and those of its folder",
    sqlite3.SQLITE_PERM: "access was denied: check its permissions and those of its folder",
    sqlite3.SQLITE_AUTH: "access was denied: check its permissions and those of its folder",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted: try again",
    sqlite3.SQLITE_PROTOCOL: "other processes kept locking it: try again",
    sqlite3.SQLITE_TOOBIG: "one value is larger than SQLite can hold (1 GB)",
}
_BROKEN = {
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database: name another one, or restore it from a backup",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop, keep a copy and restore it from a backup",
}
_WRONG_AT_OPENING = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOTADB,
    }
)


@contextmanager
def translated(could_not: str, *, opening: bool = False) -> Iterator[None]:
    """Turn every error of ``sqlite3`` into one of ours.

    Args:
        could_not: the beginning of the sentence, such as "The log /data/log.db could not append".
        opening: say `SettingsError` where only another setting or permission helps.

    Raises:
        Unavailable: it may work later: full, busy, an I/O error, no permission yet.
        SettingsError: while opening: no permission, no such folder, not a database.
        PipelineFault: it will not heal by itself: a damaged file, or a mistake of ours.
    """
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _ours(error, could_not, opening=opening) from error


def _ours(error: Exception, could_not: str, *, opening: bool) -> TrailsealError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    why = _WAITING.get(code) or _BROKEN.get(code)
    if opening and code in _WRONG_AT_OPENING:
        return SettingsError(f"{could_not}: {why}.")
    if code in _WAITING:
        return Unavailable(f"{could_not}: {why}.")
    if code in _BROKEN:
        return PipelineFault(f"{could_not}: {why}.")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return PipelineFault(f"{could_not} ({name}): this is a mistake in Trailseal or a foreign change; report it.")
