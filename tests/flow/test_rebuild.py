"""An index that is gone or wrong comes back from the log, as the books say."""

from __future__ import annotations

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.errors import PipelineFault
from trailseal.event_consumer.books import reconcile
from trailseal.model.outcomes import Delta
from trailseal.model.record import NewRecord

BUSY = [
    record("a"),
    record("b"),
    record("a"),
    NewRecord(b"nonsense"),
    record("a", action="other.thing"),
    record("c"),
]


def _fill(bench: Bench) -> None:
    bench.log.append(BUSY)
    bench.log.skip(0, 3)
    bench.log.append([record(f"e{n}") for n in range(40)])
    with running(bench.consumer()):
        until(lambda: caught_up(bench.log, bench.ledger))


def test_a_deleted_index_comes_back_with_the_same_documents_and_the_same_books(bench: Bench) -> None:
    _fill(bench)
    documents, rows = bench.documents(), bench.rows()
    bench.index.begin_rebuild()
    bench.log.append([record("late")])
    with running(bench.consumer()) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
        assert consumer.state.snapshot.rebuilt == consumer.state.snapshot.rebuild_total == 49
    assert bench.documents() == sorted([*documents, "acme/late"])
    assert bench.rows() == rows
    assert reconcile(bench.log, bench.index, bench.ledger).balanced


def test_an_index_that_misses_a_document_is_rebuilt_at_the_start(bench: Bench) -> None:
    _fill(bench)
    documents = bench.documents()
    del bench.index.flushed["2026.03", "acme/e7"]
    bench.index.forget_unflushed()
    with running(bench.consumer()) as consumer:
        until(lambda: consumer.state.snapshot.rebuilt)
        until(lambda: consumer.state.snapshot.phase == "running")
    assert bench.documents() == documents


def test_documents_past_the_head_are_a_crash_before_the_advance_and_no_reason_to_rebuild(bench: Bench) -> None:
    _fill(bench)
    bench.log.append([record("f1"), record("a"), record("f2")])
    bench.cache.reachable = False
    with running(bench.consumer(drain_s=0.1)):
        until(lambda: len(bench.index.flushed) == len(bench.documents()) == 46)
    assert not caught_up(bench.log, bench.ledger)
    bench.cache.reachable = True
    with running(bench.consumer()) as consumer:
        until(lambda: caught_up(bench.log, bench.ledger))
        assert consumer.state.snapshot.rebuilt == 0
    assert bench.rows()[-1] == (50, "duplicate")
    assert reconcile(bench.log, bench.index, bench.ledger).balanced


def test_a_log_that_lost_records_below_the_head_cannot_be_rebuilt_from_and_says_so(bench: Bench) -> None:
    _fill(bench)
    bench.index.begin_rebuild()
    bench.log.held[0] = bench.log.held[0][:10]
    consumer = bench.consumer()
    with running(consumer):
        until(lambda: consumer.state.snapshot.phase == "stopped")
    assert isinstance(consumer.fault, PipelineFault)
    assert not bench.index.complete


def test_rows_that_are_missing_from_the_ledger_are_noticed_by_a_rebuild(bench: Bench) -> None:
    bench.log.append(BUSY)
    head = bench.ledger.open_partition(bench.number, 0, 0)
    bench.ledger.advance(head, Delta(6))
    bench.index.begin_rebuild()
    consumer = bench.consumer()
    with running(consumer):
        until(lambda: consumer.state.snapshot.phase == "stopped")
    assert "cannot be put back" in str(consumer.state.snapshot.detail)
