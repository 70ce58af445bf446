"""Every cell of the embedded profile's files: who changes one is found, or it says below why that is no matter."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flow.attack_contract import honest_records
from flow.embedded import opened
from flow.in_process import ended
from flow.running import caught_up, record, running, until
from flow.test_attacks import log_key, run_pipeline, settings_of
from flow.test_commands import trailseal
from flow.test_erasure import MONTHS, dated, order
from trailseal.adapters.ledgers.sqlite_rows import KINDS
from trailseal.cli import EXIT_NO, EXIT_UNAVAILABLE, EXIT_USAGE
from trailseal.cli.pipeline import make_consumer
from trailseal.cli.verify import is_clean
from trailseal.errors import TrailsealError
from trailseal.merkle.notes import VerifierKey
from trailseal.verification.trust import Trust
from trailseal.verification.whole import verify_logs

Row = dict[str, Any]
Change = tuple[str, str, tuple[object, ...]]
"""The cell, and what changes it: a statement and its values."""

FOR_PEOPLE = "says in words what the record itself says"
NEXT = "where the next record goes: nothing that was sealed"
COUNTER = "a version for compare-and-set"
SUM = "a sum, which `trailseal reconcile` counts again"
BLANK = "an erased record: what is left of it says nothing"
LATER_S = time.time() + 3_600
NO_MATTER = {
    "heads.version": COUNTER,
    **dict.fromkeys((f"heads.{kind}s" for kind in ("duplicate", "dead_letter", "gap", "id_collision")), SUM),
    **dict.fromkeys(("heads.expired", "heads.erased"), SUM),
    "outcomes.span": "how far back runs are looked for; a row that is not found explains nothing",
    **dict.fromkeys(("outcomes.code", "outcomes.detail", "outcomes.field"), FOR_PEOPLE),
    **dict.fromkeys(("outcomes.tenant_id", "outcomes.event_id"), FOR_PEOPLE),
    **dict.fromkeys((f"outcomes[dead_letter].of_{part}" for part in ("log", "partition", "offset")), FOR_PEOPLE),
    "outcomes.tombstone": "which event it was, its order says by the first bytes; the others keep retries out",
    "documents.version": COUNTER,
    "document_versions": COUNTER,
    "documents[retention]": "which events are late from now on; nothing that was sealed",
    "documents[seal/keys]": "the ledger's own list of keys: an auditor brings theirs",
    "checkpoints[older]": "the newest covers the same tree",
    "records[blank].offset": BLANK,
    "records[blank].key": BLANK,
    "records[blank].value": BLANK,
    "records[blank].headers": BLANK,
    "records[blank].row": BLANK,
    "state.one": "there is one row",
    "state.next": NEXT,
    "state.last_ms": NEXT,
    "readers": "where dashboards say that readers are",
}
COMMANDS = (["reconcile"], ["keys", "show"], ["search", "--all"])
EMPTY = {"signatures": "what witnesses add; `tests/flow/test_attacks.py` has one"}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of every kind: a dropped month, what came late for it, an erasure, a retry, and the usual ones."""
    data = tmp_path_factory.mktemp("cells") / "data"
    early = [dated(number, MONTHS[0]) for number in range(900, 904)]
    run_pipeline(data, *early, record("e5", metadata={"n": 5}), record("e6"), *honest_records()[-284:])
    words = ("expire", "--reason", "policy", "--requested-by", "me", "--before", "2026-02", "--yes")
    assert trailseal(*words, data=data).returncode == 0
    run_pipeline(data, dated(999, MONTHS[0]))
    with opened(data) as engines, running(make_consumer(settings_of(data), engines)):
        until(lambda: caught_up(engines.log, engines.ledger))
        engines.log.append([order(engines, data, 20, 22)])
        until(lambda: caught_up(engines.log, engines.ledger))
    run_pipeline(data, record("e434", metadata={"n": 434}), record("last"))
    return data


@pytest.fixture(scope="module")
def key(sealed: Path) -> VerifierKey:
    return log_key(sealed)


