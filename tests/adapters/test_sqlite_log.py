"""The embedded log: the contract, and what only SQLite can get wrong."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from conformance.log_contract import LogContract, RecordSourceContract
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.logs.sqlite import SqliteLog


def open_log(path: Path, *, read_only: bool = False) -> SqliteLog:
    """The log in that file, as number 7."""
    return SqliteLog(path, log_number=lambda _origin: 7, clock=SystemClock(), read_only=read_only)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with closing(open_log(path)) as opened:
        yield opened


class TestSqliteLog(LogContract, RecordSourceContract):
    independent_groups = False

    @pytest.fixture
    def log(self, path: Path) -> Iterator[SqliteLog]:
        with closing(open_log(path)) as opened:
            yield opened

    @pytest.fixture
    def second(self, path: Path) -> Iterator[Callable[[], SqliteLog]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(closing(open_log(path)))

    @pytest.fixture
    def after_crash(self, path: Path, tmp_path: Path) -> Iterator[Callable[[], SqliteLog]]:
        """The files as they lie on the disk this moment, opened elsewhere: no close, no checkpoint."""

        def open_copy() -> SqliteLog:
            found = tmp_path / "found"
            found.mkdir()
            for name in ("log.db", "log.db-wal"):
                shutil.copyfile(path.parent / name, found / name)
            return opened.enter_context(closing(open_log(found / "log.db")))

        with ExitStack() as opened:
            yield open_copy

    @pytest.fixture
    def drop_before(self, path: Path) -> Callable[[int, int], None]:
        def drop(_partition: int, offset: int) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DELETE FROM records WHERE offset < ?", (offset,))

        return drop
