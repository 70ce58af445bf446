"""The projection in Elasticsearch: one index per month of the event's own time, behind an alias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkLimits, BulkWriter, ItemResult
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.indexes.elasticsearch import mapping
from trailseal.adapters.indexes.elasticsearch.comparing import compared
from trailseal.adapters.indexes.elasticsearch.documents import (
    MAX_ID_BYTES,
    create_line,
    event_document,
)
from trailseal.adapters.indexes.elasticsearch.holders import holders
from trailseal.adapters.indexes.elasticsearch.months import REGISTER_TTL_S, Documents, Months
from trailseal.adapters.indexes.elasticsearch.placed import PlacedDocuments
from trailseal.adapters.indexes.elasticsearch.searching import Searcher
from trailseal.adapters.indexes.elasticsearch.soundness import alterations
from trailseal.adapters.indexes.elasticsearch.upkeep import ElasticsearchMonths
from trailseal.errors import PipelineFault, Unavailable
from trailseal.model.projection import Entry, Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.model.record import Position, Record
from trailseal.ports.clock import Clock
from trailseal.ports.erasure import EntriesOf
from trailseal.ports.index import Expired, Inventory, Present, Refused, Retry, Stored, Verdict

_REFRESHED_AT_ONCE: Final = 64
_TRANSIENT: Final = frozenset({401, 403, 408, 429})
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How the index behaves; where it is stands in `ElasticsearchOptions`.

    Attributes:
        refresh_interval_s: of the month indices, as `setup` wrote it into the template.
        bulk: sizes of requests.
    """

    refresh_interval_s: float = 1.0
    bulk: BulkLimits = field(default_factory=BulkLimits)


_STORED: Final = Stored()
_EXPIRED: Final = Expired()


