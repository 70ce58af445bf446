"""Outcome rows as documents of their own: one by position and kind, found in order; only removals go over one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkWriter, ItemResult
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.ledgers.elasticsearch.layout import OUTCOMES
from trailseal.adapters.ledgers.elasticsearch.store import DocumentStore
from trailseal.errors import PipelineFault, Unavailable
from trailseal.model.outcomes import OutcomeKind, OutcomeRow, replaced_by

PAGE: Final = 1_000
_SERVER_ERROR: Final = 500
_TRANSIENT: Final = frozenset({401, 403, 408, 429})
_DONE: Final = frozenset({200, 201, 409})
_GONE: Final = frozenset({200, 404})


class RowDocument(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One row: what it is found by, and the row itself."""

    log: int
    partition: int
    offset: int
    last: int
    kind: OutcomeKind
    row: OutcomeRow
    code: str | None = None
    tenant_id: str | None = None


class _Source(msgspec.Struct, frozen=True, gc=False):
    row: OutcomeRow


class _Hit(msgspec.Struct, frozen=True, gc=False):
    sort: tuple[int, str]
    source: _Source = msgspec.field(name="_source")


class _Hits(msgspec.Struct, frozen=True, gc=False):
    hits: list[_Hit] = []


class _Shards(msgspec.Struct, frozen=True, gc=False):
    failed: int


