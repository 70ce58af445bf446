"""Documents by the position of their record: read back whole, or emptied for good.

A search by conditions goes through `searching`; here a document is asked for by where its record stood in the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkLimits, BulkWriter
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.elasticsearch.records import StoredRecord, rebuilt_record
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.answers import Shards
from trailseal.adapters.indexes.elasticsearch.documents import index_line
from trailseal.adapters.indexes.elasticsearch.filters import NOT_ERASED, Clause
from trailseal.adapters.indexes.elasticsearch.months import Months
from trailseal.adapters.indexes.elasticsearch.stocktaking import counts, refreshed
from trailseal.errors import PipelineFault, Rebuilding, Unavailable
from trailseal.model.record import Int64, Position, Record

_AT_ONCE: Final = 1_000
_NAMES_AT_ONCE: Final = 32
_PAGE_FIRST: Final = 100
_PAGE_MOST: Final = 2_000
_PAGE_BYTES: Final = 8 << 20
_SORT: Final = ("offset", "timestamp", "tenant_id", "id")
_DONE: Final = frozenset({200, 201})
_EVERY: Final[Clause] = {"range": {"offset": {"gte": 0}}}
_READING: Final = "a reading of stored records"
_LISTING: Final = "a list of the month indices"
_GONE: Final = frozenset({404})


class _Source(msgspec.Struct, frozen=True, gc=False):
    log: Int64
    partition: Int64
    offset: Int64
    record: StoredRecord | None = None


class _Hit(msgspec.Struct, frozen=True, gc=False):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    source: _Source = msgspec.field(name="_source")
    sort: list[int | str] = []


class _Hits(msgspec.Struct, frozen=True, gc=False):
    hits: list[_Hit] = []


class _Page(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")
    hits: _Hits = _Hits()


class _Blocks(msgspec.Struct, frozen=True, gc=False):
    write: str | None = None


class _IndexBlocks(msgspec.Struct, frozen=True, gc=False):
    blocks: _Blocks = _Blocks()


class _IndexSettings(msgspec.Struct, frozen=True, gc=False):
    index: _IndexBlocks = _IndexBlocks()


class _Index(msgspec.Struct, frozen=True, gc=False):
    aliases: dict[str, msgspec.Raw] = {}
    settings: _IndexSettings = _IndexSettings()

    @property
    def blocked(self) -> bool:
        """Whether writes are refused."""
        return self.settings.index.blocks.write == "true"


class _Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What is left under the id of a document that was emptied."""

    log: int
    partition: int
    offset: int
    erased: bool = True


_PAGE: Final = msgspec.json.Decoder(_Page)
_INDICES: Final = msgspec.json.Decoder(dict[str, _Index])


@dataclass(frozen=True, slots=True)
class _Places:
    """Offsets of one partition, as a filter."""

    log: int
    partition: int
    offsets: Clause

    @property
    def clause(self) -> Clause:
        """Living documents of these offsets."""
        within = [self.offsets, {"term": {"log": self.log}}, {"term": {"partition": self.partition}}]
        return {"bool": {"filter": within, "must_not": [NOT_ERASED]}}


