"""Outcome rows in the ledger's file: how they are written, summed and read back in order."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from trailseal.adapters.sqlite_cells import Cells
from trailseal.adapters.sqlite_files import SqliteFile
from trailseal.model.outcomes import OutcomeKind, OutcomeRow, Totals, replaced_by
from trailseal.model.record import Position

KINDS: tuple[OutcomeKind, ...] = ("duplicate", "id_collision", "dead_letter", "gap", "expired", "erased")
"""A kind is stored as its place here: append, never reorder."""

_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_PAGE = 1_000

# Clustered by kind, so that ten dead letters among ten million duplicates are found at once; all kinds together
# are a merge. `span` is the bit length of `count`: a run that reaches into a range starts at most 2^span before it.
STATEMENTS = (
    """CREATE TABLE outcomes (
        log INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        count INTEGER NOT NULL,
        span INTEGER NOT NULL,
        of_log INTEGER,
        of_partition INTEGER,
        of_offset INTEGER,
        code TEXT,
        detail TEXT,
        field TEXT,
        tenant_id TEXT,
        event_id TEXT,
        tombstone BLOB,
        PRIMARY KEY (log, partition, kind, offset)
    ) WITHOUT ROWID""",
    "CREATE INDEX runs ON outcomes (log, partition, kind, span, offset) WHERE span > 1",
)
_CELLS = Cells(
    "ledger",
    "outcomes",
    offset=int,
    count=int,
    of_log=int | None,
    of_partition=int | None,
    of_offset=int | None,
    code=str | None,
    detail=str | None,
    field=str | None,
    tenant_id=str | None,
    event_id=str | None,
    tombstone=bytes | None,
)
_READ = f"""
    SELECT {_CELLS.names}
    FROM outcomes
    WHERE log = :log AND partition = :partition AND kind = :kind AND offset >= :after AND offset < :end
    ORDER BY offset LIMIT :page
"""  # noqa: S608 - constants
_READ_REACHING = f"""
    WITH spans (bits) AS (
        SELECT DISTINCT span FROM outcomes INDEXED BY runs
        WHERE log = :log AND partition = :partition AND kind = :kind AND span > 1
    )
    SELECT {_CELLS.names}
    FROM spans CROSS JOIN outcomes INDEXED BY runs
    WHERE log = :log AND partition = :partition AND kind = :kind AND span > 1 AND span = bits
        AND offset > :start - (1 << bits) AND offset < :start AND offset + count > :start
    ORDER BY offset
"""  # noqa: S608 - constants
_WRITE = """
    INSERT OR IGNORE INTO outcomes (
        log, partition, kind, offset, count, span, of_log, of_partition, of_offset,
        code, detail, field, tenant_id, event_id, tombstone
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Span(msgspec.Struct, frozen=True):
    """Offsets [start, stop) of one partition."""

    log: int
    partition: int
    start: int
    stop: int


def write_rows(connection: sqlite3.Connection, rows: Sequence[OutcomeRow]) -> Totals:
    """Insert the rows whose position and kind have none yet, in the caller's transaction; the sums of those."""
    if not rows:
        return Totals()
    sums = dict.fromkeys(KINDS, 0)
    for row in rows:
        if connection.execute(_WRITE, _values(row)).rowcount:
            sums[row.kind] += row.count
    return _totals(sums)


def replace_rows(connection: sqlite3.Connection, rows: Sequence[OutcomeRow]) -> Totals:
    """Write rows of removals in the place of what else is said of their positions; the difference of the sums."""
    sums = dict.fromkeys(KINDS, 0)
    for row in rows:
        at = row.position
        for kind in replaced_by(row.kind):
            gone = connection.execute(
                "DELETE FROM outcomes WHERE log = ? AND partition = ? AND kind = ? AND offset >= ? AND offset < ?"
                " AND count = 1 RETURNING count",
                (at.log, at.partition, _NUMBERS[kind], at.offset, at.offset + row.count),
            ).fetchall()
            sums[kind] -= sum(count for (count,) in gone)
        if connection.execute(_WRITE, _values(row)).rowcount:
            sums[row.kind] += row.count
    return _totals(sums)


def recounted(connection: sqlite3.Connection, log: int, partition: int) -> Totals:
    """The sums, computed from the rows themselves."""
    sums = dict.fromkeys(KINDS, 0)
    for kind, total in connection.execute(
        "SELECT kind, sum(count) FROM outcomes WHERE log = ? AND partition = ? GROUP BY kind", (log, partition)
    ):
        sums[KINDS[kind]] = total
    return _totals(sums)


def read_rows(file: SqliteFile, span: Span, kinds: Sequence[OutcomeKind] | None) -> Iterator[OutcomeRow]:
    """The rows whose run touches the span, by position and kind, read a page at a time."""
    wanted = KINDS if kinds is None else tuple(kind for kind in KINDS if kind in kinds)
    if span.stop <= span.start:
        return iter(())
    return heapq.merge(*(_read_kind(file, span, kind) for kind in wanted), key=attrgetter("position"))


def _read_kind(file: SqliteFile, span: Span, kind: OutcomeKind) -> Iterator[OutcomeRow]:
    bind = {"log": span.log, "partition": span.partition, "kind": _NUMBERS[kind], "end": span.stop, "page": _PAGE}
    if span.start > 0:
        for row in _page(file, _READ_REACHING, {**bind, "start": span.start}):
            yield _row(span, kind, row)
    after = span.start
    while True:
        page = _page(file, _READ, {**bind, "after": after})
        for row in page:
            yield _row(span, kind, row)
        if len(page) < _PAGE:
            return
        after = page[-1][0] + 1


def _page(file: SqliteFile, sql: str, bind: dict[str, int]) -> list[tuple[Any, ...]]:
    with file.reading("list its outcomes") as connection:
        return _CELLS.rows(connection.execute(sql, bind))


def _values(row: OutcomeRow) -> tuple[object, ...]:
    at, of = row.position, row.of
    return (
        at.log,
        at.partition,
        _NUMBERS[row.kind],
        at.offset,
        row.count,
        row.count.bit_length(),
        None if of is None else of.log,
        None if of is None else of.partition,
        None if of is None else of.offset,
        _text(row.code),
        _text(row.detail),
        _text(row.field),
        _text(row.tenant_id),
        _text(row.event_id),
        row.tombstone,
    )


def _text(text: str | None) -> str | None:
    """The text, with lone surrogates spelled out: what a producer sends must never fail the ledger."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def _row(span: Span, kind: OutcomeKind, row: tuple[Any, ...]) -> OutcomeRow:
    offset, count, *of, code, detail, field, tenant_id, event_id, tombstone = row
    return OutcomeRow(
        Position(span.log, span.partition, offset),
        kind,
        count,
        None if None in of else Position(*of),
        code,
        detail,
        field,
        tenant_id,
        event_id,
        tombstone,
    )


def _totals(sums: dict[OutcomeKind, int]) -> Totals:
    return Totals(
        duplicates=sums["duplicate"],
        dead_letters=sums["dead_letter"],
        gaps=sums["gap"],
        expired=sums["expired"],
        erased=sums["erased"],
        id_collisions=sums["id_collision"],
    )