class _Page(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits = _Hits()


_SOURCE: Final = msgspec.json.Decoder(_Source)
_PAGE_ANSWER: Final = msgspec.json.Decoder(_Page)
_ENCODER: Final = msgspec.json.Encoder()


def row_key(row: OutcomeRow) -> tuple[int, str]:
    """What makes a row unique inside its partition, and its place in answers."""
    return row.position.offset, row.kind


def row_id(row: OutcomeRow) -> str:
    """The id of a row's document."""
    position = row.position
    return f"{position.log}.{position.partition}.{position.offset}.{row.kind}"


def bulk_line(alias: str, name: str, document: msgspec.Struct, *, over: bool = False) -> bytes:
    """One action and its document, written only where there is none of that name yet, or over it."""
    action = _ENCODER.encode({"index" if over else "create": {"_index": alias, "_id": name}})
    return b"%b\n%b\n" % (action, _ENCODER.encode(document))


def all_there(results: Sequence[ItemResult]) -> None:
    """Make sure that every document of a bulk is there now, whoever created it.

    Raises:
        Unavailable: one could not be written now.
        PipelineFault: one never will be.
    """
    for result in results:
        if result.status in _DONE:
            continue
        if result.status in _TRANSIENT or result.status >= _SERVER_ERROR:
            raise Unavailable(f"the ledger cannot be written now ({result.told})")
        raise PipelineFault(
            f"Elasticsearch refuses documents of the ledger ({result.status} {result.error_type}): "
            "run `trailseal setup` and look at its indices"
        )


def delete_line(alias: str, name: str) -> bytes:
    """One document to delete, as ``_bulk`` wants it."""
    return _ENCODER.encode({"delete": {"_index": alias, "_id": name}}) + b"\n"


def all_gone(results: Sequence[ItemResult]) -> None:
    """Make sure that no document of a bulk of deletions is there any more.

    Raises:
        Unavailable: one could not be deleted now.
    """
    for result in results:
        if result.status not in _GONE:
            raise Unavailable(f"the ledger cannot delete now ({result.told})")


def well_formed(rows: Sequence[OutcomeRow]) -> Sequence[OutcomeRow]:
    """The rows as JSON can hold them: a lone surrogate, which no UTF-8 has, becomes a question mark."""
    try:
        _ENCODER.encode(rows)
    except UnicodeEncodeError:
        return [_repaired(row) for row in rows]
    return rows


def _repaired(row: OutcomeRow) -> OutcomeRow:
    texts = {name: getattr(row, name) for name in ("code", "detail", "field", "tenant_id", "event_id")}
    repaired = {name: text.encode(errors="replace").decode() for name, text in texts.items() if text is not None}
    return msgspec.structs.replace(row, **repaired)


def _takes_its_own_place(removal: OutcomeRow) -> bool:
    """Whether it goes over a row of its own kind."""
    return removal.count == 1 and removal.kind in replaced_by(removal.kind)


class Rows:
    """The rows of all partitions."""

    def __init__(self, connection: Connection, bulk: BulkWriter) -> None:
        self._connection = connection
        self._bulk = bulk
        self._store = DocumentStore(connection, OUTCOMES)

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Create each row's document unless it is there."""
        if rows:
            all_there(self._bulk.send(self._line(row) for row in rows))

    def write_removals(self, rows: Sequence[OutcomeRow]) -> None:
        """Make documents of removals, and delete those of the rows whose place they take.

        Doing so again, however late, is harmless: what took its place once keeps it.
        """
        all_there(self._bulk.send(self._line(row, over=_takes_its_own_place(row)) for row in rows))
        names = {row_id(row) for row in rows}
        self._delete([row for row in self.replaced(rows) if row_id(row) not in names])

    def _line(self, row: OutcomeRow, *, over: bool = False) -> bytes:
        position = row.position
        last = position.offset + row.count - 1
        document = RowDocument(
            position.log, position.partition, position.offset, last, row.kind, row, row.code, row.tenant_id
        )
        return bulk_line(self._store.alias, row_id(row), document, over=over)

    def unknown(self, rows: Sequence[OutcomeRow]) -> list[OutcomeRow]:
        """Those rows that have no document yet."""
        known = self._stored([row_id(row) for row in rows])
        return [row for row in rows if row_id(row) not in known]

    def unwritten(self, removals: Sequence[OutcomeRow]) -> list[OutcomeRow]:
        """Those removals that have no document yet, or one of a row whose place they take."""
        known = self._stored([row_id(row) for row in removals])
        return [
            row
            for row in removals
            if (old := known.get(row_id(row))) is None
            or (old != row and old.count == 1 and _takes_its_own_place(row))
        ]

    def _stored(self, names: Sequence[str]) -> dict[str, OutcomeRow]:
        found: dict[str, OutcomeRow] = {}
        for start in range(0, len(names), PAGE):
            stored = self._store.get_many(names[start : start + PAGE])
            found |= {name: document.read(_SOURCE).row for name, document in stored.items()}
        return found

    def replaced(self, removals: Sequence[OutcomeRow]) -> list[OutcomeRow]:
        """The rows whose place these removals take, once each; all rows have to be documents by now."""
        single = [row for row in removals if row.count == 1]
        names = [
            row_id(msgspec.structs.replace(row, kind=kind)) for row in single for kind in replaced_by(row.kind)
        ]
        found = {name: row for name, row in self._stored(names).items() if row.count == 1}
        for run in (row for row in removals if row.count > 1):
            at = run.position
            rows = self.find(at.log, at.partition, at.offset, at.offset + run.count, replaced_by(run.kind))
            found |= {row_id(row): row for row in rows if row.count == 1}
        return list(found.values())

    def _delete(self, rows: Sequence[OutcomeRow]) -> None:
        """Delete the rows' documents; what is gone already is as good."""
        if rows:
            all_gone(self._bulk.send(delete_line(self._store.alias, row_id(row)) for row in rows))

    def find(
        self, log: int, partition: int, start: int, stop: int | None, kinds: Sequence[OutcomeKind] | None
    ) -> Iterator[OutcomeRow]:
        """Rows whose run touches [start, stop), by offset and kind; everything acknowledged is found."""
        self._connection.request("POST", f"/{self._store.alias}/_refresh", what="a refresh of the ledger's rows")
        filters: list[dict[str, Any]] = [
            {"term": {"log": log}},
            {"term": {"partition": partition}},
            {"range": {"last": {"gte": start}}},
        ]
        if stop is not None:
            filters.append({"range": {"offset": {"lt": stop}}})
        if kinds is not None:
            filters.append({"terms": {"kind": list(kinds)}})
        body: dict[str, Any] = {
            "size": PAGE,
            "query": {"bool": {"filter": filters}},
            "sort": [{"offset": "asc"}, {"kind": "asc"}],
            "track_total_hits": False,
            "_source": ["row"],
        }
        while True:
            hits = self._page(body)
            yield from (hit.source.row for hit in hits)
            if len(hits) < PAGE:
                return
            body["search_after"] = hits[-1].sort

    def _page(self, body: dict[str, Any]) -> list[_Hit]:
        target = (
            f"/{self._store.alias}/_search?allow_partial_search_results=false"
            "&filter_path=timed_out,_shards.failed,hits.hits.sort,hits.hits._source"
        )
        answer = self._connection.request(
            "POST", target, _ENCODER.encode(body), what="a search of the ledger's rows"
        )
        page = decoded(_PAGE_ANSWER, answer, "a search of the ledger's rows")
        if page.timed_out or page.shards.failed:
            raise Unavailable("the ledger's rows cannot all be read now; try again")
        return page.hits.hits
