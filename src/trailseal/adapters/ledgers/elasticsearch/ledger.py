"""The books in Elasticsearch documents that are read by id."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkLimits, BulkWriter
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.elasticsearch.options import ElasticsearchOptions
from trailseal.adapters.elasticsearch.records import StoredRecord, rebuilt_record, stored_record
from trailseal.adapters.ledgers.elasticsearch.heads import Heads
from trailseal.adapters.ledgers.elasticsearch.layout import DOCUMENTS, HEADS, KEPT
from trailseal.adapters.ledgers.elasticsearch.rows import (
    Rows,
    all_gone,
    all_there,
    bulk_line,
    delete_line,
    row_key,
)
from trailseal.adapters.ledgers.elasticsearch.seals import ElasticsearchSeals
from trailseal.adapters.ledgers.elasticsearch.store import DocumentStore, version_text
from trailseal.errors import Fenced, Unavailable, UsageError
from trailseal.model.outcomes import Delta, Head, OutcomeKind, OutcomeRow, Totals, replaced_by
from trailseal.model.record import Position, Record
from trailseal.ports.ledger import Document

_LOGS: Final = "logs"
_PAGE: Final = 1_000
_KEPT_AT_ONCE: Final = 100


class _Logs(msgspec.Struct, frozen=True):
    """Origins by number, the first being 1."""

    origins: tuple[str, ...] = ()


class _Partitions(msgspec.Struct, frozen=True):
    """The partitions of one log that have a head, or are about to."""

    partitions: tuple[int, ...] = ()


class _Content(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A small document's body: as text where it is UTF-8, so that operators can read it."""

    text: str | None = None
    base64: bytes | None = None


class _Named(msgspec.Struct, frozen=True, gc=False):
    name: str
    content: _Content


class _NamedHit(msgspec.Struct, frozen=True, gc=False):
    seq_no: int = msgspec.field(name="_seq_no")
    term: int = msgspec.field(name="_primary_term")
    source: _Named = msgspec.field(name="_source")


class _NamedHits(msgspec.Struct, frozen=True, gc=False):
    hits: list[_NamedHit]


class _NamedShards(msgspec.Struct, frozen=True, gc=False):
    failed: int


