"""Entries as documents: a small projection beside the whole record, encoded once into a bulk line."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from trailseal.adapters.elasticsearch.records import StoredRecord, rebuilt_record, stored_record
from trailseal.model.projection import PROJECTION_VERSION, Entry, colliding
from trailseal.model.record import Position
from trailseal.ports.upkeep import Reproject

MAX_ID_BYTES: Final = 512
"""Elasticsearch's own limit on ``_id``; a longer one would fail the whole request."""


class EventDocument(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The document of one event, field by field as in the mapping."""

    timestamp: int
    tenant_id: str
    id: str
    actor: str
    action: str
    outcome: str
    log: int
    partition: int
    offset: int
    content_hash: bytes
    format: str
    projection_version: int
    record: StoredRecord
    resource: str | None = None
    resource_type: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    metadata: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class StoredIdentity(msgspec.Struct, frozen=True, gc=False):
    """What a conflict is judged by: whose document has the id already."""

    log: int
    partition: int
    offset: int
    content_hash: bytes = b""
    erased: bool = False

    @property
    def position(self) -> Position:
        """The position of the record that holds, or held, the id."""
        return Position(self.log, self.partition, self.offset)


IDENTITY_FIELDS: Final = ("log", "partition", "offset", "content_hash", "erased")
_ENCODER: Final = msgspec.json.Encoder()


def event_document(entry: Entry) -> EventDocument:
    """The entry's document."""
    projection = entry.projection
    position = projection.position
    return EventDocument(
        projection.timestamp_us,
        projection.tenant_id,
        projection.id,
        projection.actor,
        projection.action,
        projection.outcome,
        position.log,
        position.partition,
        position.offset,
        projection.content_hash,
        projection.format,
        PROJECTION_VERSION,
        stored_record(entry.record),
        projection.resource,
        projection.resource_type,
        projection.source_ip,
        projection.request_id,
        projection.metadata,
        tuple(projection.words.split(" ")) if projection.words else (),
        projection.flags,
    )


def difference(entry: Entry, source: bytes) -> str | None:
    """The first field in which a stored document is not the entry's; ``missing`` where there is none any more.

    Args:
        entry: what it should say.
        source: the document as it is stored; empty where there is none.
    """
    if not source:
        return "missing"
    made = _ENCODER.encode(event_document(entry))
    if made == source:
        return None
    expected: dict[str, Any] = json.loads(made)
    try:
        stored: dict[str, Any] = json.loads(source)
    except (ValueError, RecursionError):
        return "JSON"
    if stored.get("erased"):
        return "missing"
    names = dict.fromkeys((*expected, *stored))
    return next((name for name in names if expected.get(name) != stored.get(name)), None)


class _StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """What a document is made anew from."""

    log: int
    partition: int
    offset: int
    record: StoredRecord | None = None
    erased: bool = False


_STORED_EVENT: Final = msgspec.json.Decoder(_StoredEvent)


def remade(month: str, document_id: str, source: bytes, project: Reproject) -> tuple[bytes, bool]:
    """A stored document by today's rules, and whether they made it.

    A tombstone stays as it is, and so does what somebody damaged and what today's rules refuse or would name
    otherwise: what the books say is indexed stays indexed, under the name it has.
    """
    same = source.replace(b"\n", b" ")
    try:
        stored = _STORED_EVENT.decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return same, False
    if stored.erased or stored.record is None:
        return same, False
    entry = project(rebuilt_record(Position(stored.log, stored.partition, stored.offset), stored.record))
    if entry is not None and document_id.startswith("/"):
        entry = colliding(entry)
    if entry is None or (entry.month, entry.document_id) != (month, document_id):
        return same, False
    try:
        return _ENCODER.encode(event_document(entry)), True
    except UnicodeEncodeError:
        return same, False


def create_line(alias: str, document_id: str, document: msgspec.Struct) -> bytes:
    """One action and its document, as ``_bulk`` wants them; refused where the id is taken."""
    line = bytearray(b'{"create":{"_index":"')
    line += alias.encode()
    line += b'","_id":'
    _ENCODER.encode_into(document_id, line, -1)
    line += b"}}\n"
    _ENCODER.encode_into(document, line, -1)
    line += b"\n"
    return bytes(line)


def index_line(index: str, document_id: str, document: bytes) -> bytes:
    """The same for a document that is encoded already, and that replaces what has the id."""
    action = _ENCODER.encode({"index": {"_index": index, "_id": document_id}})
    return b"%b\n%b\n" % (action, document)
