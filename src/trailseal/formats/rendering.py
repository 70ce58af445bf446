"""How an event is shown: its normal form, with what the log knows of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trailseal.errors import IntegrityViolation, InvalidEvent
from trailseal.formats import decode_with, native, plain_native
from trailseal.model.event import DEFAULT_TENANT, SCHEMA_VERSION, Actor, Change, Context, Event, Resource
from trailseal.model.projection import Hit
from trailseal.model.record import HEADER_ID, HEADER_TENANT, Position
from trailseal.model.timestamps import format_rfc3339, parse_rfc3339

_NO_CONTEXT: Final = Context()
_MS_IN_US: Final = 1000
_encoder: Final = msgspec.json.Encoder()


class EventSeal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The leaf of an event's record and what covers it.

    Attributes:
        origin: the log, as its checkpoints name it.
        index: of the leaf.
        leaf: the leaf's hash, base64; ``/events/{id}/proof`` shows what it is made of.
        checkpoint: the signed note that covers it; left out for the few seconds until there is one.
    """

    origin: str
    index: int
    leaf: bytes
    checkpoint: str | None = None


class RenderedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of an answer. What an event does not have is left out.

    Attributes:
        id: unique in tenant and month.
        timestamp: when it happened, RFC 3339 in UTC, microseconds where there are any.
        received_at: the log's append time, in the same form.
        tenant_id: whose event it is.
        actor: who.
        action: what was done.
        outcome: ``success``, ``failure``, ``denied`` or ``unknown``.
        format: the wire format it came in.
        position: ``log/partition/offset`` of its record.
        resource: to what.
        reason: why it ended so.
        context: from where, by which request.
        changes: what the action changed.
        metadata: free JSON.
        flags: what decoding could not keep as it was.
        record: the original value, byte for byte as text; only where asked for.
        seal: its leaf and the checkpoint that covers it; only where asked for.
        schema_version: of the normal form.
    """

    id: str
    timestamp: str
    received_at: str
    tenant_id: str
    actor: Actor
    action: str
    outcome: str
    format: str
    position: str
    schema_version: int
    resource: Resource | None = None
    reason: str | None = None
    context: Context | None = None
    changes: tuple[Change, ...] = ()
    metadata: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
    record: str | None = None
    seal: EventSeal | None = None


def normalised(event: Event, position: Position, received_us: int, format_name: str) -> RenderedEvent:
    """An event as answers show it.

    Args:
        event: decoded from the record.
        position: of the record.
        received_us: the append time, microseconds since 1970 UTC.
        format_name: the wire format's name.
    """
    return RenderedEvent(
        schema_version=SCHEMA_VERSION,
        id=event.id,
        timestamp=format_rfc3339(event.timestamp_us),
        received_at=format_rfc3339(received_us),
        tenant_id=event.tenant_id,
        actor=event.actor,
        action=event.action,
        outcome=event.outcome,
        format=format_name,
        position=str(position),
        resource=event.resource,
        reason=event.reason,
        context=None if event.context == _NO_CONTEXT else event.context,
        changes=event.changes,
        metadata=event.metadata,
        flags=event.flags,
    )


def rendered(hit: Hit, *, with_record: bool = False, seal: EventSeal | None = None) -> RenderedEvent:
    """A found event as answers show it, made from its record and never from the index.

    Args:
        hit: its key's id is used only where neither record nor headers have one.
        with_record: whether to bring the original value.
        seal: to be shown with it.

    Raises:
        IntegrityViolation: the index leads to a record that is no event.
    """
    record = hit.record
    try:
        decoded = decode_with(record, hit.key.id, with_words=False)
    except InvalidEvent as error:
        raise IntegrityViolation(
            f"The index shows an event at {record.position}, but the record there is none ({error.problem.code}): "
            "delete the index folder to have it rebuilt, and find out who wrote to it."
        ) from error
    shown = normalised(decoded.event, record.position, record.timestamp_ms * _MS_IN_US, decoded.format)
    if with_record and record.value is not None:
        shown = msgspec.structs.replace(shown, record=record.value.decode())
    return shown if seal is None else msgspec.structs.replace(shown, seal=seal)


def render(hit: Hit, *, with_record: bool = False, seal: EventSeal | None = None) -> bytes:
    """A found event as one line of JSON; see `rendered`."""
    shown = None if with_record or seal is not None else _sliced(hit)
    return _encoder.encode(rendered(hit, with_record=with_record, seal=seal) if shown is None else shown)


def _sliced(hit: Hit) -> RenderedEvent | None:
    """What `rendered` makes of a native record, its metadata copied as bytes; None where it has to look closer."""
    record = hit.record
    try:
        names = plain_native(record)
        event = None if names is None or record.value is None else native.sliced(record.value)
        if names is None or event is None:
            return None
        return _shown_sliced(hit, names, event)
    except (InvalidEvent, ValueError):
        return None


def _shown_sliced(hit: Hit, names: dict[str, str], event: native.SlicedEvent) -> RenderedEvent:
    record, actor, resource, context = hit.record, event.actor, event.resource, event.context
    metadata: Any = event.metadata
    if _is_empty(bytes(metadata)):
        metadata = {}
    return RenderedEvent(
        schema_version=SCHEMA_VERSION,
        id=names.get(HEADER_ID) or event.id or hit.key.id,
        timestamp=format_rfc3339(parse_rfc3339(event.timestamp)),
        received_at=format_rfc3339(record.timestamp_ms * _MS_IN_US),
        tenant_id=names.get(HEADER_TENANT) or event.tenant_id or DEFAULT_TENANT,
        actor=Actor(actor) if isinstance(actor, str) else actor,
        action=event.action,
        outcome=event.outcome or "success",
        format=native.NAME,
        position=str(record.position),
        resource=Resource(resource) if isinstance(resource, str) else resource,
        reason=event.reason,
        context=None if context is None or context == _NO_CONTEXT else native.canonical(context),
        changes=event.changes or (),
        metadata=metadata,
    )


def _is_empty(metadata: bytes) -> bool:
    """Whether there is nothing in it: left out, null or an object without keys."""
    return metadata in {b"", b"null", b"{}"} or not metadata[1:-1].strip()
