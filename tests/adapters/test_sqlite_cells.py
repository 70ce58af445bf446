"""What is read from a SQLite file is of the type it was written with, or somebody changed the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.sqlite_cells import Cells
from trailseal.errors import IntegrityViolation
from trailseal.model.outcomes import Delta, OutcomeRow
from trailseal.model.record import Position

CELLS = Cells("ledger", "outcomes", offset=int, code=str | None, tombstone=bytes | None)


def test_rows_of_the_right_types_stay_as_they_are() -> None:
    rows = [(1, "a", b"\xff"), (2**63 - 1, None, None)]
    assert CELLS.rows(rows) == rows
    assert CELLS.row(None) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((7, 8, None), "a number as code (offset 7)"),
        ((7, b"\xff", None), "bytes as code (offset 7)"),
        ((7, None, "YWJj"), "a text as tombstone (offset 7)"),
        ((None, "a", None), "nothing as offset,"),
        ((1.5, "a", None), "a fraction as offset,"),
        (("canary", "a", None), "a text as offset,"),
    ],
)
def test_another_type_is_a_violation_that_names_table_and_row_and_no_content(row: tuple[object], told: str) -> None:
    with pytest.raises(IntegrityViolation) as caught:
        CELLS.rows([(1, "a", b"b"), row])
    assert f"The ledger's table outcomes holds {told}" in str(caught.value)
    assert "restore the ledger from a backup" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_text_that_is_no_unicode_is_a_violation_and_no_fault_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path)
    head = ledger.open_partition(ledger.register_log("log/1"), 0, 0)
    row = OutcomeRow(Position(1, 0, 3), "dead_letter", code="missing-field")
    ledger.advance(head, Delta(4, (row,)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE outcomes SET code = CAST(? AS TEXT)", (b"\xff\xfe",))
        connection.commit()
    with pytest.raises(IntegrityViolation, match=r"table outcomes holds bytes as code \(offset 3\)"):
        list(ledger.outcomes(1, 0))
    ledger.close()
