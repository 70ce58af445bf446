"""The ledger on the real Elasticsearch: its contract, and what only this adapter can get wrong."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from conformance.ledger_contract import ErasableLedgerContract, LedgerContract, fresh_log, row, rows_of
from conformance.seal_contract import SealContract
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions, options_from_url
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger, set_up_ledger
from trailseal.errors import Fenced, PipelineFault, Unavailable, UsageError
from trailseal.model.outcomes import Delta, Totals
from trailseal.model.record import Position, Record

Opener = Callable[[], ElasticsearchLedger]


@pytest.fixture(scope="module")
def books(elasticsearch_url: str, raw: RawElasticsearch) -> Iterator[ElasticsearchOptions]:
    """One set of books for the whole module: no test of the contract needs empty ones."""
    options = options_from_url(f"{elasticsearch_url}?prefix=t{secrets.token_hex(5)}-")
    set_up_ledger(options, replicas=0)
    yield options
    raw.forget(options.prefix)


@pytest.fixture
def opener(books: ElasticsearchOptions) -> Iterator[Opener]:
    opened: list[ElasticsearchLedger] = []

    def open_one() -> ElasticsearchLedger:
        opened.append(ElasticsearchLedger(books))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def ledger(opener: Opener) -> ElasticsearchLedger:
    return opener()


def documents_of(raw: RawElasticsearch, books: ElasticsearchOptions, log: int) -> int:
    """How many rows have documents of their own."""
    raw("POST", f"/{books.prefix}trailseal-outcomes/_refresh")
    return raw("GET", f"/{books.prefix}trailseal-outcomes/_count?q=log:{log}")["count"]


class TestElasticsearchLedger(LedgerContract, ErasableLedgerContract):
    examples = 8
    rounds = 8

    @pytest.fixture
    def ledger(self, opener: Opener) -> ElasticsearchLedger:
        return opener()

    @pytest.fixture
    def second(self, opener: Opener) -> Opener:
        return opener

    @pytest.fixture
    def reopened(self, opener: Opener) -> Opener:
        return opener


class TestElasticsearchSeals(SealContract):
    @pytest.fixture
    def ledger(self, opener: Opener) -> ElasticsearchLedger:
        return opener()

    @pytest.fixture
    def second(self, opener: Opener) -> Opener:
        return opener


@pytest.mark.parametrize("count", [3, 700, 4_500])
def test_rows_count_before_they_have_documents_and_a_new_owner_finishes_them(
    ledger: ElasticsearchLedger, opener: Opener, raw: RawElasticsearch, books: ElasticsearchOptions, count: int
) -> None:
    head = ledger.open_partition(fresh_log(ledger), 0, 0)
    rows = [row(head, offset, "dead_letter") for offset in range(count)]
    head = ledger.advance(head, Delta(count, tuple(rows)))
    assert documents_of(raw, books, head.log) == 0

    owner = opener()
    assert rows_of(owner, head) == rows
    assert owner.totals(head.log, 0) == Totals(dead_letters=count)
    head = owner.advance(head, Delta(count + 1, (row(head, count),)))

    assert documents_of(raw, books, head.log) == count
    assert rows_of(ledger, head) == [*rows, row(head, count)]
    assert ledger.totals(head.log, 0) == Totals(dead_letters=count, duplicates=1)


@pytest.mark.parametrize("count", [3, 4_500])
def test_what_a_zombie_wrote_before_it_lost_is_never_seen(
    ledger: ElasticsearchLedger, opener: Opener, raw: RawElasticsearch, books: ElasticsearchOptions, count: int
) -> None:
    zombie = opener()
    head = ledger.open_partition(fresh_log(ledger), 0, 0)
    assert zombie.head(head.log, 0) == head
    true_rows = tuple(row(head, offset, "duplicate") for offset in range(count))
    moved = ledger.advance(head, Delta(count, true_rows))

    with pytest.raises(Fenced):
        zombie.advance(head, Delta(count, tuple(row(head, offset, "dead_letter") for offset in range(count))))
    moved = ledger.advance(moved, Delta(count + 1))

    assert rows_of(zombie, moved) == list(true_rows)
    assert documents_of(raw, books, head.log) == count
    assert zombie.totals(head.log, 0) == Totals(duplicates=count)


def test_a_zombie_that_lost_the_race_itself_leaves_orphans_and_nothing_else(
    ledger: ElasticsearchLedger, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie = opener()
    head = ledger.open_partition(fresh_log(ledger), 0, 0)
    rows = tuple(row(head, offset) for offset in range(900))
    replace = zombie._store.replace

    def late(name: str, body: bytes, version: str) -> str:
        ledger.advance(head, Delta(5, (row(head, 4, "gap"),)))
        return replace(name, body, version)

    monkeypatch.setattr(zombie._store, "replace", late)
    with pytest.raises(Fenced):
        zombie.advance(head, Delta(900, rows))

    current = ledger.head(head.log, 0)
    assert current is not None
    assert current.next == 5
    assert rows_of(zombie, current) == [row(head, 4, "gap")]
    assert ledger.advance(current, Delta(900, rows)).next == 900
    assert len(rows_of(zombie, current)) == 901


def test_chunks_go_when_their_rows_are_documents(
    ledger: ElasticsearchLedger, raw: RawElasticsearch, books: ElasticsearchOptions
) -> None:
    head = ledger.open_partition(fresh_log(ledger), 0, 0)
    head = ledger.advance(head, Delta(4_500, tuple(row(head, offset) for offset in range(4_500))))
    stored = raw("GET", f"/{books.prefix}trailseal-heads/_doc/head.{head.log}.0")["_source"]
    assert len(stored["chunks"]) == 3

    ledger.advance(head, Delta(4_501))

    for name in stored["chunks"]:
        assert raw("GET", f"/{books.prefix}trailseal-heads/_doc/{name}")["found"] is False


def test_a_ledger_that_was_never_set_up_is_an_error_and_makes_nothing(
    elasticsearch_options: ElasticsearchOptions, raw: RawElasticsearch
) -> None:
    ledger = ElasticsearchLedger(elasticsearch_options)
    record = Record(Position(1, 0, 0), 1, None, b"x")
    try:
        for call in (
            lambda: ledger.register_log("a"),
            lambda: ledger.head(1, 0),
            lambda: ledger.heads(1),
            lambda: ledger.put_document("a", b"", None),
            lambda: ledger.documents(""),
            lambda: ledger.keep([record]),
            lambda: ledger.kept(record.position),
            lambda: ledger.seals.keep_tiles({b"r" * 32: b"t"}),
            lambda: ledger.seals.tile(b"r" * 32),
            lambda: ledger.seals.put_checkpoint(1, 0, 1, b"n"),
            lambda: ledger.seals.checkpoint(1, 0),
        ):
            with pytest.raises(PipelineFault):
                call()
    finally:
        ledger.close()
    assert raw.indices(elasticsearch_options.prefix) == []


def test_a_ledger_for_reading_refuses_to_write(books: ElasticsearchOptions, ledger: ElasticsearchLedger) -> None:
    head = ledger.open_partition(fresh_log(ledger), 0, 0)
    reader = ElasticsearchLedger(books, read_only=True)
    try:
        assert reader.head(head.log, 0) == head
        for call in (
            lambda: reader.advance(head, Delta(1)),
            lambda: reader.register_log("a"),
            lambda: reader.put_document("a", b"", None),
            lambda: reader.delete_document("a", "1.1"),
            lambda: reader.keep([]),
            lambda: reader.seals.keep_tiles({}),
            lambda: reader.seals.put_checkpoint(head.log, 0, 1, b"n"),
            lambda: reader.seals.add_signatures(head.log, 0, 1, []),
        ):
            with pytest.raises(UsageError):
                call()
    finally:
        reader.close()


def test_a_ledger_that_is_not_there_is_unavailable() -> None:
    ledger = ElasticsearchLedger(ElasticsearchOptions((("127.0.0.1", 1),)))
    try:
        with pytest.raises(Unavailable):
            ledger.head(1, 0)
        with pytest.raises(Unavailable):
            ledger.put_document("a", b"", None)
    finally:
        ledger.close()