class ElasticsearchIndex:
    """`EventIndex` on Elasticsearch. ``documents`` is where the register of months lives: the ledger."""

    def __init__(
        self, options: ElasticsearchOptions, documents: Documents, behaviour: IndexOptions | None = None
    ) -> None:
        self._behaviour = behaviour or IndexOptions()
        self._connection = Connection(options)
        self._documents = documents
        self._months = Months(self._connection, documents)
        self._searcher = Searcher(self._connection, self._months)
        self._placed = PlacedDocuments(self._connection, self._months, self._behaviour.bulk)
        self._bulk = BulkWriter(self._connection, self._behaviour.bulk, require_alias=True)

    @property
    def refresh_interval_s(self) -> float:
        """The indices' refresh interval, and how long a month made elsewhere may go unnoticed."""
        return self._behaviour.refresh_interval_s + REGISTER_TTL_S

    def upkeep(self, clock: Clock) -> ElasticsearchMonths:
        """The same months, for those who look after them."""
        return ElasticsearchMonths(self._connection, self._documents, self._months, self._behaviour.bulk, clock)

    def is_complete(self) -> bool:
        """True unless a rebuild is marked in the register."""
        return not self._months.register(fresh=True).rebuilding

    def begin_rebuild(self) -> None:
        """See `EventIndex.begin_rebuild`; the indices so far stay, out of sight, until an operator deletes them."""
        self._months.begin_rebuild()

    def mark_complete(self) -> None:
        """See `EventIndex.mark_complete`."""
        self._months.mark_complete()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """See `EventIndex.put`. No two requests in flight hold the same (month, document id)."""
        verdicts: dict[int, Verdict] = {}
        pending: Sequence[int] = range(len(entries))
        while pending:
            firsts: dict[tuple[str, str], int] = {}
            later: list[tuple[int, int]] = []
            for place in pending:
                entry = entries[place]
                first = firsts.setdefault((entry.month, entry.document_id), place)
                if first != place:
                    later.append((place, first))
            wave = list(firsts.values())
            verdicts.update(zip(wave, self._put_distinct([entries[place] for place in wave]), strict=True))
            pending = []
            for place, first in later:
                follows = _behind(entries[first], verdicts[first])
                if follows is None:
                    pending.append(place)
                else:
                    verdicts[place] = follows
        return [verdicts[place] for place in range(len(entries))]

    def _put_distinct(self, entries: Sequence[Entry]) -> list[Verdict]:
        verdicts: list[Verdict] = [_EXPIRED] * len(entries)
        dropped = {
            name for name in {entry.month for entry in entries} if self._months.ensure(name).state == "dropped"
        }
        sent: list[int] = []
        results = self._bulk.send(self._lines(entries, dropped, sent, verdicts))
        conflicts: list[int] = []
        for place, result in zip(sent, results, strict=True):
            if result.status in (HTTPStatus.CREATED, HTTPStatus.OK):
                verdicts[place] = _STORED
            elif result.status == HTTPStatus.CONFLICT:
                conflicts.append(place)
            else:
                verdicts[place] = self._failed(entries[place], result)
        self._check_refusals(entries, verdicts)
        names = [(self._alias(entries[place]), entries[place].document_id) for place in conflicts]
        for place, verdict in zip(conflicts, holders(self._connection, names), strict=True):
            verdicts[place] = verdict
        return verdicts

    def _alias(self, entry: Entry) -> str:
        return mapping.alias_name(self._connection.prefix, entry.month)

    def _lines(
        self, entries: Sequence[Entry], dropped: set[str], sent: list[int], verdicts: list[Verdict]
    ) -> Iterator[bytes]:
        """The bulk lines of what is sent at all; notes which those are, and why others are not."""
        aliases: dict[str, str] = {}
        for place, entry in enumerate(entries):
            if entry.month in dropped:
                continue
            alias = aliases.setdefault(entry.month, mapping.alias_name(self._connection.prefix, entry.month))
            try:
                line = create_line(alias, entry.document_id, event_document(entry))
                too_long = len(entry.document_id.encode()) > MAX_ID_BYTES
            except UnicodeEncodeError:
                verdicts[place] = Refused("not-unicode", "a filterable text holds a lone surrogate")
                continue
            if too_long:
                verdicts[place] = Refused("id-too-long", f"the document's id has more than {MAX_ID_BYTES} bytes")
                continue
            sent.append(place)
            yield line

    def _failed(self, entry: Entry, result: ItemResult) -> Verdict:
        """The decision table for an item that was neither created nor taken."""
        why = result.told
        if result.status in _TRANSIENT or result.status >= _SERVER_ERROR:
            return Retry(why)
        if result.status == HTTPStatus.NOT_FOUND:
            return self._without_index(entry)
        if result.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Refused("too-large", "Elasticsearch takes no request of this size (http.max_content_length)")
        if result.status == HTTPStatus.BAD_REQUEST:
            return Refused(result.error_type, f"Elasticsearch cannot index this entry ({result.error_type})")
        return Retry(why)

    def _without_index(self, entry: Entry) -> Verdict:
        known = self._months.register(fresh=True).months.get(entry.month)
        if known is not None and known.state == "dropped":
            return _EXPIRED
        alias = mapping.alias_name(self._connection.prefix, entry.month)
        raise PipelineFault(
            f"the month {alias} is registered but missing from the cluster: restore it from a snapshot, or rebuild "
            "the index from the log, then start again"
        )

    def _check_refusals(self, entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> None:
        """A refusal is the entry's fault only where the mapping is ours; else nothing goes on."""
        refused = {
            entry.month for entry, verdict in zip(entries, verdicts, strict=True) if isinstance(verdict, Refused)
        }
        for name in sorted(refused):
            self._months.check_mapping(mapping.alias_name(self._connection.prefix, name))

    def flush(self) -> None:
        """Nothing to do: an acknowledged bulk is in the translog of every copy (``durability: request``)."""

    def refresh(self) -> None:
        """See `EventIndex.refresh`; every open month, since other processes write too."""
        months = self._months.register(fresh=True).open_months
        for start in range(0, len(months), _REFRESHED_AT_ONCE):
            part = months[start : start + _REFRESHED_AT_ONCE]
            names = ",".join(mapping.alias_name(self._connection.prefix, name) for name in part)
            answer = self._connection.request("POST", f"/{names}/_refresh", what="a refresh", allow={404})
            if not answer.ok or decoded(_REFRESHED, answer, "a refresh").shards.failed:
                raise Unavailable("not every month could be refreshed; try again")

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        """See `EventIndex.search`."""
        return self._searcher.search(query, after, limit)

    def count(self, query: Query, ceiling: int | None = None) -> Count:
        """See `EventIndex.count`."""
        return self._searcher.count(query, ceiling)

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """See `EventIndex.offsets`."""
        return self._searcher.offsets(log, partition, start, stop)

    def records(self, log: int, partition: int, start: int, stop: int) -> Iterator[Record]:
        """See `RecordKeeper.records`."""
        return self._placed.records(log, partition, start, stop)

    def records_at(self, positions: Sequence[Position]) -> Iterator[Record]:
        """See `RecordKeeper.records_at`."""
        return self._placed.records_at(positions)

    def erase(self, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """See `ErasableIndex.erase`; no other document has to be written anew."""
        del entries_of
        self._placed.erase(positions)

    def drop(self, month: str, positions: Sequence[Position], entries_of: EntriesOf) -> None:
        """See `ErasableIndex.drop`; a month goes as a whole index, without a look at each document."""
        del entries_of
        self._placed.drop(month, positions)

    def compare(self, entries: Sequence[Entry]) -> list[str | None]:
        """See `EventIndex.compare`; reads by id, and so even what no refresh has shown yet."""
        return compared(self._connection, entries)

    def due(self, entries: Sequence[Entry]) -> Counter[str]:  # noqa: ARG002 - the port's signature
        """Empty: what a document is found by follows from its source, see `soundness`."""
        return Counter()

    def held(self, log: int, partition: int, start: int, stop: int) -> Counter[str]:  # noqa: ARG002 - the same
        """Empty, as `due`."""
        return Counter()

    def beside(self, entries: Sequence[Entry]) -> list[str | None]:
        """Nothing that `compare` has not told."""
        return [None] * len(entries)

    def inventory(self) -> Inventory:
        """See `EventIndex.inventory`."""
        return self._searcher.inventory()

    def alterations(self) -> list[str]:
        """See `EventIndex.alterations`."""
        register = self._months.register(fresh=True)
        return list(alterations(self._connection, {name: register.months[name] for name in register.open_months}))

    def close(self) -> None:
        """End threads and connections."""
        self._bulk.close()
        self._connection.close()


class _RefreshedShards(msgspec.Struct, frozen=True):
    failed: int


class _Refreshed(msgspec.Struct, frozen=True):
    shards: _RefreshedShards = msgspec.field(name="_shards")


_REFRESHED: Final = msgspec.json.Decoder(_Refreshed)


def _behind(first: Entry, verdict: Verdict) -> Verdict | None:
    """What an entry is told whose id another one of the same call came first with; None: it is its own turn."""
    if isinstance(verdict, Stored):
        return Present(first.projection.position, first.projection.content_hash)
    return None if isinstance(verdict, Refused) else verdict
