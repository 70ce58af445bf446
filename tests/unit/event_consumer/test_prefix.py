"""Heads move over the contiguous prefix of finished slices, whatever order calls end in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trailseal.event_consumer.partitions import Partition, Slice, Stage, moves
from trailseal.merkle.admin import AdminKind, AdminStatement, OffsetRun
from trailseal.model.outcomes import Head, OutcomeRow
from trailseal.model.record import Position
from trailseal.sealing.admin_records import Order


def _partition(base: int = 10) -> Partition:
    return Partition(0, 1, Head(1, 0, base, base, "v0"), base)


def _add(partition: Partition, size: int, rows: int = 0) -> Slice:
    piece = partition.begin_slice(0.0)
    piece.next = partition.expected = piece.first + size
    piece.rows = [OutcomeRow(Position(1, 0, piece.first + n), "duplicate") for n in range(rows)]
    return piece


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.data())
def test_the_prefix_ends_before_the_first_unfinished_slice(sizes: list[int], data: st.DataObject) -> None:
    partition = _partition()
    pieces = [_add(partition, size) for size in sizes]
    done = data.draw(st.sets(st.sampled_from(range(len(pieces)))))
    for number in done:
        pieces[number].stage = Stage.FLUSHED
    prefix = partition.finished(set())
    unfinished = [number for number in range(len(pieces)) if number not in done]
    assert prefix == pieces[: unfinished[0] if unfinished else len(pieces)]


def test_settled_slices_count_only_when_the_flush_under_way_covers_them() -> None:
    partition = _partition()
    first, second = _add(partition, 1), _add(partition, 1)
    first.stage = second.stage = Stage.SETTLED
    assert partition.finished(set()) == []
    assert partition.finished({id(first)}) == [first]


def test_what_the_head_passed_is_forgotten_and_counted() -> None:
    partition = _partition(10)
    _add(partition, 5)
    left = _add(partition, 5)
    assert partition.advanced(Head(1, 0, 10, 15, "v1")) == 5
    assert list(partition.slices) == [left]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=10), st.integers(1, 30))
def test_steps_lose_no_row_and_stay_small(slices: list[tuple[int, int]], most: int) -> None:
    partition = _partition(0)
    pieces = [_add(partition, max(size, rows), rows) for size, rows in slices]
    steps = [move.delta for move in moves(pieces, most)]
    assert [row for step in steps for row in step.rows] == [row for piece in pieces for row in piece.rows]
    assert steps[-1].next == pieces[-1].next
    assert [step.next for step in steps] == sorted({step.next for step in steps})
    largest = max(len(piece.rows) for piece in pieces)
    assert all(len(step.rows) <= max(most, largest) for step in steps)


def test_an_order_begins_a_step_so_that_what_came_before_it_is_below_the_head() -> None:
    partition = _partition(0)
    pieces = [_add(partition, 1) for _ in range(3)]
    pieces[1].orders = [Order(Position(1, 0, 1), AdminStatement("o", AdminKind.ERASE, 2, (OffsetRun(0, 0),), b""))]
    assert [(step.delta.next, len(step.orders)) for step in moves(pieces, 9)] == [(1, 0), (3, 1)]
