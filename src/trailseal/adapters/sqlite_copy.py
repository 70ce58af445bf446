"""One SQLite file copied while others write to it: a single state of it, by SQLite's online backup."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from trailseal.adapters.sqlite_errors import translated
from trailseal.errors import UsageError

_PAGES: Final = 4_096

CopyProgress = Callable[[int, int], None]
"""Called with pages copied so far and pages in all."""


def copy_database(source: Path, target: Path, progress: CopyProgress) -> None:
    """Copy ``source`` as it is now to the new file ``target``, mode 0600; on the disk when this returns.

    The snapshot is held by a reading transaction: writers go on, and nothing they commit meanwhile is in the copy.

    Raises:
        UsageError: there is no such file.
        Unavailable: it cannot be read now, or the copy cannot be written.
    """
    if not source.is_file():
        raise UsageError(f"There is nothing to back up: {source} does not exist. Name the data folder with --data.")
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with translated(f"{source} could not be copied to {target}"):
        reading = sqlite3.connect(f"file:{quote(str(source.absolute()))}?mode=ro", uri=True, isolation_level=None)
        with closing(reading), closing(sqlite3.connect(target, isolation_level=None)) as writing:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(writing, pages=_PAGES, progress=lambda _, left, total: progress(total - left, total))
            writing.execute("PRAGMA synchronous=FULL")


def check_database(path: Path) -> None:
    """Let SQLite look through a file nobody uses.

    Raises:
        UsageError: it is damaged.
        Unavailable: it cannot be read now.
    """
    with translated(f"{path} could not be checked"), closing(sqlite3.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise UsageError(f"{path} is damaged ({verdict}): take another backup.")


def settle_database(path: Path) -> None:
    """Bring everything of a file that nobody uses into the file itself: no journal is left beside it.

    Raises:
        Unavailable: somebody uses it, or it cannot be written.
    """
    with translated(f"{path} could not be settled"), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
