"""What becomes of a record, verdict by verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flow.conftest import Bench
from flow.running import caught_up, event, record, running, until
from trailseal.errors import PipelineFault, Unavailable
from trailseal.event_consumer.health import assess
from trailseal.model.outcomes import Delta, OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import NewRecord, Position, Record
from trailseal.ports.index import Refused, Retry, Verdict


@pytest.fixture
def full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While this list holds something the ledger keeps no dead letter."""
    there: list[bool] = [True]
    keep = bench.ledger.keep

    def refuse(records: Sequence[Record]) -> None:
        if there:
            raise Unavailable("The disk is full.")
        keep(records)

    monkeypatch.setattr(bench.ledger, "keep", refuse)
    return there


def test_events_are_indexed_and_the_head_follows(bench: Bench) -> None:
    bench.log.append([record(f"e{n}") for n in range(25)])
    with running(bench.consumer(poll_records=10, batch_records=10)):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.documents() == sorted(f"acme/e{n}" for n in range(25))
    assert bench.rows() == []
    assert bench.log.subscriptions[0].committed == {0: 25}
    assert bench.log.subscriptions[0].closed


def test_the_same_event_again_is_a_duplicate_of_the_first(bench: Bench) -> None:
    bench.log.append([record("a"), record("b"), record("a")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.position.offset, row.kind, row.of) == (2, "duplicate", Position(bench.number, 0, 0))
    assert (row.tenant_id, row.event_id) == ("acme", "a")


def test_another_event_under_a_taken_id_is_indexed_under_its_position(bench: Bench) -> None:
    bench.log.append([record("a"), record("a", action="document.delete")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.documents() == [f"/{bench.number}/0/1", "acme/a"]
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.position.offset, row.kind, row.of) == (1, "id_collision", Position(bench.number, 0, 0))


def test_two_tenants_with_one_id_are_two_events(bench: Bench) -> None:
    bench.log.append([record("a", "acme"), record("a", "globex")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.documents() == ["acme/a", "globex/a"]
    assert bench.rows() == []


def test_a_record_that_is_no_event_is_kept_whole_and_the_others_flow(bench: Bench) -> None:
    bad = NewRecord(b'{"id": "x", "when": \xff}', b"key", (("h", b"1"), ("h", None)))
    bench.log.append([record("a"), bad, record("b")])
    with running(bench.consumer()) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.position.offset, row.kind) == (1, "dead_letter")
    assert row.code
    assert row.detail
    kept = bench.ledger.kept(row.position)
    assert kept is not None
    assert (kept.value, kept.key, kept.headers) == (bad.value, bad.key, bad.headers)
    assert bench.documents() == ["acme/a", "acme/b"]
    assert consumer.state.snapshot.dead_letters == 1


def test_a_dead_letter_at_the_end_is_not_taken_in_again_at_the_next_start(bench: Bench) -> None:
    bench.log.append([record("a"), NewRecord(b"nonsense")])
    for _ in range(2):
        with running(bench.consumer()) as consumer:
            until(lambda: caught_up(bench.log, bench.ledger) and consumer.state.snapshot.phase == "running")
    assert bench.rows() == [(1, "dead_letter")]
    assert bench.ledger.totals(bench.number, 0).dead_letters == 1


def test_offsets_without_a_record_become_gap_rows_of_their_length(bench: Bench) -> None:
    bench.log.append([record("a")])
    bench.log.skip(0, 1_000)
    bench.log.append([record("b")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.position.offset, row.kind, row.count) == (1, "gap", 1_000)
    assert bench.head() == 1_002


def test_only_the_items_that_were_put_off_are_put_again(bench: Bench) -> None:
    left = {"acme/e1": 3, "acme/e4": 5}

    def answer(entries: Sequence[Entry]) -> dict[int, Verdict]:
        given: dict[int, Verdict] = {}
        for at, entry in enumerate(entries):
            if left.get(entry.document_id, 0):
                left[entry.document_id] -= 1
                given[at] = Retry("busy")
        return given

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(6)])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    names = [[entry.document_id for entry in put] for put in bench.index.puts]
    assert names == [
        [f"acme/e{n}" for n in range(6)],
        *[["acme/e1", "acme/e4"]] * 3,
        *[["acme/e4"]] * 2,
    ]
    assert bench.rows() == []


def test_an_item_that_is_put_off_a_hundred_times_goes_in_at_the_next(bench: Bench) -> None:
    refusals = iter(range(100))
    bench.index.answer = lambda _: {0: Retry("busy")} if next(refusals, None) is not None else {}
    bench.log.append([record("a")])
    with running(bench.consumer(retry_first_s=0.001, retry_most_s=0.002)) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
    assert consumer.fault is None
    assert len(bench.index.puts) == 101
    assert bench.rows() == []


def test_a_dead_letter_that_cannot_be_kept_holds_the_head_until_it_can(bench: Bench, full: list[bool]) -> None:
    bench.log.append([record("a"), NewRecord(b"nonsense"), record("b")])
    with running(bench.consumer()) as consumer:
        until(lambda: consumer.state.snapshot.phase == "retrying")
        assert bench.head() == 0
        assert bench.rows() == []
        full.clear()
        until(lambda: caught_up(bench.log, bench.ledger))
    (row,) = bench.ledger.outcomes(bench.number, 0)
    kept = bench.ledger.kept(row.position)
    assert (row.kind, kept and kept.value) == ("dead_letter", b"nonsense")
    assert bench.documents() == ["acme/a", "acme/b"]


def test_dead_letters_in_numbers_raise_an_alarm_and_stop_nothing(bench: Bench) -> None:
    bench.log.append([NewRecord(b"nonsense %d" % n) for n in range(300)] + [record("a")])
    with running(bench.consumer()) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
        until(lambda: consumer.state.snapshot.degraded)
        readiness = assess(consumer, bench.clock)
        assert (readiness.status, readiness.phase) == ("degraded", "running")
        bench.log.append([record("b")])
        until(lambda: caught_up(bench.log, bench.ledger))
    assert consumer.fault is None
    assert bench.documents() == ["acme/a", "acme/b"]
    assert bench.ledger.totals(bench.number, 0).dead_letters == 300


def test_a_repeat_never_overtakes_the_event_before_it_that_is_put_off(bench: Bench) -> None:
    turns = iter([{0: Retry("busy")}, {0: Retry("busy")}])
    bench.index.answer = lambda _: next(turns, {})
    bench.log.append([record("a"), record("a"), record("a", action="other.thing")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.index.documents[("2026.03", "acme/a")].projection.position.offset == 0
    assert bench.rows() == [(1, "duplicate"), (2, "id_collision")]


def test_a_call_that_fails_is_repeated_with_what_was_not_flushed(bench: Bench) -> None:
    failures = [False, True, True]

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        if failures and failures.pop(0):
            bench.index.forget_unflushed()
            raise Unavailable("The index lost its writer.")
        return {}

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(20)])
    with running(bench.consumer(poll_records=10, batch_records=10)):
        until(lambda: caught_up(bench.log, bench.ledger))
    bench.index.forget_unflushed()
    assert bench.documents() == sorted(f"acme/e{n}" for n in range(20))
    assert bench.rows() == []


def test_a_flush_that_fails_brings_everything_back_that_it_was_to_save(bench: Bench) -> None:
    failures = [True, True]

    def on_flush() -> None:
        if failures and failures.pop():
            bench.index.forget_unflushed()
            raise Unavailable("No room.")

    bench.index.on_flush = on_flush
    bench.log.append([record(f"e{n}") for n in range(20)] + [record("e3")])
    with running(bench.consumer(poll_records=10, batch_records=10)):
        until(lambda: caught_up(bench.log, bench.ledger))
    bench.index.forget_unflushed()
    assert bench.documents() == sorted(f"acme/e{n}" for n in range(20))
    assert bench.rows() == [(20, "duplicate")]


def test_an_erased_event_does_not_come_back(bench: Bench) -> None:
    bench.index.tombstones[("2026.03", "acme/a")] = Position(bench.number, 0, 77)
    bench.log.append([record("a"), record("b")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.documents() == ["acme/b"]
    assert bench.rows() == [(0, "erased")]


def test_an_event_whose_like_another_process_dropped_with_its_month_is_expired_by_that_order(bench: Bench) -> None:
    """The index has only its name left, and this process has not been told of the month."""
    at, order = Position(bench.number, 1, 2), Position(bench.number, 1, 4)
    head = bench.ledger.open_partition(bench.number, 1, 0)
    bench.ledger.advance(head, Delta(5, (OutcomeRow(at, "expired", of=order),)))
    bench.index.tombstones[("2026.03", "acme/a")] = at
    bench.log.append([record("a"), record("b")])
    with running(bench.consumer()):
        until(lambda: bench.documents() == ["acme/b"] and bench.rows())
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.kind, row.of, row.event_id, row.came_late) == ("expired", order, "a", True)


def test_an_event_of_a_dropped_month_is_expired(bench: Bench) -> None:
    bench.index.dropped_months.add("2026.03")
    bench.log.append([record("a"), record("b", timestamp="2026-04-01T00:00:00Z")])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert bench.rows() == [(0, "expired")]


def test_what_the_index_refuses_for_good_is_a_dead_letter_with_its_reason(bench: Bench) -> None:
    bench.index.answer = lambda entries: {
        at: Refused("too-odd", "the field is too odd")
        for at, entry in enumerate(entries)
        if entry.document_id == "acme/e2"
    }
    bench.log.append([record(f"e{n}") for n in range(5)])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    (row,) = bench.ledger.outcomes(bench.number, 0)
    assert (row.position.offset, row.kind, row.code) == (2, "dead_letter", "too-odd")
    kept = bench.ledger.kept(row.position)
    assert kept is not None
    assert kept.value == event("e2")


def test_a_whole_batch_refused_alike_is_our_fault_and_stops_with_nothing_lost(bench: Bench) -> None:
    bench.index.answer = lambda entries: dict.fromkeys(range(len(entries)), Refused("no-mapping", "no such field"))
    bench.log.append([record(f"e{n}") for n in range(150)])
    consumer = bench.consumer(poll_records=150, batch_records=150)
    with running(consumer):
        until(lambda: consumer.state.snapshot.phase == "stopped")
    assert isinstance(consumer.fault, PipelineFault)
    assert "no-mapping" in str(consumer.state.snapshot.detail)
    assert bench.rows() == []
    assert bench.head() == 0
    bench.index.answer = lambda _: {}
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert len(bench.documents()) == 150


def test_an_outage_pauses_the_source_but_polling_goes_on(bench: Bench) -> None:
    down = [True]

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        if down:
            raise Unavailable("No connection.")
        return {}

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(100)])
    consumer = bench.consumer(poll_records=10, batch_records=10, ahead_records=40)
    with running(consumer):
        subscription = lambda: bench.log.subscriptions[0]  # noqa: E731 - it comes with the consumer's thread
        until(lambda: bench.log.subscriptions and subscription().polls_while_paused > 5)
        assert consumer.state.snapshot.phase == "retrying"
        assert "No connection." in str(consumer.state.snapshot.detail)
        down.clear()
        until(lambda: caught_up(bench.log, bench.ledger))
        until(lambda: consumer.state.snapshot.phase == "running")
        assert subscription().paused == set()
    assert len(bench.documents()) == 100


def test_a_put_that_fails_before_the_flush_of_an_earlier_one_never_lets_the_head_pass_it(bench: Bench) -> None:
    failures = [False, True]

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        if failures and failures.pop(0):
            bench.index.forget_unflushed()
            raise Unavailable("The index lost its writer.")
        return {}

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(20)])
    with running(bench.consumer(poll_records=20, batch_records=10, flush_records=10)):
        until(lambda: caught_up(bench.log, bench.ledger))
    bench.index.forget_unflushed()
    assert bench.documents() == sorted(f"acme/e{n}" for n in range(20))
    assert bench.rows() == []


def test_a_failed_call_brings_back_also_what_the_same_batch_had_already_put(bench: Bench) -> None:
    calls: list[int] = []

    def answer(entries: Sequence[Entry]) -> dict[int, Verdict]:
        calls.append(len(entries))
        if len(calls) == 1:
            return {0: Retry("busy")}
        if len(calls) == 2:
            bench.index.forget_unflushed()
            raise Unavailable("The index lost its writer.")
        return {}

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(5)])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))
    assert calls == [5, 1, 5]
    assert sorted(name for _, name in bench.index.flushed) == [f"acme/e{n}" for n in range(5)]
