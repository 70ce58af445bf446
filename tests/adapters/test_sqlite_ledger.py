"""The embedded ledger: the contract, and what only SQLite can get wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from conformance.ledger_contract import LedgerContract
from trailseal.adapters.ledgers.sqlite import SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(path)) as opened:
        yield opened


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, path: Path) -> Iterator[SqliteLedger]:
        with closing(SqliteLedger(path)) as opened:
            yield opened

    @pytest.fixture
    def second(self, path: Path) -> Iterator[Callable[[], SqliteLedger]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(closing(SqliteLedger(path)))

    @pytest.fixture
    def reopened(self, path: Path, tmp_path: Path) -> Iterator[Callable[[], SqliteLedger]]:
        """The files as they lie on the disk this moment, opened elsewhere: no close, no checkpoint."""

        def open_copy() -> SqliteLedger:
            found = tmp_path / "found"
            found.mkdir()
            for name in ("ledger.db", "ledger.db-wal"):
                shutil.copyfile(path.parent / name, found / name)
            return opened.enter_context(closing(SqliteLedger(found / "ledger.db")))

        with ExitStack() as opened:
            yield open_copy
