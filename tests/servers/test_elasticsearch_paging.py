"""Pages over months and time windows: every row once, whatever the cuts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from servers.entries import JANUARY, NOVEMBER, entry
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.indexes.elasticsearch import ElasticsearchIndex, windows
from trailseal.adapters.ledgers.elasticsearch import ElasticsearchLedger
from trailseal.model.projection import Entry, SortKey
from trailseal.model.query import Order, Query
from trailseal.ports.index import Stored

TIMES = (0, 0, 0, 1, 2, 1_000, 10**6, 10**9, 10**12)


@pytest.fixture
def index(elasticsearch: ElasticsearchOptions, ledger: ElasticsearchLedger) -> Iterator[ElasticsearchIndex]:
    opened = ElasticsearchIndex(elasticsearch, ledger)
    yield opened
    opened.close()


@pytest.fixture
def entries(index: ElasticsearchIndex) -> list[Entry]:
    """Three hundred events in several months, many at the same microsecond."""
    chosen = random.Random(7)
    made = [
        entry(
            offset,
            partition=offset % 3,
            tenant=chosen.choice(("a", "b", "é", "z")),
            at_us=chosen.choice((JANUARY, NOVEMBER, NOVEMBER - 5_000_000_000_000)) + chosen.choice(TIMES),
        )
        for offset in range(300)
    ]
    assert index.put(made) == [Stored()] * len(made)
    index.refresh()
    return made


def pages(index: ElasticsearchIndex, query: Query, limit: int) -> list[SortKey]:
    found: list[SortKey] = []
    while True:
        page = index.search(query, found[-1] if found else None, limit)
        found += [hit.key for hit in page]
        if len(page) < limit:
            return found


@pytest.mark.parametrize("small", [0, windows.SMALL])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_show_every_row_once_and_in_order(
    index: ElasticsearchIndex, entries: list[Entry], order: Order, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SMALL", small)
    keys = sorted((one.projection.sort_key for one in entries), reverse=order == "desc")

    for limit in (1, 7, 100, 1_000):
        wanted = keys[:20] if limit == 1 else keys
        assert pages(index, Query(order=order), limit)[: len(wanted)] == wanted
    for first, stop in (
        (NOVEMBER, NOVEMBER + 2),
        (JANUARY + 1, NOVEMBER),
        (NOVEMBER + 1, None),
        (None, JANUARY + 1),
    ):
        query = Query(order=order, time_from_us=first, time_to_us=stop)
        inside = [
            key
            for key in keys
            if (first is None or key.timestamp_us >= first) and (stop is None or key.timestamp_us < stop)
        ]
        assert pages(index, query, 13) == inside
        assert index.count(query).value == len(inside)


def test_a_window_that_was_cut_by_an_old_view_hides_nothing(
    index: ElasticsearchIndex, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SMALL", 0)
    assert len(index.search(Query(), None, 5)) == 5
    newer = entry(1_000, at_us=max(one.projection.timestamp_us for one in entries) + 1)
    older = entry(1_001, at_us=min(one.projection.timestamp_us for one in entries) - 1)
    index.put([newer, older])
    index.refresh()

    assert index.search(Query(), None, 1)[0].key == newer.projection.sort_key
    assert index.search(Query(order="asc"), None, 1)[0].key == older.projection.sort_key


def test_offsets_are_listed_past_one_page_and_repeated_where_two_documents_claim_one(
    index: ElasticsearchIndex,
) -> None:
    many = [entry(offset, at_us=(JANUARY, NOVEMBER)[offset % 2]) for offset in range(10_050)]
    index.put(many)
    index.put([entry(5, event_id="another", at_us=NOVEMBER), entry(7, partition=1)])
    index.refresh()

    assert index.offsets(1, 0, 0, 20_000) == sorted([*range(10_050), 5])
    assert index.offsets(1, 0, 3, 7) == [3, 4, 5, 5, 6]
    assert index.offsets(1, 1, 0, 20_000) == [7]
    assert index.offsets(2, 0, 0, 20_000) == []
    assert index.offsets(1, 0, 7, 7) == []
