"""Pages, counts and positions: complete answers or `Unavailable`, never a part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from trailseal.adapters.elasticsearch.connection import Answer, Connection, decoded, error_type
from trailseal.adapters.elasticsearch.records import rebuilt_record
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.answers import (
    BY_PARTITION,
    COUNT_ANSWER,
    INVENTORY_ANSWER,
    OFFSET_ANSWER,
    PAGE_ANSWER,
    SPREAD_ANSWER,
    PageHit,
    Shards,
)
from trailseal.adapters.indexes.elasticsearch.filters import NOT_ERASED, Clause, query_clause
from trailseal.adapters.indexes.elasticsearch.months import Months
from trailseal.adapters.indexes.elasticsearch.windows import Spread, Window, windows
from trailseal.errors import Rebuilding, Unavailable
from trailseal.model.projection import Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.model.record import Position
from trailseal.model.timestamps import month
from trailseal.ports.index import Inventory

PAGE: Final = 10_000
_SORT_FIELDS: Final = ("timestamp", "tenant_id", "id", "log", "partition", "offset")
_FIRST_GROUP: Final = 4
_MAX_GROUP: Final = 64
_SPREAD_TTL_S: Final = 10.0
_SPREADS: Final = 1_000
_EXTREMES: Final = {"oldest": {"min": {"field": "timestamp"}}, "newest": {"max": {"field": "timestamp"}}}
_LAST_US: Final = 253_402_300_799_999_999
_CLIENT_ERRORS: Final = frozenset(range(400, 500)) - {401, 403}
_NOT_FOUND: Final = 404


_T = TypeVar("_T")
_COMPLETENESS: Final = "timed_out,_shards.total,_shards.successful,_shards.failed"


class _MonthGone(Unavailable):
    """A month that the register names has no index: dropped since the register was read, or missing."""


class Searcher:
    """Asks the months that a question touches, newest (or oldest) first. Safe to use from many threads."""

    def __init__(self, connection: Connection, months: Months) -> None:
        self._connection = connection
        self._months = months
        self._spreads: dict[str, tuple[float, Spread]] = {}

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        """See `EventIndex.search`."""
        if limit <= 0:
            return []
        return self._with_register(query, after, lambda months: self._page(query, after, limit, months))

    def count(self, query: Query, ceiling: int | None) -> Count:
        """See `EventIndex.count`."""
        return self._with_register(query, None, lambda months: self._count(query, ceiling, months))

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """See `EventIndex.offsets`."""
        if start >= stop:
            return []
        return self._with_register(
            Query(), None, lambda months: self._offsets(log, partition, (start, stop), months)
        )

    def inventory(self) -> Inventory:
        """See `EventIndex.inventory`."""
        return self._with_register(Query(), None, self._inventory)

    def _with_register(self, query: Query, after: SortKey | None, ask: Callable[[Sequence[str]], _T]) -> _T:
        """Ask the open months; once more with a fresh register where one is gone, for it may have been dropped."""
        for fresh in (False, True):
            register = self._months.register(fresh=fresh)
            if register.rebuilding:
                raise Rebuilding("the index is being rebuilt from the log; searches answer when it is done")
            if query.tenants == ():
                return ask([])
            try:
                return ask(_touched(register.open_months, query, after))
            except _MonthGone:
                if fresh:
                    raise
        raise AssertionError

    def _page(self, query: Query, after: SortKey | None, limit: int, months: Sequence[str]) -> list[Hit]:
        order = query.order
        hits: list[Hit] = []
        for group in _groups(months if order == "asc" else months[::-1]):
            for window in windows(self._spread(group), query, after, limit):
                hits.extend(self._window(group, query, after, limit - len(hits), window))
                if len(hits) >= limit:
                    return hits
        return hits

    def _window(
        self, group: Sequence[str], query: Query, after: SortKey | None, limit: int, window: Window
    ) -> Iterator[Hit]:
        body: dict[str, Any] = {
            "size": limit,
            "query": query_clause(query, after, window),
            "sort": [{name: query.order} for name in _SORT_FIELDS],
            "track_total_hits": False,
            "_source": ["record"],
        }
        if after is not None:
            body["search_after"] = _sort_values(after)
        answer = self._ask(group, body, "hits.hits._source.record,hits.hits.sort")
        page = decoded(PAGE_ANSWER, answer, "a search")
        _check(page.timed_out, page.shards)
        return map(_hit, page.hits.hits)

    def _spread(self, group: Sequence[str]) -> Spread:
        """How the months' documents lie in time, as of at most `_SPREAD_TTL_S` ago; it only guides the cutting."""
        name = ",".join(group)
        known = self._spreads.get(name)
        if known is not None and time.monotonic() - known[0] < _SPREAD_TTL_S:
            return known[1]
        body = {"size": 0, "track_total_hits": True, "aggs": _EXTREMES}
        found = decoded(SPREAD_ANSWER, self._ask(group, body, "hits.total.value,aggregations.*.value"), "a search")
        _check(found.timed_out, found.shards)
        oldest, newest = found.aggregations.oldest.value, found.aggregations.newest.value
        documents = 0 if oldest is None or newest is None else found.hits.total.value
        spread = Spread(documents, int(oldest or 0), int(newest or 0))
        if len(self._spreads) >= _SPREADS:
            self._spreads.clear()
        self._spreads[name] = (time.monotonic(), spread)
        return spread

    def _count(self, query: Query, ceiling: int | None, months: Sequence[str]) -> Count:
        value = 0
        for group in _groups(months[::-1]):
            left = True if ceiling is None else max(ceiling - value, 1)
            body = {"size": 0, "query": query_clause(query), "track_total_hits": left}
            answer = self._ask(group, body, "hits.total")
            counted = decoded(COUNT_ANSWER, answer, "a count")
            _check(counted.timed_out, counted.shards)
            value += counted.hits.total.value
            if ceiling is not None and (value > ceiling or counted.hits.total.relation != "eq"):
                return Count(ceiling, exact=False)
        return Count(value)

    def _offsets(self, log: int, partition: int, span: tuple[int, int], months: Sequence[str]) -> list[int]:
        found: list[int] = []
        for group in _groups(months):
            found.extend(self._group_offsets(log, partition, span, group))
        return sorted(found)

    def _group_offsets(
        self, log: int, partition: int, span: tuple[int, int], group: Sequence[str]
    ) -> Iterator[int]:
        within: list[Clause] = [
            {"range": {"offset": {"gte": span[0], "lt": span[1]}}},
            {"term": {"log": log}},
            {"term": {"partition": partition}},
        ]
        body: dict[str, Any] = {
            "size": PAGE,
            "query": {"bool": {"filter": within, "must_not": [NOT_ERASED]}},
            "sort": [{"offset": "asc"}, {"timestamp": "asc"}, {"tenant_id": "asc"}, {"id": "asc"}],
            "track_total_hits": False,
            "_source": False,
        }
        while True:
            answer = decoded(OFFSET_ANSWER, self._ask(group, body, "hits.hits.sort"), "a list of offsets")
            _check(answer.timed_out, answer.shards)
            yield from (hit.sort[0] for hit in answer.hits.hits)
            if len(answer.hits.hits) < PAGE:
                return
            body["search_after"] = answer.hits.hits[-1].sort

    def _inventory(self, months: Sequence[str]) -> Inventory:
        documents: dict[tuple[int, int], int] = {}
        total = 0
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": {"bool": {"must_not": [NOT_ERASED]}},
            "aggs": BY_PARTITION,
        }
        for group in _groups(months):
            answer = self._ask(group, dict(body), "hits.total,aggregations")
            counted = decoded(INVENTORY_ANSWER, answer, "an inventory")
            _check(counted.timed_out, counted.shards)
            total += counted.hits.total.value
            for log in counted.aggregations.logs.buckets:
                for one in log.partitions.buckets:
                    documents[log.key, one.key] = documents.get((log.key, one.key), 0) + one.doc_count
        return Inventory(documents, total - sum(documents.values()))

    def _ask(self, group: Sequence[str], body: dict[str, Any], wanted: str) -> Answer:
        names = ",".join(mapping.alias_name(self._connection.prefix, name) for name in group)
        timeout = self._connection.options.search_timeout_s
        body["timeout"] = f"{round(timeout * 1000)}ms"
        target = (
            f"/{names}/_search?allow_partial_search_results=false&ignore_unavailable=false&allow_no_indices=false"
            f"&filter_path={_COMPLETENESS},{wanted}"
        )
        answer = self._connection.ask(
            target, msgspec.json.encode(body), what="a search", allow=_CLIENT_ERRORS, timeout_s=timeout + 1
        )
        if answer.ok:
            return answer
        if answer.status == _NOT_FOUND:
            raise _MonthGone("a month that the register names is missing from Elasticsearch: no complete answer")
        raise Unavailable(f"Elasticsearch refused a search ({answer.status} {error_type(answer.body)})")


