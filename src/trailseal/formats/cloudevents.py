"""CloudEvents 1.0: structured JSON, and the binary mode of its Kafka binding.

What becomes what: `docs/reference/formats.md`. Attributes: CloudEvents specification 1.0.2, section 3; mapping to
JSON and to Kafka headers: its JSON event format and Kafka protocol binding; ``authid`` and ``authtype``: its
extension "Auth Context"; ``traceparent``: its extension "Distributed Tracing".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.formats.decoding import DecodeContext, Decoded, refuse
from trailseal.formats.foreign import (
    SOURCE_NOT_AN_ADDRESS,
    Loaded,
    finish,
    gather,
    load,
    load_any,
    most_scalars,
    names_of,
    need_time,
    text_of,
)
from trailseal.model.addresses import canonical_address
from trailseal.model.event import OUTCOMES, Actor, Change, Context, Event, Outcome, Resource
from trailseal.model.limits import MAX_FOREIGN_DEPTH
from trailseal.model.record import Headers

NAME: Final = "cloudevents"
BINARY_VERSION: Final = "ce_specversion"
STRUCTURED_TYPE: Final = b"application/cloudevents+json"
TIME_FROM_APPEND: Final = "time-from-append"
ACTOR_FROM_SOURCE: Final = "actor-from-source"
DATA_NOT_READ: Final = "data-not-read"
_BINARY_PREFIX: Final = "ce_"
_TRACEPARENT_PARTS: Final = 4
_MAPPED: Final = frozenset(
    {
        "id",
        "time",
        "type",
        "subject",
        "data",
        "data_base64",
        "tenantid",
        "outcome",
        "requestid",
        "sourceip",
        "authid",
        "authtype",
        "actorid",
        "actortype",
        "actorname",
    }
)


class _EventData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``data`` that is itself a native event, but for what the attributes say already."""

    actor: str | Actor
    action: str | None = None
    timestamp: str | None = None
    id: str | None = None
    tenant_id: str | None = None
    resource: str | Resource | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    context: Context | None = None
    changes: tuple[Change, ...] | None = None
    metadata: dict[str, Any] | None = None
    schema_version: int | None = None


def decode(value: bytes, context: DecodeContext) -> Decoded:
    """Decode one CloudEvent in structured mode.

    Raises:
        InvalidEvent: no JSON object, a required attribute missing, another major version, or a time out of range.
    """
    loaded = load(value)
    return _decode(loaded, loaded.body, loaded.body.get("data"), context)


def decode_binary(value: bytes, headers: Headers, context: DecodeContext) -> Decoded:
    """Decode one CloudEvent in Kafka's binary mode: attributes in the headers ``ce_*``, data in the value.

    Raises:
        InvalidEvent: as `decode`, or a header that is not UTF-8. A value that is no JSON is not read, and flagged.
    """
    attributes: dict[str, Any] = {}
    for name, raw in headers:
        if not name.startswith(_BINARY_PREFIX) or raw is None:
            continue
        try:
            attributes[name.removeprefix(_BINARY_PREFIX)] = raw.decode()
        except UnicodeDecodeError:
            raise refuse("invalid-utf8", f"the header {name} is not UTF-8", name) from None
    try:
        data, texts, flags = load_any(value)
    except InvalidEvent as error:
        if error.problem.code == "too-large":
            raise
        data, texts, flags = None, [], [DATA_NOT_READ]
    gather(attributes, texts, MAX_FOREIGN_DEPTH)
    return _decode(Loaded(attributes, texts, flags, most_scalars(value)), attributes, data, context)


def _decode(loaded: Loaded, attributes: dict[str, Any], data: Any, context: DecodeContext) -> Decoded:
    _need_version(text_of(attributes, "specversion"))
    kind, event_id = _need(attributes, "type"), _need(attributes, "id")
    source = _need(attributes, "source")
    inner = _event_data(data)
    if "data_base64" in attributes:
        loaded.flags.append(DATA_NOT_READ)
    time_text = text_of(attributes, "time") or inner.timestamp
    timestamp_us = _time(time_text, context, loaded.flags)
    tenant_id, name = names_of(
        context, text_of(attributes, "tenantid") or inner.tenant_id, _identity(source, event_id), loaded.flags
    )
    event = Event(
        id=name,
        timestamp_us=timestamp_us,
        tenant_id=tenant_id,
        actor=_actor(attributes, inner, source, loaded.flags),
        action=inner.action or kind,
        resource=_resource(attributes, inner),
        outcome=_outcome(attributes, inner),
        reason=inner.reason,
        context=_context(attributes, inner, loaded.flags),
        changes=inner.changes or (),
        metadata=_metadata(attributes, data, inner),
    )
    return finish(event, loaded, time_text, context, NAME)


