"""Tiles, checkpoints and added signatures as Elasticsearch documents.

A tile's document is named by its root and only ever created, so two writers cannot disagree about it and one that
lost its place leaves nothing but an orphan. A checkpoint's document is named by log, partition and size, created
once with the note in it, and changed only by adding signatures, each time by compare-and-set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.bulk import BulkWriter
from trailseal.adapters.elasticsearch.connection import Connection, decoded
from trailseal.adapters.ledgers.elasticsearch.layout import CHECKPOINTS, TILES
from trailseal.adapters.ledgers.elasticsearch.rows import all_there, bulk_line
from trailseal.adapters.ledgers.elasticsearch.store import DocumentStore
from trailseal.errors import Fenced, Unavailable
from trailseal.model.record import Int64
from trailseal.ports.seals import AddedSignature, StoredCheckpoint

_READ_AT_ONCE: Final = 200
_WHAT: Final = "a list of checkpoints"


class _Tile(msgspec.Struct, frozen=True, gc=False):
    data: bytes


class _Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint's document.

    Attributes:
        log: the log's number.
        partition: the partition.
        size: of the tree.
        note: as it was put first; base64 in JSON.
        added: the newest added signature of each key.
    """

    log: Int64
    partition: Int64
    size: Int64
    note: bytes
    added: tuple[AddedSignature, ...] = ()

    def public(self) -> StoredCheckpoint:
        """As the port speaks of it."""
        return StoredCheckpoint(self.size, self.note, tuple(sorted(self.added, key=lambda one: one.key)))


class _Hit(msgspec.Struct, frozen=True, gc=False):
    source: _Checkpoint = msgspec.field(name="_source")


class _Hits(msgspec.Struct, frozen=True, gc=False):
    hits: list[_Hit] = []


class _Shards(msgspec.Struct, frozen=True, gc=False):
    failed: int


class _Page(msgspec.Struct, frozen=True, gc=False):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits = _Hits()


_TILE: Final = msgspec.json.Decoder(_Tile)
_CHECKPOINT: Final = msgspec.json.Decoder(_Checkpoint)
_PAGE: Final = msgspec.json.Decoder(_Page)


class ElasticsearchSeals:
    """`SealStore` on the ledger's indices.

    Args:
        connection: to the cluster.
        bulk: creates many documents at once.
        writing: raises `UsageError` where the ledger was opened for reading only.
    """

    def __init__(self, connection: Connection, bulk: BulkWriter, writing: Callable[[], None]) -> None:
        self._connection, self._bulk, self._writing = connection, bulk, writing
        self._tiles = DocumentStore(connection, TILES)
        self._checkpoints = DocumentStore(connection, CHECKPOINTS, searchable_at_once=True)

    def keep_tiles(self, tiles: Mapping[bytes, bytes]) -> None:
        """See `SealStore.keep_tiles`."""
        self._writing()
        if tiles:
            lines = (bulk_line(self._tiles.alias, root.hex(), _Tile(data)) for root, data in tiles.items())
            all_there(self._bulk.send(lines))

    def tile(self, root: bytes) -> bytes | None:
        """See `SealStore.tile`."""
        stored = self._tiles.get(root.hex())
        return None if stored is None else stored.read(_TILE).data

    def tiles(self, roots: list[bytes]) -> dict[bytes, bytes]:
        """See `SealStore.tiles`."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(roots), _READ_AT_ONCE):
            stored = self._tiles.get_many([root.hex() for root in roots[start : start + _READ_AT_ONCE]])
            found |= {bytes.fromhex(name): one.read(_TILE).data for name, one in stored.items()}
        return found

    def put_checkpoint(self, log: int, partition: int, size: int, note: bytes) -> bytes:
        """See `SealStore.put_checkpoint`."""
        self._writing()
        body = msgspec.json.encode(_Checkpoint(log, partition, size, note))
        with suppress(Fenced):
            self._checkpoints.create(_name(log, partition, size), body)
            return note
        stored = self._checkpoints.get(_name(log, partition, size))
        if stored is None:
            raise Unavailable("a checkpoint was there and is gone: the ledger is being restored; try again")
        return stored.read(_CHECKPOINT).note

    def add_signatures(self, log: int, partition: int, size: int, added: list[AddedSignature]) -> None:
        """See `SealStore.add_signatures`."""
        self._writing()
        name = _name(log, partition, size)
        while added:
            stored = self._checkpoints.get(name)
            if stored is None:
                return
            known = stored.read(_CHECKPOINT)
            merged = _newest([*known.added, *added])
            if merged == known.added:
                return
            with suppress(Fenced):
                body = msgspec.json.encode(msgspec.structs.replace(known, added=merged))
                self._checkpoints.replace(name, body, stored.version)
                return

    def checkpoint(self, log: int, partition: int, size: int | None = None) -> StoredCheckpoint | None:
        """See `SealStore.checkpoint`."""
        if size is None:
            return next(iter(self.checkpoints(log, partition, limit=1)), None)
        stored = self._checkpoints.get(_name(log, partition, size))
        return None if stored is None else stored.read(_CHECKPOINT).public()

    def checkpoints(
        self, log: int, partition: int, below: int | None = None, limit: int = 100
    ) -> list[StoredCheckpoint]:
        """See `SealStore.checkpoints`; a put is acknowledged only once searches find it."""
        filters: list[dict[str, Any]] = [{"term": {"log": log}}, {"term": {"partition": partition}}]
        if below is not None:
            filters.append({"range": {"size": {"lt": below}}})
        body = {
            "size": limit,
            "query": {"bool": {"filter": filters}},
            "sort": [{"size": "desc"}],
            "track_total_hits": False,
        }
        target = (
            f"/{self._checkpoints.alias}/_search?allow_partial_search_results=false"
            "&filter_path=timed_out,_shards.failed,hits.hits._source"
        )
        answer = self._connection.request("POST", target, msgspec.json.encode(body), what=_WHAT)
        page = decoded(_PAGE, answer, _WHAT)
        if page.timed_out or page.shards.failed:
            raise Unavailable("the ledger's checkpoints cannot all be listed now; try again")
        return [hit.source.public() for hit in page.hits.hits]


def _newest(signatures: list[AddedSignature]) -> tuple[AddedSignature, ...]:
    """The newest signature of each key, by key."""
    newest: dict[str, AddedSignature] = {}
    for one in sorted(signatures, key=lambda one: (one.time, one.line)):
        newest[one.key] = one
    return tuple(newest[key] for key in sorted(newest))


def _name(log: int, partition: int, size: int) -> str:
    return f"{log}.{partition}.{size}"
