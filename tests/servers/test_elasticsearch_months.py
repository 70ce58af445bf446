"""Months made anew beside writers and switched over in one step, on the real Elasticsearch."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import msgspec
import pytest

from servers.entries import JANUARY, entry
from servers.fault_proxy import Exchange, FaultProxy, cut_off, fault_proxy, status
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.clock import SystemClock
from trailseal.adapters.elasticsearch.bulk import BulkLimits
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.indexes.elasticsearch import (
    ElasticsearchIndex,
    IndexOptions,
    mapping,
    set_up_index,
)
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger
from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.model.projection import Entry, colliding
from trailseal.model.query import Query, Word
from trailseal.model.record import Position, Record
from trailseal.ports.index import Present, Retry, Stored, Tombstone
from trailseal.ports.ledger import Document

MONTH = "2026.11"
CLOCK = SystemClock()
FRESH = Query(words=(Word("fresh"),))
T = TypeVar("T")
Open = Callable[[ElasticsearchOptions], ElasticsearchIndex]


def again(record: Record) -> Entry:
    """Today's rules: the same event under the same name, with a word that those of before did not find."""
    made = entry(record.position.offset, value=record.value, partition=record.position.partition)
    return msgspec.structs.replace(made, projection=msgspec.structs.replace(made.projection, words="fresh"))


