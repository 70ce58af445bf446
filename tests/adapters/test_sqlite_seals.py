"""The embedded ledger keeps tiles and checkpoints as every ledger does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from conformance.seal_contract import SealContract
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.errors import UsageError


class TestSqliteSeals(SealContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqliteLedger]:
        with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as opened:
            yield opened

    @pytest.fixture
    def second(self, tmp_path: Path) -> Iterator[Callable[[], SqliteLedger]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(closing(SqliteLedger(tmp_path / "ledger.sqlite")))


def test_a_ledger_opened_for_reading_only_keeps_no_tile(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "ledger.sqlite").close()
    with closing(SqliteLedger(tmp_path / "ledger.sqlite", read_only=True)) as ledger, pytest.raises(UsageError):
        ledger.seals.keep_tiles({b"r" * 32: b"t"})