class PlacedDocuments:
    """The month indices' documents by position. Safe to use from many threads."""

    def __init__(self, connection: Connection, months: Months, limits: BulkLimits) -> None:
        self._connection, self._months, self._limits = connection, months, limits

    def records(self, log: int, partition: int, start: int, stop: int) -> Iterator[Record]:
        """See `RecordKeeper.records`."""
        places = _Places(log, partition, {"range": {"offset": {"gte": start, "lt": stop}}})
        yield from self._records(places)

    def records_at(self, positions: Sequence[Position]) -> Iterator[Record]:
        """See `RecordKeeper.records_at`."""
        for places in _by_partition(positions):
            yield from self._records(places)

    def _records(self, places: _Places) -> Iterator[Record]:
        register = self._months.register(fresh=True)
        if register.rebuilding:
            raise Rebuilding("the index is being rebuilt from the log; its records are read when it is done")
        names = [mapping.alias_name(self._connection.prefix, name) for name in register.open_months]
        for hit in self._hits(names, places, ("log", "partition", "offset", "record")):
            if hit.source.record is not None:
                yield rebuilt_record(_position(hit), hit.source.record)

    def erase(self, positions: Sequence[Position]) -> None:
        """Leave nothing of these documents but a name that is taken; see `ErasableIndex.erase`.

        Every index of a month that there is, whether it is in use, was replaced, or is being made.

        Raises:
            PipelineFault: a month is missing from the cluster.
            Unavailable: not done, or not all of it; call again.
        """
        indices = self._all_indices()
        free = [name for name, found in indices.items() if not found.blocked]
        shut = [name for name, found in indices.items() if found.blocked]
        if any(indices[name].aliases for name in shut):
            raise Unavailable("a month is blocked while it is re-projected; documents are erased when it is done")
        bulk = BulkWriter(self._connection, self._limits, require_alias=False)
        try:
            self._empty(bulk, free, positions)
            for name in shut:
                self._empty_blocked(bulk, name, positions)
        finally:
            bulk.close()

    def drop(self, month: str, positions: Sequence[Position]) -> None:
        """Erase documents of one month; if nothing else lives in it, by deleting its indices.

        Raises:
            PipelineFault: a month is missing from the cluster.
            Unavailable: not done, or not all of it; call again.
        """
        register = self._months.register(fresh=True)
        entry = register.months.get(month)
        if entry is None:
            return
        if month in register.reprojecting:
            raise Unavailable(f"the month {month} is being re-projected; it is dropped when that is done")
        if entry.state == "open":
            alias = mapping.alias_name(self._connection.prefix, month)
            indices = self._all_indices()
            refreshed(self._connection, alias)
            if not self._holds_only(alias, positions):
                self.erase(positions)
                if not self._holds_only(alias, ()):
                    return
        else:
            indices = self._all_indices()
        self._months.drop(month)
        begins = f"{mapping.alias_name(self._connection.prefix, month)}-v"
        for name in indices:
            if name.startswith(begins):
                self._connection.request("DELETE", f"/{name}", what=f"deleting {name}", allow=_GONE)

    def _holds_only(self, alias: str, positions: Sequence[Position]) -> bool:
        """Whether every living document is of one of these positions."""
        held = counts(self._connection, alias)
        living = {place for place, count in held.documents.items() if count > held.erased.get(place, 0)}
        if not living <= {(position.log, position.partition) for position in positions}:
            return False
        named = {(position.log, position.partition, position.offset) for position in positions}
        return all(
            (hit.source.log, hit.source.partition, hit.source.offset) in named
            for log, partition in living
            for hit in self._hits([alias], _Places(log, partition, _EVERY), ("log", "partition", "offset"))
        )

    def _all_indices(self) -> dict[str, _Index]:
        prefix = self._connection.prefix
        ours = re.compile(rf"{re.escape(prefix)}audit-\d{{4}}\.\d\d-v\d+-\d{{6}}")
        target = (
            f"/{prefix}audit-*-v*-*?expand_wildcards=open,hidden&filter_path=*.aliases,*.settings.index.blocks.write,"
            "*.settings.index.uuid"
        )
        found = decoded(_INDICES, self._connection.request("GET", target, what=_LISTING), _LISTING)
        indices = {name: index for name, index in found.items() if ours.fullmatch(name)}
        there = {alias for index in indices.values() for alias in index.aliases}
        for month in self._months.register(fresh=True).open_months:
            alias = mapping.alias_name(prefix, month)
            if alias not in there:
                raise PipelineFault(
                    f"the month {alias} is registered but missing from the cluster, so nothing can be erased from"
                    " it: restore it from a snapshot, or run `trailseal rebuild`, then start again"
                )
        return indices

    def _empty(self, bulk: BulkWriter, names: Sequence[str], positions: Sequence[Position]) -> None:
        for name in names:
            refreshed(self._connection, name)
        touched: set[str] = set()
        for places in _by_partition(positions):
            hits = list(self._hits(names, places, ("log", "partition", "offset")))
            for result in bulk.send(_tombstone_line(hit) for hit in hits):
                if result.status not in _DONE:
                    raise Unavailable(f"documents cannot be erased now ({result.told})")
            touched.update(hit.index for hit in hits)
        for name in touched:
            refreshed(self._connection, name)

    def _empty_blocked(self, bulk: BulkWriter, name: str, positions: Sequence[Position]) -> None:
        """The same in an index that was replaced: its block is lifted for as long as it takes."""
        places = list(_by_partition(positions))
        if not any(next(iter(self._hits([name], one, ("log", "partition", "offset"))), None) for one in places):
            return
        self._block(name, blocked=False)
        try:
            self._empty(bulk, [name], positions)
        finally:
            self._block(name, blocked=True)

    def _block(self, name: str, *, blocked: bool) -> None:
        body = msgspec.json.encode({"index": {"blocks": {"write": True if blocked else None}}})
        self._connection.request("PUT", f"/{name}/_settings", body, what=f"the write block of {name}")

    def _hits(self, names: Sequence[str], places: _Places, fields: Sequence[str]) -> Iterator[_Hit]:
        """Documents of all these indices, some indices after the other: their names go into the request's line."""
        for start in range(0, len(names), _NAMES_AT_ONCE):
            yield from self._hits_of(names[start : start + _NAMES_AT_ONCE], places, fields)

    def _hits_of(self, names: Sequence[str], places: _Places, fields: Sequence[str]) -> Iterator[_Hit]:
        """Those of a few indices, in pages of bounded size."""
        size = _PAGE_FIRST
        after: list[int | str] | None = None
        target = (
            f"/{','.join(names)}/_search?allow_partial_search_results=false&ignore_unavailable=false"
            "&allow_no_indices=false&filter_path=timed_out,_shards.total,_shards.successful,_shards.failed,"
            "hits.hits._index,hits.hits._id,hits.hits._source,hits.hits.sort"
        )
        while True:
            body: dict[str, Any] = {
                "size": size,
                "query": places.clause,
                "sort": [{name: "asc"} for name in _SORT],
                "track_total_hits": False,
                "_source": list(fields),
            }
            if after is not None:
                body["search_after"] = after
            answer = self._connection.request("POST", target, msgspec.json.encode(body), what=_READING, allow=_GONE)
            if not answer.ok:
                raise Unavailable(
                    "a month that the register names is missing from Elasticsearch: no complete answer"
                )
            page = decoded(_PAGE, answer, _READING)
            if page.timed_out or page.shards.failed or page.shards.successful < page.shards.total:
                raise Unavailable("stored records could not all be read; try again")
            yield from page.hits.hits
            if len(page.hits.hits) < size:
                return
            after = page.hits.hits[-1].sort
            size = max(1, min(_PAGE_MOST, size * 2, size * _PAGE_BYTES // max(1, len(answer.body))))


def _by_partition(positions: Sequence[Position]) -> Iterator[_Places]:
    for (log, partition), run in groupby(sorted(set(positions)), key=lambda one: (one.log, one.partition)):
        offsets = [position.offset for position in run]
        for start in range(0, len(offsets), _AT_ONCE):
            yield _Places(log, partition, {"terms": {"offset": offsets[start : start + _AT_ONCE]}})


def _position(hit: _Hit) -> Position:
    return Position(hit.source.log, hit.source.partition, hit.source.offset)


def _tombstone_line(hit: _Hit) -> bytes:
    left = _Tombstone(hit.source.log, hit.source.partition, hit.source.offset)
    return index_line(hit.index, hit.id, msgspec.json.encode(left))