_NO_EVENT: Final = _EventData(actor="")


def _event_data(data: Any) -> _EventData:
    """``data`` as a native event, or `_NO_EVENT` where it is something else."""
    if not isinstance(data, dict) or "actor" not in data:
        return _NO_EVENT
    try:
        return msgspec.convert(data, _EventData)
    except msgspec.ValidationError:
        return _NO_EVENT


def _need(attributes: dict[str, Any], name: str) -> str:
    text = text_of(attributes, name)
    if text is None:
        raise refuse("missing-field", f"the CloudEvents attribute {name} is missing: it is required", name)
    return text


def _need_version(version: str | None) -> None:
    if version is None or not (version == "1" or version.startswith("1.")):
        raise refuse("unsupported-version", "specversion must be 1.0", "specversion")


def _time(text: str | None, context: DecodeContext, flags: list[str]) -> int:
    if text is None:
        flags.append(TIME_FROM_APPEND)
        return context.received_us
    return need_time(text, "time")


def _identity(source: str, event_id: str) -> str:
    """``source|id``: one name per (source, id), since no URI reference holds a bar (RFC 3986)."""
    return f"{source.replace('|', '%7C')}|{event_id}"


def _actor(attributes: dict[str, Any], inner: _EventData, source: str, flags: list[str]) -> Actor:
    actor_id = text_of(attributes, "actorid") or text_of(attributes, "authid")
    if actor_id is not None:
        kind = text_of(attributes, "actortype") or text_of(attributes, "authtype")
        return Actor(actor_id, kind, text_of(attributes, "actorname"))
    actor = Actor(inner.actor) if isinstance(inner.actor, str) else inner.actor
    if actor.id:
        return actor
    flags.append(ACTOR_FROM_SOURCE)
    return Actor(source, "service")


def _resource(attributes: dict[str, Any], inner: _EventData) -> Resource | None:
    resource = Resource(inner.resource) if isinstance(inner.resource, str) else inner.resource
    if resource is not None and resource.id:
        fits = resource.type is None or (resource.type and "/" not in resource.type)
        return resource if fits else Resource(resource.id, None, resource.name)
    subject = text_of(attributes, "subject")
    return None if subject is None else Resource(subject)


def _outcome(attributes: dict[str, Any], inner: _EventData) -> Outcome:
    if inner.outcome is not None:
        return inner.outcome
    stated = text_of(attributes, "outcome")
    if stated is None:
        return "success"
    return msgspec.convert(stated, Outcome) if stated in OUTCOMES else "unknown"


def _context(attributes: dict[str, Any], inner: _EventData, flags: list[str]) -> Context:
    base = inner.context or Context()
    stated = base.source_ip or text_of(attributes, "sourceip")
    address = None if stated is None else canonical_address(stated)
    if stated is not None and address is None:
        flags.append(SOURCE_NOT_AN_ADDRESS)
    trace = (text_of(attributes, "traceparent") or "").split("-")
    return Context(
        source_ip=address,
        source=base.source if stated is None or address is not None else stated,
        user_agent=base.user_agent,
        request_id=base.request_id or text_of(attributes, "requestid"),
        trace_id=base.trace_id or (trace[1] if len(trace) >= _TRACEPARENT_PARTS else None),
        session_id=base.session_id,
    )


def _metadata(attributes: dict[str, Any], data: Any, inner: _EventData) -> dict[str, Any]:
    """Data as free metadata, and under ``cloudevents`` the attributes that have no field of their own."""
    if inner is not _NO_EVENT:
        metadata = dict(inner.metadata or {})
    elif isinstance(data, dict):
        metadata = dict(data)
    else:
        metadata = {} if data is None else {"data": data}
    rest = {name: text for name, text in attributes.items() if name not in _MAPPED and text is not None}
    if inner.action is not None:
        rest["type"] = attributes["type"]
    return {**metadata, "cloudevents": rest}