class _NamedPage(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    hits: _NamedHits
    shards: _NamedShards = msgspec.field(name="_shards")


_LOGS_DECODER: Final = msgspec.json.Decoder(_Logs)
_PARTITIONS_DECODER: Final = msgspec.json.Decoder(_Partitions)
_NAMED: Final = msgspec.json.Decoder(_Named)
_NAMED_PAGE: Final = msgspec.json.Decoder(_NamedPage)
_STORED_RECORD: Final = msgspec.json.Decoder(StoredRecord)


class ElasticsearchLedger:
    """`Ledger` on Elasticsearch; `layout.set_up_ledger` prepares the cluster for it."""

    def __init__(self, options: ElasticsearchOptions, *, read_only: bool = False) -> None:
        self._connection = Connection(options)
        self._read_only = read_only
        self._bulk = BulkWriter(self._connection, BulkLimits(in_flight=1), require_alias=True)
        self._rows = Rows(self._connection, self._bulk)
        self._store = DocumentStore(self._connection, HEADS)
        self._heads = Heads(self._store, self._rows)
        self._kept = DocumentStore(self._connection, KEPT)
        self._documents = DocumentStore(self._connection, DOCUMENTS, searchable_at_once=True)
        self._seals = ElasticsearchSeals(self._connection, self._bulk, self._writing)

    @property
    def seals(self) -> ElasticsearchSeals:
        """See `Ledger.seals`."""
        return self._seals

    def _writing(self) -> None:
        if self._read_only:
            raise UsageError("this ledger was opened for reading only")

    def log_number(self, origin: str) -> int | None:
        """See `Ledger.log_number`."""
        origins = self._origins()[0]
        return origins.index(origin) + 1 if origin in origins else None

    def _origins(self) -> tuple[tuple[str, ...], str | None]:
        stored = self._store.get(_LOGS)
        return ((), None) if stored is None else (stored.read(_LOGS_DECODER).origins, stored.version)

    def register_log(self, origin: str) -> int:
        """See `Ledger.register_log`."""
        self._writing()
        while True:
            origins, version = self._origins()
            if origin in origins:
                return origins.index(origin) + 1
            body = msgspec.json.encode(_Logs((*origins, origin)))
            if self._put(_LOGS, body, version):
                return len(origins) + 1

    def _put(self, name: str, body: bytes, version: str | None) -> bool:
        """Write unless somebody else did first."""
        try:
            if version is None:
                self._store.create(name, body)
            else:
                self._store.replace(name, body, version)
        except Fenced:
            return False
        return True

    def logs(self) -> dict[int, str]:
        """See `Ledger.logs`."""
        return dict(enumerate(self._origins()[0], start=1))

    def head(self, log: int, partition: int) -> Head | None:
        """See `Ledger.head`."""
        return self._heads.read(log, partition)

    def heads(self, log: int) -> list[Head]:
        """See `Ledger.heads`."""
        return self._heads.read_many(log, self._partitions(log)[0])

    def _partitions(self, log: int) -> tuple[tuple[int, ...], str | None]:
        stored = self._store.get(f"partitions.{log}")
        if stored is None:
            return (), None
        return stored.read(_PARTITIONS_DECODER).partitions, stored.version

    def open_partition(self, log: int, partition: int, base: int) -> Head:
        """See `Ledger.open_partition`."""
        if self._read_only:
            existing = self.head(log, partition)
            if existing is not None:
                return existing
        self._writing()
        # The list first: a partition that is listed and has no head yet is skipped by readers.
        while True:
            partitions, version = self._partitions(log)
            if partition in partitions:
                break
            body = msgspec.json.encode(_Partitions(tuple(sorted({*partitions, partition}))))
            if self._put(f"partitions.{log}", body, version):
                break
        return self._heads.open(log, partition, base)

    def advance(self, expected: Head, delta: Delta) -> Head:
        """See `Ledger.advance`."""
        self._writing()
        return self._heads.advance(expected, delta)

    def outcomes(
        self,
        log: int,
        partition: int,
        start: int = 0,
        stop: int | None = None,
        kinds: Sequence[OutcomeKind] | None = None,
    ) -> Iterator[OutcomeRow]:
        """See `Ledger.outcomes`."""
        if stop is not None and start >= stop:
            return
        # The head before the search: what its last step does not hold any more was a document by then.
        rows, replaces = self._heads.last_rows(log, partition)
        last = [
            row
            for row in rows
            if row.position.offset + row.count > start
            and (stop is None or row.position.offset < stop)
            and (kinds is None or row.kind in kinds)
        ]
        previous: tuple[int, str] | None = None
        found = self._rows.find(log, partition, start, stop, kinds)
        if replaces:
            found = _without_replaced(found, rows)
        for row in heapq.merge(found, sorted(last, key=row_key), key=row_key):
            if row_key(row) != previous:
                yield row
            previous = row_key(row)

    def totals(self, log: int, partition: int) -> Totals:
        """See `Ledger.totals`."""
        return self._heads.totals(log, partition)

    def keep(self, records: Sequence[Record]) -> None:
        """See `Ledger.keep`."""
        self._writing()
        if records:
            lines = (bulk_line(self._kept.alias, _kept_id(one.position), stored_record(one)) for one in records)
            all_there(self._bulk.send(lines))

    def kept(self, position: Position) -> Record | None:
        """See `Ledger.kept`."""
        stored = self._kept.get(_kept_id(position))
        return None if stored is None else rebuilt_record(position, stored.read(_STORED_RECORD))

    def kept_among(self, positions: Sequence[Position]) -> dict[Position, Record]:
        """See `Ledger.kept_among`."""
        found: dict[Position, Record] = {}
        for start in range(0, len(positions), _KEPT_AT_ONCE):
            some = {_kept_id(position): position for position in positions[start : start + _KEPT_AT_ONCE]}
            for name, stored in self._kept.get_many(list(some)).items():
                found[some[name]] = rebuilt_record(some[name], stored.read(_STORED_RECORD))
        return found

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        """See `ErasableLedger.remove`."""
        self._writing()
        return self._heads.remove(expected, rows)

    def discard(self, positions: Sequence[Position]) -> None:
        """See `ErasableLedger.discard`; Elasticsearch drops the bytes when it merges segments."""
        self._writing()
        for log, partition in sorted({(position.log, position.partition) for position in positions}):
            with suppress(Fenced):
                self._heads.finish(log, partition)
        for start in range(0, len(positions), _PAGE):
            some = positions[start : start + _PAGE]
            all_gone(self._bulk.send(delete_line(self._kept.alias, _kept_id(position)) for position in some))

    def document(self, name: str) -> Document | None:
        """See `Ledger.document`."""
        stored = self._documents.get(name)
        return None if stored is None else Document(_body(stored.read(_NAMED).content), stored.version)

    def documents(self, prefix: str) -> dict[str, Document]:
        """See `Ledger.documents`; every write of a small document is searchable when it is acknowledged."""
        body: dict[str, Any] = {
            "size": _PAGE,
            "query": {"prefix": {"name": prefix}},
            "sort": [{"name": "asc"}],
            "seq_no_primary_term": True,
            "track_total_hits": False,
        }
        found: dict[str, Document] = {}
        while True:
            hits = self._documents_page(body)
            for hit in hits:
                version = version_text(hit.seq_no, hit.term)
                found[hit.source.name] = Document(_body(hit.source.content), version)
            if len(hits) < _PAGE:
                return found
            body["search_after"] = [hits[-1].source.name]

    def _documents_page(self, body: dict[str, Any]) -> list[_NamedHit]:
        target = f"/{self._documents.alias}/_search?allow_partial_search_results=false"
        answer = self._connection.request(
            "POST", target, msgspec.json.encode(body), what="a list of the ledger's documents"
        )
        page = decoded(_NAMED_PAGE, answer, "a list of the ledger's documents")
        if page.timed_out or page.shards.failed:
            raise Unavailable("the ledger's documents cannot all be listed now; try again")
        return page.hits.hits

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        """See `Ledger.put_document`."""
        self._writing()
        stored = msgspec.json.encode(_Named(name, _content(body)))
        if expected is None:
            return self._documents.create(name, stored)
        return self._documents.replace(name, stored, expected)

    def delete_document(self, name: str, expected: str) -> None:
        """See `Ledger.delete_document`."""
        self._writing()
        self._documents.delete(name, expected)

    def close(self) -> None:
        """End threads and connections."""
        self._bulk.close()
        self._connection.close()


def _without_replaced(found: Iterator[OutcomeRow], removals: Sequence[OutcomeRow]) -> Iterator[OutcomeRow]:
    """Rows without those whose place a removal has taken that is not a document yet."""
    runs = sorted(removals, key=_offset)
    for row in found:
        at = bisect_right(runs, row.position.offset, key=_offset) - 1
        removal = runs[at] if at >= 0 else None
        within = removal is not None and row.position.offset < removal.position.offset + removal.count
        if removal is None or not within or row.count > 1 or row.kind not in replaced_by(removal.kind):
            yield row


def _offset(row: OutcomeRow) -> int:
    return row.position.offset


def _kept_id(position: Position) -> str:
    return f"{position.log}.{position.partition}.{position.offset}"


def _content(body: bytes) -> _Content:
    try:
        return _Content(text=body.decode())
    except UnicodeDecodeError:
        return _Content(base64=body)


def _body(content: _Content) -> bytes:
    return content.base64 or b"" if content.text is None else content.text.encode()
