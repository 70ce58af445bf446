"""Pages in the exact order of `SortKey`, as fast a million rows deep as at the top.

A page is gathered from windows of time (`buckets.windows`); inside one, tantivy sorts by the timestamp. It breaks
ties as it likes, so events of one instant are always taken together and sorted here; a large group of them is kept
for the next page, as long as the index has not changed.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

import tantivy
from tantivy import Occur, Order

from trailseal.adapters.indexes.tantivy_folder.buckets import bucket_terms, windows
from trailseal.adapters.indexes.tantivy_folder.queries import QueryBuilder
from trailseal.adapters.indexes.tantivy_folder.schema import read_identity
from trailseal.model.projection import SortKey
from trailseal.model.query import Query

_FIRST_WINDOW: Final = 1_024
_LARGE_GROUP: Final = 512
_GROUPS_KEPT: Final = 8
_LOWEST_US: Final = -(2**62)
_HIGHEST_US: Final = 2**62


class View:
    """One state of the index; a page is found in one view."""

    def __init__(self, searcher: tantivy.Searcher, builder: QueryBuilder) -> None:
        self.searcher = searcher
        self.builder = builder
        self._years: tuple[int, ...] | None = None
        self._groups: OrderedDict[tuple[Query, int], list[SortKey]] = OrderedDict()
        self._lock = Lock()

    @property
    def years(self) -> tuple[int, ...]:
        """The years that hold anything, ascending."""
        if self._years is None:
            self._years = tuple(sorted(int(term[1:]) for term, _ in self.searcher.terms_with_prefix("bucket", "y")))
        return self._years

    def page(self, query: Query, after: SortKey | None, limit: int) -> list[SortKey]:
        """The next ``limit`` keys of the query, strictly past ``after``."""
        found = self.builder.build(query)
        first = _LOWEST_US if query.time_from_us is None else query.time_from_us
        stop = _HIGHEST_US if query.time_to_us is None else query.time_to_us
        if found is None or limit <= 0 or first >= stop:
            return []
        newest_first = query.order == "desc"
        rows: list[SortKey] = []
        if after is not None:
            if first <= after.timestamp_us < stop:
                group = self._group(query, found, after.timestamp_us)
                rows = [key for key in group if (key < after if newest_first else key > after)][:limit]
            if newest_first:
                stop = min(stop, after.timestamp_us)
            else:
                first = max(first, after.timestamp_us + 1)
        if len(rows) < limit and first < stop:
            rows += self._walk(query, found, first, stop, limit - len(rows))
        return rows

    def _walk(self, query: Query, found: tantivy.Query, first: int, stop: int, limit: int) -> list[SortKey]:
        rows: list[SortKey] = []
        newest_first = query.order == "desc"
        walk = windows(
            first, stop, self.years, self._count_of, newest_first=newest_first, wanted=max(_FIRST_WINDOW, 2 * limit)
        )
        for window in walk:
            parts = [(Occur.Must, found), (Occur.Must, self.builder.terms("bucket", window.terms))]
            if window.start_us == first or window.end_us == stop:
                parts.append((Occur.Must, self.builder.between(window.start_us, window.end_us)))
            rows += self._top(query, found, tantivy.Query.boolean_query(parts), limit - len(rows))
            if len(rows) >= limit:
                break
        return rows

    def _count_of(self, term: str) -> int:
        return self.searcher.doc_freq("bucket", term)

    def _top(self, query: Query, found: tantivy.Query, inside: tantivy.Query, limit: int) -> list[SortKey]:
        newest_first = query.order == "desc"
        order = Order.Desc if newest_first else Order.Asc
        hits = self.searcher.search(inside, limit + 1, count=False, order_by_field="timestamp", order=order).hits
        if len(hits) <= limit:
            return sorted((self._key(value, address) for value, address in hits), reverse=newest_first)
        edge: int = hits[-1][0]
        rows = sorted((self._key(value, address) for value, address in hits if value != edge), reverse=newest_first)
        return (rows + self._group(query, found, edge))[:limit] if len(rows) < limit else rows[:limit]

    def _group(self, query: Query, found: tantivy.Query, timestamp_us: int) -> list[SortKey]:
        """Every match of one instant, in the query's order."""
        name = (query, timestamp_us)
        with self._lock:
            kept = self._groups.get(name)
        if kept is not None:
            return kept
        instant = tantivy.Query.boolean_query(
            [
                (Occur.Must, found),
                (Occur.Must, self.builder.terms("bucket", [bucket_terms(timestamp_us).rpartition(" ")[2]])),
                (Occur.Must, self.builder.between(timestamp_us, timestamp_us + 1)),
            ]
        )
        most = max(1, self._count_of(bucket_terms(timestamp_us).rpartition(" ")[2]))
        hits = self.searcher.search(instant, most, count=False, order_by_field="timestamp").hits
        group = sorted((self._key(value, address) for value, address in hits), reverse=query.order == "desc")
        if len(group) >= _LARGE_GROUP:
            with self._lock:
                self._groups[name] = group
                while len(self._groups) > _GROUPS_KEPT:
                    self._groups.popitem(last=False)
        return group

    def _key(self, timestamp_us: int, address: tantivy.DocAddress) -> SortKey:
        identity = read_identity(self.searcher.doc(address)["stored"][0])
        return SortKey(timestamp_us, identity.tenant_id, identity.id, identity.position)
