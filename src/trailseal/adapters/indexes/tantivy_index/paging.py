"""Pages in the exact order of `SortKey`, as fast a million rows deep as at the top.

A page is gathered from windows of time (`buckets.windows`); inside one, tantivy sorts by the timestamp. It breaks
ties as it likes, so events of one instant are always taken together and sorted here (`ties`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import tantivy
from tantivy import Occur, Order

from trailseal.adapters.indexes.tantivy_index.buckets import Range, Window, windows
from trailseal.adapters.indexes.tantivy_index.comparing import Comparison
from trailseal.adapters.indexes.tantivy_index.queries import QueryBuilder
from trailseal.adapters.indexes.tantivy_index.schema import BLOCK, PARTITION_BITS, block_term
from trailseal.adapters.indexes.tantivy_index.ties import Ties, key_of
from trailseal.model.projection import Entry, SortKey
from trailseal.model.query import Count, Query
from trailseal.ports.index import Inventory

_FIRST_WINDOW: Final = 1_024
_FEW: Final = 1_024
"""Matches up to which all of them are sorted by time, wherever they are: cheaper than windows."""
_LOWEST_US: Final = -(2**62)
_HIGHEST_US: Final = 2**62
_BLOCKS_AT_ONCE: Final = 16
_PARTITIONS: Final = 60_000

_Found = tuple[int, tantivy.DocAddress]


class View:
    """One state of the index; a page, a count and a list of offsets are each found in one view."""

    def __init__(
        self, index: tantivy.Index, schema: tantivy.Schema, searcher: tantivy.Searcher, ties: Ties, generation: int
    ) -> None:
        self._searcher = searcher
        self._builder = QueryBuilder(index, schema, searcher)
        self._comparison = Comparison(schema, searcher)
        self._ties, self._generation = ties, generation
        self._years = tuple(sorted(int(term[1:]) for term, _ in searcher.terms_with_prefix("bucket", "y")))

    def page(self, query: Query, after: SortKey | None, limit: int) -> list[SortKey]:
        """The next ``limit`` keys of the query, strictly past ``after``."""
        found = self._builder.build(query)
        first, stop = _bounds(query)
        if found is None or limit <= 0 or first >= stop:
            return []
        newest_first = query.order == "desc"
        rows: list[SortKey] = []
        if after is not None:
            if first <= after.timestamp_us < stop:
                rows = _past(self._group(query, found, after.timestamp_us), after, limit, newest_first=newest_first)
            if newest_first:
                stop = min(stop, after.timestamp_us)
            else:
                first = max(first, after.timestamp_us + 1)
        if len(rows) < limit and first < stop:
            rows += self._walk(query, found, first, stop, limit - len(rows))
        return rows

    def count(self, query: Query, ceiling: int | None) -> Count:
        """See `EventIndex.count`; with a ceiling, in windows until it is passed."""
        found = self._builder.build(query)
        first, stop = _bounds(query)
        if found is None or first >= stop:
            return Count(0)
        if query.time_from_us is None and query.time_to_us is None and ceiling is None:
            return Count(self._count(found))
        total = 0
        wanted = self._searcher.num_docs + 1 if ceiling is None else max(_FIRST_WINDOW, 2 * ceiling)
        for window in self._windows(first, stop, wanted, newest_first=True):
            total += self._count(self._inside(found, window))
            if ceiling is not None and total > ceiling:
                return Count(ceiling, exact=False)
        return Count(total)

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """See `EventIndex.offsets`."""
        start = max(start, 0)
        if start >= stop:
            return []
        blocks = self._blocks(log, partition, start, stop)
        found: list[int] = []
        for at in range(0, len(blocks), _BLOCKS_AT_ONCE):
            some = blocks[at : at + _BLOCKS_AT_ONCE]
            most = sum(self._searcher.doc_freq("block", term) for term in some)
            hits = self._searcher.search(
                self._builder.terms("block", some), most, count=False, order_by_field="offset", order=Order.Asc
            ).hits
            found += [offset for offset, _ in hits if start <= offset < stop]
        return found

    def compare(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.compare`."""
        return self._comparison.differences(entries)

    def held(self, log: int, partition: int, start: int, stop: int) -> Counter[str]:
        """See `EventIndex.held`."""
        return self._comparison.held(log, partition, start, stop)

    def beside(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.beside`."""
        return self._comparison.beside(entries)

    def inventory(self) -> Inventory:
        """See `EventIndex.inventory`."""
        by_partition = {"by": {"terms": {"field": "partition", "size": _PARTITIONS}}}
        buckets = self._searcher.aggregate(tantivy.Query.all_query(), by_partition)["by"]["buckets"]
        documents = {divmod(int(one["key"]), 1 << PARTITION_BITS): int(one["doc_count"]) for one in buckets}
        return Inventory(documents, max(self._searcher.num_docs - sum(documents.values()), 0))

    def _blocks(self, log: int, partition: int, start: int, stop: int) -> list[str]:
        """The terms of the blocks in [start, stop) that hold anything, ascending."""
        first, last = start // BLOCK, (stop - 1) // BLOCK
        if last - first < _BLOCKS_AT_ONCE:
            terms = [block_term(log, partition, block * BLOCK) for block in range(first, last + 1)]
            return [term for term in terms if self._searcher.doc_freq("block", term)]
        every = self._searcher.terms_with_prefix("block", f"{log}/{partition}/")
        numbers = sorted(int(term.rpartition("/")[2]) for term, _ in every)
        return [block_term(log, partition, block * BLOCK) for block in numbers if first <= block <= last]

    def _walk(self, query: Query, found: tantivy.Query, first: int, stop: int, limit: int) -> list[SortKey]:
        newest_first = query.order == "desc"
        matches = self._builder.at_most(query)
        if matches <= _FEW:
            return self._few(query, found, (first, stop), limit) if matches else []
        rows: list[SortKey] = []
        share = self._searcher.num_docs // matches + 1
        for window in self._windows(first, stop, max(_FIRST_WINDOW, 2 * limit * share), newest_first=newest_first):
            rows += self._top(query, found, self._inside(found, window), limit - len(rows))
            if len(rows) >= limit:
                break
        return rows

    def _windows(self, first: int, stop: int, wanted: int, *, newest_first: bool) -> Iterator[Window]:
        searcher = self._searcher

        def count_of(term: str) -> int:
            return searcher.doc_freq("bucket", term)

        walk = windows(first, stop, self._years, count_of, newest_first=newest_first, wanted=wanted)
        return (window for window in walk if window.terms or window.edges)

    def _inside(self, found: tantivy.Query, window: Window) -> tantivy.Query:
        times = self._builder.times(window.terms, window.edges)
        return tantivy.Query.boolean_query([(Occur.Must, found), (Occur.Must, times)])

    def _few(self, query: Query, found: tantivy.Query, times: Range, limit: int) -> list[SortKey]:
        """The first ``limit`` keys of a query that matches few events, all of which are looked at."""
        hits = [hit for hit in self._sorted(query, found, _FEW) if times[0] <= hit[0] < times[1]]
        return self._keys(query, found, hits[: limit + 1], limit)

    def _top(self, query: Query, found: tantivy.Query, inside: tantivy.Query, limit: int) -> list[SortKey]:
        """The first ``limit`` keys of what matches ``inside``, a part of ``found`` with whole instants."""
        return self._keys(query, found, self._sorted(query, inside, limit + 1), limit)

    def _sorted(self, query: Query, inside: tantivy.Query, limit: int) -> list[_Found]:
        order = Order.Desc if query.order == "desc" else Order.Asc
        return self._searcher.search(inside, limit, count=False, order_by_field="timestamp", order=order).hits

    def _keys(self, query: Query, found: tantivy.Query, hits: list[_Found], limit: int) -> list[SortKey]:
        """The first ``limit`` keys; one hit more than that says that the last instant may be cut in two."""
        newest_first = query.order == "desc"
        edge = hits[-1][0] if len(hits) > limit else None
        rows = [key_of(self._searcher, value, address) for value, address in hits if value != edge]
        rows.sort(reverse=newest_first)
        if edge is not None and len(rows) < limit:
            rows += _past(self._group(query, found, edge), None, limit - len(rows), newest_first=newest_first)
        return rows

    def _group(self, query: Query, found: tantivy.Query, timestamp_us: int) -> list[SortKey]:
        """Every match of one instant, ascending."""
        known = self._ties.of(query, timestamp_us, self._generation)
        if known is not None:
            return known
        most = self._searcher.doc_freq("timestamp", timestamp_us)
        if not most:
            return []
        instant = tantivy.Query.boolean_query(
            [(Occur.Must, self._builder.instant(timestamp_us)), (Occur.Must, found)]
        )
        hits = self._searcher.search(instant, most, count=False, order_by_field="timestamp").hits
        addresses = [address for _, address in hits]
        return self._ties.sort(query, timestamp_us, self._generation, self._searcher, addresses)

    def _count(self, query: tantivy.Query) -> int:
        result = self._searcher.search(query, 1, count=True)
        value: int = result.count  # type: ignore[attr-defined]  # the stub of SearchResult lacks it
        return value


def _bounds(query: Query) -> tuple[int, int]:
    first = _LOWEST_US if query.time_from_us is None else query.time_from_us
    return first, _HIGHEST_US if query.time_to_us is None else query.time_to_us


def _past(group: list[SortKey], after: SortKey | None, limit: int, *, newest_first: bool) -> list[SortKey]:
    """The next ``limit`` of an ascending group past ``after``, in the order asked for."""
    if newest_first:
        end = len(group) if after is None else bisect_left(group, after)
        return group[max(0, end - limit) : end][::-1]
    start = 0 if after is None else bisect_right(group, after)
    return group[start : start + limit]
