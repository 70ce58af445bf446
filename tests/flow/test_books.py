"""Reconciling names what does not add up, and only that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.event_consumer.books import reconcile
from trailseal.model.outcomes import Delta, OutcomeRow
from trailseal.model.projection import colliding
from trailseal.model.record import NewRecord, Position


@pytest.fixture
def filled(bench: Bench) -> Bench:
    bench.log.append(
        [
            record("a"),
            record("b"),
            record("a"),
            NewRecord(b"nonsense"),
            record("b", action="other.thing"),
        ]
    )
    bench.log.skip(0, 4)
    bench.log.append([record(f"e{n}") for n in range(10)])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    return bench


def test_books_that_balance_say_what_became_of_everything(filled: Bench) -> None:
    told: list[tuple[int, int]] = []
    filled.log.append([record("later")])
    result = reconcile(filled.log, filled.index, filled.ledger, lambda *at: told.append(at), chunk=7)
    assert result.balanced
    (books,) = result.books
    assert (books.taken_in, books.indexed, books.duplicates, books.dead_letters, books.gaps) == (19, 13, 1, 1, 4)
    assert (books.id_collisions, books.pending, books.erased, books.expired) == (1, 1, 0, 0)
    assert told == [(7, 19), (14, 19), (19, 19)]


def _lose_document(bench: Bench) -> None:
    del bench.index.flushed["2026.03", "acme/e3"]
    del bench.index.flushed["2026.03", "acme/e4"]


def _lose_collision(bench: Bench) -> None:
    del bench.index.flushed["2026.03", f"/{bench.number}/0/4"]


def _index_twice(bench: Bench) -> None:
    entry = colliding(bench.index.flushed["2026.03", "acme/e3"])
    bench.index.flushed[entry.month, entry.document_id] = entry


def _row_for_indexed(bench: Bench) -> None:
    head = bench.ledger.head(bench.number, 0)
    assert head is not None
    row = OutcomeRow(Position(bench.number, 0, 12), "expired")
    bench.ledger.advance(head, Delta(head.next, (row,)))


def _second_row(bench: Bench) -> None:
    head = bench.ledger.head(bench.number, 0)
    assert head is not None
    row = OutcomeRow(Position(bench.number, 0, 2), "gap")
    bench.ledger.advance(head, Delta(head.next, (row,)))


def _cut_log(bench: Bench) -> None:
    bench.log.held[0] = bench.log.held[0][:-3]


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (_lose_document, "1/0/12 and the next 1: neither a document nor a row."),
        (_lose_collision, "1/0/4: a row for an id collision, but no document."),
        (_index_twice, "1/0/12: more than one document."),
        (_row_for_indexed, "1/0/12: a document, and a row that says there is none (expired)."),
        (_second_row, "1/0/2: two rows that both say there is no document."),
        (_cut_log, "1/0/16: the log ends before the head (the head is at 19)."),
    ],
)
def test_what_does_not_add_up_is_named(filled: Bench, damage: Callable[[Bench], None], finding: str) -> None:
    damage(filled)
    result = reconcile(filled.log, filled.index, filled.ledger, chunk=5)
    assert not result.balanced
    assert finding in [str(found) for found in result.findings]


def test_a_dead_letter_without_its_record_is_named(filled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled.ledger, "kept", lambda _: None)
    result = reconcile(filled.log, filled.index, filled.ledger)
    assert [str(finding) for finding in result.findings] == ["1/0/3: a dead letter whose record is not kept."]