def clean(data: Path, key: VerifierKey) -> bool:
    """Whether `trailseal verify --key` would end with 0, an hour after the pipeline has stopped."""
    trust = Trust(keys=(key,))
    try:
        with opened(data, "read") as engines:
            result = verify_logs(engines.log, engines.index, engines.ledger, trust, now_s=lambda: LATER_S)
            return is_clean(result, trust)
    except TrailsealError:
        return False


def tag(table: str, row: Row, rows: list[Row]) -> str:
    """What kind of row it is, where rows of a table differ in what changes of them mean."""
    if table == "outcomes":
        return KINDS[row["kind"]]
    if table == "documents":
        return str(row["name"]).rstrip("0123456789/.")
    if table == "checkpoints":
        return "newest" if row["size"] == max(one["size"] for one in rows) else "older"
    return "blank" if table == "records" and (row["headers"] or b"")[:1] == b"\xc1" else ""


def other(value: Any) -> list[object]:
    if isinstance(value, bytes) and value:
        return [value[:-1] + bytes([value[-1] ^ 1]), value[: len(value) // 2], None]
    return [value + 1, 2**62] if isinstance(value, int) else [f"{value}x", None]


class Undecodable(bytes):
    """Bytes that are no UTF-8, to be stored as a text."""


def wrong(value: Any) -> list[object]:
    """Values of other types than the column is written with, and bytes that nothing decodes."""
    undecodable = Undecodable(b"\xff\xfe")
    if isinstance(value, int):
        return ["a text", undecodable, 1.5, None, 2**63 - 1, -(2**63)]
    if isinstance(value, str):
        return [b"\xff\xfe", undecodable, None]
    return ["a text", undecodable, 7, b"\xff\xfe", None]


def names(table: str, kind: str, cell: str) -> set[str]:
    return {table, f"{table}.{cell}", f"{table}[{kind}]", f"{table}[{kind}].{cell}"}


def kinds_of(table: str, rows: list[Row]) -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(tag(table, row, rows), []).append(row)
    return kinds


def changes(table: str, rows: list[Row]) -> Iterator[Change]:
    """Each cell of the first and the last row of each kind, and the rows themselves, unless that is no matter."""
    for kind, some in kinds_of(table, rows).items():
        for row in (some[0], some[-1]) if len(some) > 1 else some:
            where = " AND ".join(f"{name} IS ?" for name in row)
            for name, value in row.items():
                if not names(table, kind, name) & NO_MATTER.keys():
                    for instead in other(value):
                        statement = f"UPDATE {table} SET {name} = ? WHERE {where}"  # noqa: S608 - names of columns
                        yield f"{table}[{kind}].{name}", statement, (instead, *row.values())
            if not names(table, kind, "row") & NO_MATTER.keys():
                yield f"{table}[{kind}].row", f"DELETE FROM {table} WHERE {where}", tuple(row.values())  # noqa: S608


def tables(file: Path) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608 - from the file
            for (name,) in found
        }


def made(file: Path, statement: str, values: tuple[object, ...]) -> bool:
    """Whether the file lets itself be changed so: its own constraints forbid some."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        try:
            assert connection.execute(statement, values).rowcount == 1
        except sqlite3.IntegrityError:
            return False
        connection.commit()
    return True


@pytest.mark.parametrize("file", ["log.sqlite", "ledger.sqlite"])
def test_whoever_changes_a_cell_is_found_or_it_is_no_matter(
    file: str, sealed: Path, key: VerifierKey, tmp_path: Path
) -> None:
    assert clean(sealed, key)
    passed = []
    tried = 0
    for table, rows in tables(sealed / file).items():
        assert rows or table in EMPTY, f"the log of this test has no row in {table}"
        for cell, statement, values in changes(table, rows):
            data = Path(shutil.copytree(sealed, tmp_path / "data"))
            if made(data / file, statement, values):
                tried += 1
                if clean(data, key):
                    passed.append((cell, values[0], values[1:]))
            shutil.rmtree(data)
    assert not passed
    assert tried > 20


def test_what_is_no_matter_is_there(sealed: Path) -> None:
    held = tables(sealed / "log.sqlite") | tables(sealed / "ledger.sqlite")
    known = {
        name
        for table, rows in held.items()
        for row in rows
        for cell in (*row, "row")
        for name in names(table, tag(table, row, rows), cell)
    }
    assert known >= NO_MATTER.keys()


def in_turn(values: list[object], turn: int) -> list[object]:
    """Two of the values, other ones the next time."""
    return [values[(2 * turn + number) % len(values)] for number in range(2)]


def wrong_cells(table: str, rows: list[Row]) -> Iterator[tuple[bool, Change]]:
    """Each cell of the last row of each kind as what no Trailseal writes there; and whether it matters."""
    turns = count()
    for kind, some in kinds_of(table, rows).items():
        where = " AND ".join(f"{name} IS ?" for name in some[-1])
        for name, value in some[-1].items():
            matters = not names(table, kind, name) & NO_MATTER.keys()
            for instead in in_turn(wrong(value), next(turns)):
                given = "CAST(? AS TEXT)" if isinstance(instead, Undecodable) else "?"
                statement = f"UPDATE {table} SET {name} = {given} WHERE {where}"  # noqa: S608 - names of columns
                yield matters, (f"{table}[{kind}].{name}", statement, (instead, *some[-1].values()))


def without_constraints(file: Path) -> None:
    """Let columns be NULL: who edits a file may edit its schema, too."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
        connection.commit()


def each_wrong_cell(data: Path, name: str, *, once: bool = False) -> Iterator[tuple[bool, Change]]:
    """Set each cell of a file to something else, one after the other; and whether it matters.

    Args:
        data: the folder.
        name: of the file.
        once: only one cell of each column.
    """
    file = data / name
    without_constraints(file)
    whole = file.read_bytes()
    tried = set()
    for table, rows in tables(file).items():
        for matters, change in wrong_cells(table, rows):
            column = (table, change[0].rpartition(".")[2])
            if not (once and column in tried) and made(file, *change[1:]):
                tried.add(column)
                yield matters, change
                file.write_bytes(whole)


@pytest.fixture
def data(sealed: Path, tmp_path: Path) -> Path:
    """A copy of the folder."""
    return Path(shutil.copytree(sealed, tmp_path / "data"))


@pytest.mark.parametrize("file", ["log.sqlite", "ledger.sqlite"])
def test_a_cell_of_another_type_is_found_and_never_a_traceback(file: str, data: Path, key: VerifierKey) -> None:
    wrong_ones = each_wrong_cell(data, file)
    passed = [(cell, values[0]) for matters, (cell, _, values) in wrong_ones if clean(data, key) and matters]
    assert clean(data, key)
    assert not passed


@pytest.mark.parametrize("file", ["log.sqlite", "ledger.sqlite"])
def test_other_commands_say_in_one_line_that_a_cell_cannot_be_read(file: str, data: Path) -> None:
    said = set()
    for _, (cell, _, values) in each_wrong_cell(data, file, once=True):
        for words in COMMANDS:
            status, told = ended(*words, "--data", str(data))
            assert status in {0, EXIT_NO, EXIT_USAGE, EXIT_UNAVAILABLE}, (cell, values[0])
            assert told.count("\n") <= 1, (cell, values[0], told)
            said.add(told)
    assert any("which Trailseal never writes: restore the" in line for line in said)


def edit_ledger(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "ledger.sqlite")) as connection:
        assert connection.execute(statement).rowcount == 1
        connection.commit()


def test_the_other_partitions_are_verified_where_a_head_is_damaged(key: VerifierKey, data: Path) -> None:
    edit_ledger(data, "INSERT INTO heads (log, partition, base, next, version) VALUES (1, 1, 0, 'a text', 1)")
    with opened(data, "read") as engines:
        result = verify_logs(engines.log, engines.index, engines.ledger, Trust(keys=(key,)))
    (log,) = result.logs
    assert (log.partition, log.signed) == (0, log.size)
    assert {suspicion.kind for suspicion in result.suspicions} == {"damaged-tree"}
    assert "table heads holds a text as next (log 1, partition 1)" in str(result.suspicions[0])


def test_books_of_a_head_that_stands_anywhere_come_to_an_end(data: Path) -> None:
    edit_ledger(data, "UPDATE heads SET base = -4611686018427387904, next = 4611686018427387904")
    status, _ = ended("reconcile", "--data", str(data))
    assert status == EXIT_NO