def quiet(_step: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def opening(ledger: ElasticsearchLedger) -> Iterator[Open]:
    opened: list[ElasticsearchIndex] = []

    def open_index(options: ElasticsearchOptions) -> ElasticsearchIndex:
        opened.append(ElasticsearchIndex(options, ledger, IndexOptions(bulk=BulkLimits(max_items=500))))
        return opened[-1]

    yield open_index
    for one in opened:
        one.close()


@pytest.fixture
def index(elasticsearch: ElasticsearchOptions, opening: Open) -> ElasticsearchIndex:
    return opening(elasticsearch)


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def through(elasticsearch: ElasticsearchOptions, proxy: FaultProxy, opening: Open) -> ElasticsearchIndex:
    """The same months; every request passes the proxy, but for those to the register."""
    hosts = (("127.0.0.1", proxy.server_address[1]),)
    return opening(dataclasses.replace(elasticsearch, hosts=hosts))


class Writer:
    """Puts events as the pipeline does, what failed again and again, until told to stop."""

    def __init__(self, index: ElasticsearchIndex, first: int) -> None:
        self._index, self._first = index, first
        self.stored = 0
        self.waited = 0
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._call = self._threads.submit(self._run)

    def _run(self) -> None:
        at = self._first
        while not self._stopping.is_set():
            pending = [entry(offset, partition=offset % 3) for offset in range(at, at + 50)]
            at += 50
            while pending:
                verdicts = self._index.put(pending)
                self.waited += any(isinstance(verdict, Retry) for verdict in verdicts)
                pending = [one for one, verdict in zip(pending, verdicts, strict=True) if not _done(one, verdict)]
            self.stored += 50

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._call.result(60)
        self._threads.shutdown()


def _done(one: Entry, verdict: object) -> bool:
    return isinstance(verdict, Stored) or (
        isinstance(verdict, Present) and verdict.position == one.projection.position
    )


def _fill(index: ElasticsearchIndex, count: int) -> list[Entry]:
    entries = [entry(offset, partition=offset % 3) for offset in range(count)]
    assert index.put(entries) == [Stored()] * count
    return entries


def _held(index: ElasticsearchIndex) -> dict[int, list[int]]:
    index.refresh()
    return {partition: index.offsets(1, partition, 0, 10**9) for partition in range(3)}


def _expected(count: int) -> dict[int, list[int]]:
    return {partition: [offset for offset in range(count) if offset % 3 == partition] for partition in range(3)}


def test_a_month_is_made_anew_under_writes_and_nothing_is_lost_or_doubled(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, opening: Open, raw: RawElasticsearch
) -> None:
    _fill(index, 3_000)
    index.put([entry(0, at_us=JANUARY, partition=9)])
    steps: list[tuple[str, int, int]] = []

    with Writer(opening(elasticsearch), 3_000) as writer:
        done = index.upkeep(CLOCK).reproject(MONTH, again, lambda *step: steps.append(step))

    assert writer.stored
    assert _held(index) == _expected(3_000 + writer.stored)
    assert 3_000 <= index.count(FRESH).value <= done.documents
    prefix = elasticsearch.prefix
    assert (done.index, done.retired) == (f"{prefix}audit-{MONTH}-v1-000002", f"{prefix}audit-{MONTH}-v1-000001")
    assert list(raw("GET", f"/_alias/{prefix}audit-{MONTH}")) == [done.index]
    late = raw("PUT", f"/{done.retired}/_doc/late", {"log": 1})
    assert late["error"]["type"] == "cluster_block_exception"
    january, november = index.upkeep(CLOCK).months()
    assert (november.state, november.index, november.retired) == ("open", done.index, (done.retired,))
    assert (november.documents, november.reprojecting) == (3_000 + writer.stored, False)
    assert (january.month, january.documents) == ("2026.01", 1)
    assert all(count <= total for _, count, total in steps)
    assert index.upkeep(CLOCK).reproject(MONTH, again, quiet).index.endswith("-000003")


def test_writers_wait_while_the_rest_is_copied_and_go_on_in_the_new_index(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, opening: Open
) -> None:
    _fill(index, 600)
    other = opening(elasticsearch)
    told: list[object] = []

    def while_blocked(step: str, _done: int, _total: int) -> None:
        if "rest" in step and not told:
            told.extend(other.put([entry(900, partition=0)]))

    def project(record: Record) -> Entry:
        if record.position.offset == 599:
            # One more comes while the first round reads, so that there is a rest to copy.
            other.put([entry(600, partition=0)])
        return again(record)

    index.upkeep(CLOCK).reproject(MONTH, project, while_blocked)

    assert [type(verdict) for verdict in told] == [Retry]
    assert other.put([entry(900, partition=0)]) == [Stored()]
    assert _held(index)[0] == [*_expected(600)[0], 600, 900]


class _Passing:
    """Lets a number of requests through, is cut off at the next, and is dead from then on."""

    def __init__(self, through: int) -> None:
        self.left = through

    def __call__(self, exchange: Exchange) -> None:
        self.left -= 1
        if self.left >= 0:
            exchange.answer(*exchange.forward(exchange.sent))
        elif self.left == -1:
            cut_off(exchange)
        else:
            status(503, "unavailable_shards_exception")(exchange)


def _changes(seen: str) -> bool:
    return not seen.startswith("GET") and ("_search" not in seen) and ("_refresh" not in seen)


def test_a_crash_after_any_change_leaves_what_the_next_run_finishes(
    index: ElasticsearchIndex, through: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    _fill(index, 300)
    through.upkeep(CLOCK).reproject(MONTH, again, quiet)
    changes = [place for place, seen in enumerate(proxy.seen) if _changes(seen)]
    assert len(changes) >= 4  # the index, a bulk, the block, the alias
    count = 300
    for survived in changes:
        proxy.script("/", *[_Passing(survived)] * 1_000)
        with pytest.raises(Unavailable):
            through.upkeep(CLOCK).reproject(MONTH, again, quiet)
        proxy.faults.clear()

        done = index.upkeep(CLOCK).reproject(MONTH, again, quiet)

        assert index.put([entry(count, partition=count % 3)]) == [Stored()]
        count += 1
        assert done.documents == count - 1
        assert _held(index) == _expected(count)
        assert [status.reprojecting for status in index.upkeep(CLOCK).months()] == [False]


class _BreakingDocuments:
    """The ledger's documents; the write of that number does or does not happen, and everything after it fails."""

    def __init__(self, ledger: ElasticsearchLedger, survived: int, *, lands: bool) -> None:
        self._ledger, self._left, self._lands = ledger, survived, lands

    def document(self, name: str) -> Document | None:
        self._check()
        return self._ledger.document(name)

    def documents(self, prefix: str) -> dict[str, Document]:
        self._check()
        return self._ledger.documents(prefix)

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        return self._write(lambda: self._ledger.put_document(name, body, expected))

    def delete_document(self, name: str, expected: str) -> None:
        self._write(lambda: self._ledger.delete_document(name, expected))

    def _check(self) -> None:
        if self._left < 0:
            raise Unavailable("the ledger is away")

    def _write(self, write: Callable[[], T]) -> T:
        self._check()
        self._left -= 1
        if self._left < 0 and not self._lands:
            self._check()
        written = write()
        self._check()
        return written


@pytest.mark.parametrize("lands", [True, False])
def test_a_crash_at_any_write_of_the_register_leaves_what_the_next_run_finishes(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger, lands: bool
) -> None:
    _fill(index, 300)
    for survived in range(100):
        broken = ElasticsearchIndex(elasticsearch, _BreakingDocuments(ledger, survived, lands=lands))
        try:
            broken.upkeep(CLOCK).reproject(MONTH, again, quiet)
        except Unavailable:
            index.upkeep(CLOCK).reproject(MONTH, again, quiet)
            assert _held(index) == _expected(300)
        else:
            assert survived >= 5
            return
        finally:
            broken.close()
    pytest.fail("it never went through")


def test_what_the_books_say_is_indexed_stays_indexed_under_the_name_it_has(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    apart = colliding(entry(3, event_id="event-0-0"))
    index.put([entry(0), entry(1), entry(2), apart, entry(4)])
    tombstone = {"log": 1, "partition": 0, "offset": 4, "erased": True}
    raw("PUT", f"/{elasticsearch.prefix}audit-{MONTH}/_doc/acme%2Fevent-0-4", tombstone)

    def project(record: Record) -> Entry | None:
        if record.position.offset == 1:
            return None
        if record.position.offset == 2:
            return entry(2, event_id="another name")
        return again(record) if record.position.offset == 0 else entry(3, event_id="event-0-0")

    done = index.upkeep(CLOCK).reproject(MONTH, project, quiet)

    assert (done.documents, done.unchanged) == (5, 3)
    assert _held(index)[0] == [0, 1, 2, 3]
    assert index.put([entry(0), entry(1), entry(2), apart, entry(4)]) == [
        *(Present(one.projection.position, one.projection.content_hash) for one in (entry(0), entry(1), entry(2))),
        Present(apart.projection.position, apart.projection.content_hash),
        Tombstone(Position(1, 0, 4)),
    ]


def test_an_erasure_during_the_copying_is_in_the_new_index_too(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    _fill(index, 600)
    tombstone = {"log": 1, "partition": 0, "offset": 0, "erased": True}

    def project(record: Record) -> Entry:
        if record.position.offset == 599:
            raw("PUT", f"/{elasticsearch.prefix}audit-{MONTH}/_doc/acme%2Fevent-0-0", tombstone)
        return again(record)

    index.upkeep(CLOCK).reproject(MONTH, project, quiet)

    assert _held(index)[0] == _expected(600)[0][1:]
    assert index.put([entry(0, partition=0)]) == [Tombstone(Position(1, 0, 0))]


def test_a_new_index_that_does_not_hold_the_same_is_thrown_away_and_writers_go_on(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    _fill(index, 30)
    moved = Position(1, 7, 0)

    def project(record: Record) -> Entry:
        made = again(record)
        if record.position.offset != 0:
            return made
        return msgspec.structs.replace(made, projection=msgspec.structs.replace(made.projection, position=moved))

    with pytest.raises(PipelineFault, match=r"partition 1/0: 9 documents instead of 10.*1/7: 1 documents"):
        index.upkeep(CLOCK).reproject(MONTH, project, quiet)

    assert index.put([entry(30, partition=0)]) == [Stored()]
    assert [name for name in raw.indices(elasticsearch.prefix) if MONTH in name] == [
        f"{elasticsearch.prefix}audit-{MONTH}-v1-000001"
    ]
    assert index.upkeep(CLOCK).reproject(MONTH, again, quiet).documents == 31


def test_of_two_that_make_a_month_anew_the_later_one_finishes_and_the_other_ends_without_harm(
    index: ElasticsearchIndex, elasticsearch: ElasticsearchOptions, opening: Open
) -> None:
    _fill(index, 600)
    others: list[object] = []

    def take_over(_step: str, _done: int, _total: int) -> None:
        if not others:
            others.append(None)
            others.append(opening(elasticsearch).upkeep(CLOCK).reproject(MONTH, again, quiet))

    with pytest.raises(UsageError, match="Another process"):
        index.upkeep(CLOCK).reproject(MONTH, again, take_over)

    assert len(others) == 2
    assert _held(index) == _expected(600)
    assert index.put([entry(600, partition=0)]) == [Stored()]


def test_a_rebuild_does_not_take_a_half_made_month_for_an_empty_one(
    index: ElasticsearchIndex, through: ElasticsearchIndex, proxy: FaultProxy
) -> None:
    _fill(index, 300)
    proxy.script("/_block/write", status(503, "process_cluster_event_timeout_exception"))
    with pytest.raises(Unavailable):
        through.upkeep(CLOCK).reproject(MONTH, again, quiet)

    index.begin_rebuild()
    index.put([entry(0)])
    index.mark_complete()

    assert _held(index)[0] == [0]


def test_a_new_layout_gets_a_template_of_its_own_and_months_move_to_it(  # noqa: PLR0917 - fixtures
    index: ElasticsearchIndex,
    through: ElasticsearchIndex,
    proxy: FaultProxy,
    elasticsearch: ElasticsearchOptions,
    raw: RawElasticsearch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _fill(index, 30)
    proxy.script("/_block/write", status(503, "process_cluster_event_timeout_exception"))
    with pytest.raises(Unavailable):
        through.upkeep(CLOCK).reproject(MONTH, again, quiet)  # a copy in the layout of before, half made
    after = copy.deepcopy(mapping.MAPPING)
    after["_meta"]["trailseal_layout"] = 2
    after["properties"]["place"] = {"type": "keyword"}
    monkeypatch.setattr(mapping, "LAYOUT_VERSION", 2)
    monkeypatch.setattr(mapping, "MAPPING", after)
    upkeep = index.upkeep(CLOCK)
    with pytest.raises(PipelineFault, match="trailseal setup"):
        upkeep.reproject(MONTH, again, quiet)

    set_up_index(elasticsearch, replicas=0)
    assert [status.current for status in upkeep.months()] == [False]
    done = upkeep.reproject(MONTH, again, quiet)

    assert done.index == f"{elasticsearch.prefix}audit-{MONTH}-v2-000002"
    assert raw("GET", f"/{done.index}/_mapping")[done.index]["mappings"] == after
    assert f"{elasticsearch.prefix}audit-{MONTH}-v1-000002" not in raw.indices(elasticsearch.prefix)
    assert [status.current for status in upkeep.months()] == [True]
    assert index.put([entry(30), entry(31, at_us=JANUARY)]) == [Stored(), Stored()]
    assert _held(index)[0] == [*_expected(30)[0], 30, 31]
    assert [status.index[-9:] for status in upkeep.months()] == ["v2-000001", "v2-000002"]


def test_only_a_month_that_is_open_can_be_made_anew(
    index: ElasticsearchIndex, raw: RawElasticsearch, elasticsearch: ElasticsearchOptions
) -> None:
    with pytest.raises(UsageError, match="not in the index"):
        index.upkeep(CLOCK).reproject(MONTH, again, quiet)
    _fill(index, 3)
    raw("DELETE", f"/{elasticsearch.prefix}audit-{MONTH}-v1-000001")
    with pytest.raises(UsageError, match="trailseal rebuild"):
        index.upkeep(CLOCK).reproject(MONTH, again, quiet)
    assert [status.state for status in index.upkeep(CLOCK).months()] == ["missing"]
