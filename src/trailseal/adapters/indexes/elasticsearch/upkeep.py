"""Months seen, made anew and put back, on Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkLimits, BulkWriter
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.documents import create_line, event_document
from trailseal.adapters.indexes.elasticsearch.holders import holders
from trailseal.adapters.indexes.elasticsearch.months import Documents, Month, Months
from trailseal.adapters.indexes.elasticsearch.reprojection import Reprojection
from trailseal.adapters.indexes.elasticsearch.stocktaking import below, refreshed
from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.model.outcomes import Head
from trailseal.model.projection import PROJECTION_VERSION, Entry
from trailseal.ports.clock import Clock
from trailseal.ports.index import Present
from trailseal.ports.upkeep import MonthStatus, Progress, Reproject, Reprojected

_TRANSIENT: Final = frozenset({401, 403, 408, 429})
_SERVER_ERROR: Final = 500


class _Count(msgspec.Struct, frozen=True, gc=False):
    count: int


class _Primaries(msgspec.Struct, frozen=True, gc=False):
    docs: _Count = _Count(0)


class _IndexStats(msgspec.Struct, frozen=True, gc=False):
    primaries: _Primaries = _Primaries()


class _Stats(msgspec.Struct, frozen=True, gc=False):
    indices: dict[str, _IndexStats] = {}


_STATS: Final = msgspec.json.Decoder(_Stats)


class ElasticsearchMonths:
    """`MonthUpkeep` on Elasticsearch. Used by one thread."""

    def __init__(
        self, connection: Connection, documents: Documents, months: Months, limits: BulkLimits, clock: Clock
    ) -> None:
        self._connection, self._documents, self._months = connection, documents, months
        self._limits, self._clock = limits, clock
        self._begun: dict[str, str] = {}

    def months(self) -> list[MonthStatus]:
        """See `MonthUpkeep.months`."""
        register = self._months.register(fresh=True)
        target = f"/{mapping.alias_name(self._connection.prefix, '*')}/_stats/docs?filter_path=indices.*.primaries"
        what = "the state of the months"
        held = decoded(_STATS, self._connection.request("GET", target, what=what), what).indices
        return [
            self._status(month, entry, held, reprojecting=month in register.reprojecting)
            for month, entry in sorted(register.months.items())
        ]

    def _status(self, month: str, entry: Month, held: dict[str, _IndexStats], *, reprojecting: bool) -> MonthStatus:
        there = entry.state == "open" and self._months.behind(month) is not None
        return MonthStatus(
            month,
            "missing" if entry.state == "open" and not there else entry.state,
            entry.index,
            held.get(entry.index, _IndexStats()).primaries.docs.count if there else 0,
            entry.projection >= PROJECTION_VERSION and mapping.is_current(entry.index),
            reprojecting,
            entry.retired,
        )

    def reproject(self, month: str, project: Reproject, progress: Progress) -> Reprojected:
        """See `MonthUpkeep.reproject`."""
        bulk = BulkWriter(self._connection, self._limits, require_alias=False)
        try:
            return Reprojection(
                self._connection,
                self._documents,
                self._months,
                bulk,
                month,
                project,
                progress,
                self._clock,
            ).run()
        finally:
            bulk.close()

    def begin_months(self, months: Sequence[str]) -> None:
        """See `MonthUpkeep.begin_months`; what an earlier, interrupted call made is thrown away."""
        register = self._months.register(fresh=True)
        for month in months:
            entry = register.months.get(month)
            if entry is None or entry.state != "open" or self._months.behind(month) is not None:
                raise UsageError(f"The month {month} is not missing: there is nothing to put back.")
            index = self._months.next_index(month, entry)
            self._months.delete_index(index)
            self._months.create_index(index, None)
            self._begun[month] = index

    def put_back(self, entries: Sequence[Entry]) -> None:
        """See `MonthUpkeep.put_back`."""
        bulk = BulkWriter(self._connection, self._limits, require_alias=False)
        try:
            results = bulk.send(self._lines(entries))
        finally:
            bulk.close()
        taken: list[Entry] = []
        for entry, result in zip(entries, results, strict=True):
            if result.status == HTTPStatus.CONFLICT:
                taken.append(entry)
            elif result.status in _TRANSIENT or result.status >= _SERVER_ERROR:
                raise Unavailable(f"the index cannot take documents now ({result.status} {result.error_type})")
            elif result.status != HTTPStatus.CREATED:
                raise _cannot(entry, f"{result.status} {result.error_type}")
        names = [(self._begun[entry.month], entry.document_id) for entry in taken]
        for entry, held in zip(taken, holders(self._connection, names), strict=True):
            if not (isinstance(held, Present) and held.position == entry.projection.position):
                raise _cannot(entry, "another event holds its name")

    def _lines(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        for entry in entries:
            yield create_line(self._begun[entry.month], entry.document_id, event_document(entry))

    def documents_below(self, heads: Sequence[Head], begun: Sequence[str]) -> dict[tuple[int, int], int]:
        """See `MonthUpkeep.documents_below`."""
        there = [month for month in self._months.register(fresh=True).open_months if month not in begun]
        names = [mapping.alias_name(self._connection.prefix, month) for month in there]
        names += [self._begun[month] for month in begun]
        for name in names:
            refreshed(self._connection, name)
        return below(self._connection, names, heads)

    def finish_months(self, months: Sequence[str]) -> None:
        """See `MonthUpkeep.finish_months`; the register first: interrupted, the month is still missing."""
        for month in months:
            self._months.replace_index(month, self._begun[month])
            self._months.move_alias(month, self._begun[month])


def _cannot(entry: Entry, why: str) -> PipelineFault:
    return PipelineFault(
        f"Position {entry.projection.position} was indexed once and cannot be put back ({why}): ledger and log do"
        " not belong together, or rows of the ledger are missing. Restore both from one backup."
    )
