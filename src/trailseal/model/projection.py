"""The projection: the fields an index filters and sorts by, derived from a record by a pure function."""

from __future__ import annotations

import msgspec

from trailseal.model.event import Event
from trailseal.model.identity import collision_document_id, content_hash, document_id
from trailseal.model.record import Position, Record
from trailseal.model.terms import filter_term, metadata_terms
from trailseal.model.timestamps import month

PROJECTION_VERSION = 1
COLLISION_FLAG = "id-collision"
_ATTRIBUTE_PREFIX = "ce_"


class SortKey(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """The total order of answers: no two stored events share one.

    Texts compare by code point, which is also the order of their UTF-8 bytes.
    """

    timestamp_us: int
    tenant_id: str
    id: str
    position: Position


class Projection(msgspec.Struct, frozen=True, gc=False):
    """What an index knows of an event. Filter texts went through `terms.filter_term`, words through `words`.

    Attributes:
        position: of the record.
        timestamp_us: when it happened, microseconds since 1970 UTC.
        received_ms: the log's append time, milliseconds since 1970 UTC.
        tenant_id: raw, at most 500 bytes together with ``id``.
        id: raw.
        actor: filter term of the actor's id.
        action: filter term.
        outcome: one of the four outcomes.
        resource: filter term of ``type/id`` or the bare id, or None.
        resource_type: filter term, or None.
        source_ip: canonical text of an address, or None.
        request_id: filter term, or None.
        metadata: encoded terms (`terms.metadata_terms`), sorted, distinct.
        words: the words that ``q`` finds, with a space between two (`words.words_of`).
        content_hash: 32 bytes over value, tenant, id and format (`identity.content_hash`); of a binary CloudEvent
            its attributes count with the value.
        format: the wire format's name.
        flags: as in the event.
    """

    position: Position
    timestamp_us: int
    received_ms: int
    tenant_id: str
    id: str
    actor: str
    action: str
    outcome: str
    resource: str | None
    resource_type: str | None
    source_ip: str | None
    request_id: str | None
    metadata: tuple[str, ...]
    words: str
    content_hash: bytes
    format: str
    flags: tuple[str, ...] = ()

    @property
    def sort_key(self) -> SortKey:
        """Where the event stands in answers."""
        return SortKey(self.timestamp_us, self.tenant_id, self.id, self.position)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is put into an index: the projection, the record it came from, and the document's name.

    Attributes:
        document_id: ``tenant_id/id``, or ``/log/partition/offset`` for an event whose id another one holds
            (`identity.document_id`, `identity.collision_document_id`). Unique together with the month.
        month: ``YYYY.MM`` of the event's own timestamp, UTC.
    """

    projection: Projection
    record: Record
    document_id: str
    month: str


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One row found: its place in the order, and the record an answer is rendered from."""

    key: SortKey
    record: Record


def project(record: Record, event: Event, format_name: str, words: str) -> Projection:
    """What an index gets to know of an event.

    Args:
        record: the record the event was decoded from.
        event: its decoded form.
        format_name: the wire format's name.
        words: of `words.words_of`, made while decoding.
    """
    resource, context = event.resource, event.context
    tenant_id, event_id = event.tenant_id, event.id
    # By position, in the order of the fields: naming seventeen of them takes an event a microsecond.
    return Projection(
        record.position,
        event.timestamp_us,
        record.timestamp_ms,
        tenant_id,
        event_id,
        filter_term(event.actor.id),
        filter_term(event.action),
        event.outcome,
        None if resource is None else filter_term(resource.path),
        None if resource is None or resource.type is None else filter_term(resource.type),
        context.source_ip,
        None if context.request_id is None else filter_term(context.request_id),
        metadata_terms(event.metadata) if event.metadata else (),
        words,
        content_hash(_content(record), tenant_id, event_id, format_name),
        format_name,
        event.flags,
    )


def _content(record: Record) -> bytes | None:
    """The bytes that say what happened: the value, and in CloudEvents' binary mode the headers ``ce_*`` as well."""
    for name, _ in record.headers:
        if name.startswith(_ATTRIBUTE_PREFIX):
            return _with_attributes(record)
    return record.value


def _with_attributes(record: Record) -> bytes:
    attributes = [header for header in record.headers if header[0].startswith(_ATTRIBUTE_PREFIX)]
    return msgspec.json.encode((sorted(attributes, key=repr), record.value))


def entry(record: Record, event: Event, format_name: str, words: str) -> Entry:
    """The entry of an event under its own name."""
    return Entry(
        project(record, event, format_name, words),
        record,
        document_id(event.tenant_id, event.id),
        month(event.timestamp_us),
    )


def colliding(taken: Entry) -> Entry:
    """The same entry for the case that another event holds its name: found like any other, flagged."""
    flags = (*taken.projection.flags, COLLISION_FLAG)
    return msgspec.structs.replace(
        taken,
        projection=msgspec.structs.replace(taken.projection, flags=flags),
        document_id=collision_document_id(taken.projection.position),
    )
