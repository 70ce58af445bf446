"""The embedded ledger: the contract, and what only SQLite can get wrong."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.ledger_contract import KINDS, ErasableLedgerContract, LedgerContract, row, rows_of
from trailseal.adapters.ledgers.sqlite import SqliteLedger
from trailseal.adapters.sqlite_errors import translated
from trailseal.errors import PipelineFault, TrailsealError, Unavailable, UsageError
from trailseal.model.outcomes import Delta, OutcomeRow, Totals
from trailseal.model.record import Position


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(path)) as opened:
        yield opened


class TestSqliteLedger(LedgerContract, ErasableLedgerContract):
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


def test_the_first_log_is_number_one_and_the_next_gets_the_next(ledger: SqliteLedger) -> None:
    assert [ledger.register_log(origin) for origin in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert ledger.logs() == {1: "a", 2: "b", 3: "c"}


def test_sums_kept_by_advances_equal_the_rows_recounted(ledger: SqliteLedger) -> None:
    head = ledger.open_partition(ledger.register_log("a"), 0, 0)
    for n in range(20):
        kind = KINDS[n % len(KINDS)]
        head = ledger.advance(head, Delta(head.next + 50, (row(head, head.next + 3, kind, 1 + n),)))
        head = ledger.advance(head, Delta(head.next, (row(head, head.next - 47, kind, 5),)))
    assert ledger.totals(head.log, 0) == ledger.recount(head.log, 0) != Totals()
    with closing(sqlite3.connect(ledger._file.path)) as connection, connection:
        connection.execute("DELETE FROM outcomes WHERE kind = 0")
    assert ledger.recount(head.log, 0) == replace(ledger.totals(head.log, 0), duplicates=0)


def test_what_no_correct_caller_asks_for_is_refused_and_writes_nothing(ledger: SqliteLedger) -> None:
    head = ledger.open_partition(ledger.register_log("a"), 0, 10)
    wrong = (
        Delta(9),
        Delta(12, (row(head, 12),)),
        Delta(12, (row(head, 10, "gap", 3),)),
        Delta(12, (row(head, 10, "gap", 0),)),
        Delta(12, (OutcomeRow(Position(head.log, 1, 10), "gap"),)),
        Delta(12, (OutcomeRow(Position(head.log + 1, 0, 10), "gap"),)),
    )
    for delta in wrong:
        with pytest.raises(PipelineFault):
            ledger.advance(head, delta)
    assert ledger.head(head.log, 0) == head
    assert rows_of(ledger, head) == []


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(6))
def test_killed_amid_advances_head_rows_and_sums_agree(path: Path, seed: int) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from trailseal.adapters.ledgers.sqlite import SqliteLedger\n"
        "from trailseal.model.outcomes import Delta, OutcomeRow\n"
        "from trailseal.model.record import Position\n"
        "ledger = SqliteLedger(Path(sys.argv[1]))\n"
        "head = ledger.open_partition(ledger.register_log('a'), 0, 0)\n"
        "while True:\n"
        "    rows = tuple(OutcomeRow(Position(1, 0, head.next + n), 'duplicate') for n in range(0, 100, 2))\n"
        "    head = ledger.advance(head, Delta(head.next + 100, rows, b'%d' % (head.next + 100)))\n"
        "    print(head.next, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 150)):
            acknowledged = int(child.stdout.readline())
        child.kill()
    for read_only in (True, False):
        with closing(SqliteLedger(path, read_only=read_only)) as ledger:
            head = ledger.head(1, 0)
            assert head is not None
            assert head.next >= acknowledged
            assert head.seal == b"%d" % head.next
            assert [r.position.offset for r in rows_of(ledger, head)] == list(range(0, head.next, 2))
            assert ledger.totals(1, 0) == ledger.recount(1, 0) == Totals(duplicates=head.next // 2)


def test_a_full_disk_refuses_an_advance_whole_and_the_same_one_works_later(
    path: Path, ledger: SqliteLedger
) -> None:
    head = ledger.open_partition(ledger.register_log("a"), 0, 0)
    delta = Delta(5_000, tuple(row(head, n, "dead_letter") for n in range(5_000)), b"edge")
    connection = ledger._connection._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + 3}")
    with pytest.raises(Unavailable, match="disk is full"):
        ledger.advance(head, delta)
    assert ledger.head(head.log, 0) == head
    assert rows_of(ledger, head) == []
    assert ledger.advance(head, delta).next == 5_000
    assert ledger.totals(head.log, 0) == Totals(dead_letters=5_000)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_read_only_ledger_reads_beside_a_writer_and_refuses_every_write(path: Path, ledger: SqliteLedger) -> None:
    head = ledger.open_partition(ledger.register_log("a"), 0, 0)
    version = ledger.put_document("name", b"body", None)
    with closing(SqliteLedger(path, read_only=True)) as reader:
        assert reader.head(head.log, 0) == head
        moved = ledger.advance(head, Delta(3, (row(head, 1),)))
        assert reader.head(head.log, 0) == moved
        assert rows_of(reader, head) == [row(head, 1)]
        writes = (
            lambda: reader.register_log("a"),
            lambda: reader.open_partition(head.log, 0, 0),
            lambda: reader.advance(moved, Delta(4)),
            lambda: reader.keep([]),
            lambda: reader.put_document("name", b"", version),
            lambda: reader.delete_document("name", version),
        )
        for write in writes:
            with pytest.raises(UsageError, match="reading only"):
                write()
    assert ledger.head(head.log, 0) == moved


def test_a_read_only_ledger_that_does_not_exist_yet_says_so_until_it_does(path: Path) -> None:
    with closing(SqliteLedger(path, read_only=True)) as reader:
        asks = (reader.logs, lambda: reader.head(1, 0), lambda: list(reader.outcomes(1, 0)))
        for ask in (*asks, lambda: reader.document("x")):
            with pytest.raises(Unavailable, match="trailseal up"):
                ask()
        assert not path.parent.exists()
        with closing(SqliteLedger(path)) as ledger:
            ledger.register_log("a")
            assert reader.logs() == {1: "a"}


def test_a_closed_ledger_is_unavailable(ledger: SqliteLedger) -> None:
    ledger.close()
    for ask in (ledger.logs, lambda: ledger.register_log("a"), lambda: ledger.keep([])):
        with pytest.raises(Unavailable, match="closed"):
            ask()


# -- errors --------------------------------------------------------------------------------------------------


def sqlite_exceptions() -> list[type[Exception]]:
    """Every exception class the driver has."""
    found = [value for value in vars(sqlite3).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {sqlite3.Error, sqlite3.Warning, sqlite3.ProgrammingError} <= set(found)
    return found


@pytest.mark.parametrize("kind", sqlite_exceptions())
def test_every_exception_of_the_driver_becomes_one_of_ours(kind: type[Exception]) -> None:
    with (
        pytest.raises(TrailsealError, match="The ledger could not be tested") as caught,
        translated("The ledger could not be tested"),
    ):
        raise kind("with event contents in it")
    assert isinstance(caught.value.__cause__, kind)
    assert "contents" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("SQLITE_FULL", Unavailable),
        ("SQLITE_IOERR", Unavailable),
        ("SQLITE_IOERR_FSYNC", Unavailable),
        ("SQLITE_BUSY", Unavailable),
        ("SQLITE_BUSY_SNAPSHOT", Unavailable),
        ("SQLITE_LOCKED", Unavailable),
        ("SQLITE_CANTOPEN", Unavailable),
        ("SQLITE_READONLY", Unavailable),
        ("SQLITE_NOMEM", Unavailable),
        ("SQLITE_CORRUPT", PipelineFault),
        ("SQLITE_NOTADB", PipelineFault),
        ("SQLITE_CONSTRAINT", PipelineFault),
        ("SQLITE_ERROR", PipelineFault),
        ("SQLITE_MISUSE", PipelineFault),
    ],
)
def test_each_result_code_says_what_helps(code: str, meaning: type[Exception]) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = getattr(sqlite3, code)
    error.sqlite_errorname = code
    with pytest.raises(meaning), translated("It could not"):
        raise error
