"""Several partitions, several calls in flight, partitions that come and go."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.errors import PipelineFault, Unavailable
from trailseal.model.outcomes import Delta
from trailseal.model.projection import Entry
from trailseal.model.record import Position
from trailseal.ports.index import Retry, Verdict

MANY = {"in_flight": 4, "poll_records": 10, "batch_records": 10}


def test_two_partitions_share_batches_and_each_gets_its_own_head(two: Bench) -> None:
    for n in range(50):
        two.log.append_to(n % 2, record(f"e{n}"))
    two.log.append_to(1, record("e0"))
    with running(two.consumer(0, 1)):
        until(lambda: caught_up(two.log, two.ledger))
    assert (two.head(0), two.head(1)) == (25, 26)
    assert len(two.documents()) == 50
    (row,) = two.ledger.outcomes(two.number, 1)
    assert (row.kind, row.of) == ("duplicate", Position(two.number, 0, 0))


def test_calls_in_flight_never_hold_the_same_id_and_the_lowest_position_wins(bench: Bench) -> None:
    bench.log.append([record(f"e{n % 7}") for n in range(300)])
    first_calls = threading.Semaphore(3)

    def answer(entries: Sequence[Entry]) -> dict[int, Verdict]:
        if first_calls.acquire(blocking=False):
            return {0: Retry("busy")}
        return dict.fromkeys(range(0, len(entries), 5), Retry("busy")) if len(entries) > 5 else {}

    bench.index.answer = answer
    with running(bench.consumer(**MANY)):
        until(lambda: caught_up(bench.log, bench.ledger))
    holders = sorted(entry.projection.position.offset for entry in bench.index.documents.values())
    assert holders == list(range(7))
    assert len(bench.rows()) == 293


def test_the_head_waits_for_the_oldest_batch_however_many_later_ones_are_done(bench: Bench) -> None:
    hold = threading.Event()

    def answer(entries: Sequence[Entry]) -> dict[int, Verdict]:
        if entries[0].document_id == "acme/e10":
            hold.wait(20)
        return {}

    bench.index.answer = answer
    bench.log.append([record(f"e{n}") for n in range(40)])
    with running(bench.consumer(**MANY)):
        until(lambda: len(bench.index.documents) == 30 and bench.head() == 10)
        hold.set()
        until(lambda: caught_up(bench.log, bench.ledger))
    assert [commit[0] for commit in bench.log.subscriptions[0].commits] == sorted(
        {commit[0] for commit in bench.log.subscriptions[0].commits}
    )


def test_what_is_under_way_is_finished_and_committed_before_a_revoked_partition_goes(two: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        started.set()
        go_on.wait(20)
        return {}

    two.index.answer = answer
    two.log.append_to(0, record("a"))
    two.log.append_to(1, record("b"))
    with running(two.consumer(0, 1)):
        assert started.wait(20)
        at_departure: list[int] = []
        subscription = two.log.subscriptions[0]
        subscription.revoke(1, after=lambda: at_departure.extend((two.head(1), subscription.committed.get(1, -1))))
        go_on.set()
        until(lambda: at_departure)
        assert at_departure == [1, 1]
        two.log.append_to(1, record("c"))
        two.log.append_to(0, record("d"))
        until(lambda: two.head(0) == 2)
    assert two.head(1) == 1
    assert "acme/c" not in two.documents()


def test_a_call_that_ends_after_its_partition_was_lost_moves_nothing_of_it(two: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        started.set()
        go_on.wait(20)
        return {}

    two.index.answer = answer
    two.log.append_to(0, record("a"))
    two.log.append_to(1, record("b"))
    with running(two.consumer(0, 1)):
        assert started.wait(20)
        subscription = two.log.subscriptions[0]
        subscription.lose(1)
        until(lambda: 1 in subscription.taken_away)
        go_on.set()
        until(lambda: two.head(0) == 1)
    assert two.head(1) == 0
    assert 1 not in subscription.committed


def test_a_lost_partition_that_comes_back_is_taken_in_from_its_head(two: Bench) -> None:
    two.log.append_to(1, record("a"))
    with running(two.consumer(0, 1)):
        until(lambda: two.head(1) == 1)
        subscription = two.log.subscriptions[0]
        subscription.lose(1)
        until(lambda: 1 in subscription.taken_away)
        two.log.append_to(1, record("b"))
        subscription.give(1)
        until(lambda: two.head(1) == 2)
    assert two.documents() == ["acme/a", "acme/b"]
    assert two.rows(1) == []


def test_partitions_given_while_paused_stay_paused_until_there_is_room(two: Bench) -> None:
    down = [True]

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        if down:
            raise Unavailable("No connection.")
        return {}

    two.index.answer = answer
    for n in range(60):
        two.log.append_to(n % 2, record(f"e{n}"))
    with running(two.consumer(0, poll_records=5, batch_records=5, ahead_records=20)):
        until(lambda: two.log.subscriptions and 0 in two.log.subscriptions[0].paused)
        subscription = two.log.subscriptions[0]
        subscription.give(1)
        until(lambda: two.head(1) == 0)
        until(lambda: subscription.paused == {0, 1})
        down.clear()
        until(lambda: caught_up(two.log, two.ledger))
    assert len(two.documents()) == 60
    assert two.rows(0) == two.rows(1) == []


def test_a_head_that_another_process_moved_starts_the_partition_anew_from_there(bench: Bench) -> None:
    bench.log.append([record("a"), record("b"), record("c")])
    stolen = []

    def on_flush() -> None:
        if not stolen:
            head = bench.ledger.head(bench.number, 0)
            assert head is not None
            stolen.append(bench.ledger.advance(head, Delta(2)))

    bench.index.on_flush = on_flush
    with running(bench.consumer()) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
        bench.log.append([record("d")])
        until(lambda: caught_up(bench.log, bench.ledger))
    assert consumer.fault is None
    assert bench.documents() == ["acme/a", "acme/b", "acme/c", "acme/d"]
    assert bench.rows() == []


def test_a_log_shorter_than_its_ledger_stops_with_a_message(bench: Bench) -> None:
    head = bench.ledger.open_partition(bench.number, 0, 0)
    bench.ledger.advance(head, Delta(5))
    bench.log.append([record("a")])
    consumer = bench.consumer()
    with running(consumer):
        until(lambda: consumer.state.snapshot.phase == "stopped")
    assert isinstance(consumer.fault, PipelineFault)
    assert "log was cut off" in str(consumer.state.snapshot.detail)


def test_stopping_takes_in_what_was_delivered(bench: Bench) -> None:
    bench.log.append([record(f"e{n}") for n in range(30)])
    with running(bench.consumer(flush_s=60.0)):
        until(lambda: bench.index.puts)
    assert bench.head() == 30
    assert bench.log.subscriptions[0].closed
    assert bench.cache.writer[-1] is False