def _touched(months: Sequence[str], query: Query, after: SortKey | None) -> list[str]:
    """The months that can hold an answer, oldest first."""
    first, last = query.time_from_us, query.time_to_us
    if after is not None and query.order == "asc":
        first = after.timestamp_us if first is None else max(first, after.timestamp_us)
    if after is not None and query.order == "desc":
        last = after.timestamp_us + 1 if last is None else min(last, after.timestamp_us + 1)
    lowest = "" if first is None else _month(first)
    highest = "~" if last is None else _month(last - 1)
    return [name for name in months if lowest <= name <= highest]


def _month(timestamp_us: int) -> str:
    return month(min(max(timestamp_us, 0), _LAST_US))


def _groups(months: Sequence[str]) -> Iterator[Sequence[str]]:
    """A few months first, then more and more: most pages are full after the first few."""
    start, size = 0, _FIRST_GROUP
    while start < len(months):
        yield months[start : start + size]
        start, size = start + size, min(size * 4, _MAX_GROUP)


def _sort_values(key: SortKey) -> list[int | str]:
    position = key.position
    return [key.timestamp_us, key.tenant_id, key.id, position.log, position.partition, position.offset]


def _hit(found: PageHit) -> Hit:
    timestamp, tenant, event_id, log, partition, offset = found.sort
    position = Position(log, partition, offset)
    return Hit(SortKey(timestamp, tenant, event_id, position), rebuilt_record(position, found.source.record))


def _check(timed_out: bool, shards: Shards) -> None:
    if timed_out:
        raise Unavailable("Elasticsearch ran out of time over a search; narrow it, or try again")
    if shards.failed or shards.successful < shards.total:
        raise Unavailable(f"{shards.failed} of {shards.total} shards could not answer a search; try again")
