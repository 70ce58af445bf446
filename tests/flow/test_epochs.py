"""Which log the books are of: another one is never taken for it, and begins only when an operator says so."""

from __future__ import annotations

import pytest

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.errors import PipelineFault, UsageError
from trailseal.event_consumer.epochs import begin_epoch, epoch_of, number_of, reason_of
from trailseal.model.outcomes import Delta

OLD, NEW = "kafka/cluster/topic-a/1", "kafka/cluster/topic-b/1"


def begin(bench: Bench, reason: str = "the topic was deleted") -> int:
    return begin_epoch(bench.log, bench.ledger, bench.clock, reason).log


def kafka_like(bench: Bench, origin: str) -> None:
    bench.log.origin = origin
    bench.ledger.register_log(origin)


def test_a_log_that_the_books_do_not_know_stops_the_consumer_and_an_epoch_lets_it_go_on(bench: Bench) -> None:
    kafka_like(bench, OLD)
    bench.log.origin = NEW
    bench.log.append([record("a")])
    consumer = bench.consumer()
    with running(consumer):
        until(lambda: consumer.fault is not None)
    assert isinstance(consumer.fault, PipelineFault)
    assert "trailseal epoch new --reason" in str(consumer.fault)
    assert bench.documents() == []

    number = begin(bench)
    assert number == max(bench.ledger.logs())
    assert reason_of(bench.ledger, NEW) == "the topic was deleted"
    with running(bench.consumer()) as again:
        until(lambda: caught_up(bench.log, bench.ledger))
    assert again.fault is None
    assert bench.documents() == ["acme/a"]


def test_a_log_whose_offsets_went_back_gets_the_next_epoch_of_the_same_topic(bench: Bench) -> None:
    kafka_like(bench, OLD)
    bench.log.append([record("a")])
    head = bench.ledger.open_partition(number_of(bench.ledger, OLD), 0, 0)
    bench.ledger.advance(head, Delta(5))
    begun = begin_epoch(bench.log, bench.ledger, bench.clock, "restored from an old disk")
    assert begun.origin == "kafka/cluster/topic-a/2"
    assert epoch_of(bench.ledger, "kafka/cluster/topic-a") == 2
    with pytest.raises(PipelineFault):
        number_of(bench.ledger, OLD)


def test_a_topic_that_comes_back_is_not_taken_for_the_log_it_was(bench: Bench) -> None:
    kafka_like(bench, OLD)
    kafka_like(bench, NEW)
    bench.log.origin = OLD
    with pytest.raises(PipelineFault):
        number_of(bench.ledger, OLD)
    assert begin_epoch(bench.log, bench.ledger, bench.clock, "back").origin == "kafka/cluster/topic-a/2"


def test_a_log_that_is_well_is_not_ended(bench: Bench) -> None:
    kafka_like(bench, OLD)
    bench.log.append([record("a")])
    with pytest.raises(UsageError, match="no new epoch is needed"):
        begin(bench)
    assert bench.ledger.logs()[max(bench.ledger.logs())] == OLD


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "a\0b"])
def test_a_reason_is_one_line(bench: Bench, reason: str) -> None:
    kafka_like(bench, OLD)
    bench.log.origin = NEW
    with pytest.raises(UsageError, match="--reason"):
        begin(bench, reason)


def test_an_embedded_log_that_was_cut_off_is_restored_and_not_ended(bench: Bench) -> None:
    head = bench.ledger.open_partition(bench.number, 0, 0)
    bench.ledger.advance(head, Delta(5))
    with pytest.raises(UsageError, match="from one backup"):
        begin(bench)
