"""The native format: one JSON object with the fields of `docs/reference/event.md`."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final, Literal

import msgspec

from trailseal.errors import InvalidEvent, Problem
from trailseal.formats.decoding import DecodeContext, Decoded, refuse, worded
from trailseal.formats.json_reader import read_json
from trailseal.formats.strict_json import read_strictly
from trailseal.model.addresses import canonical_address
from trailseal.model.event import DEFAULT_TENANT, OUTCOMES, Actor, Change, Context, Event, Outcome, Resource
from trailseal.model.limits import MAX_FOREIGN_DEPTH, MAX_RECORD_BYTES, check_event
from trailseal.model.timestamps import parse_rfc3339

NAME: Final = "native"
_NO_CONTEXT: Final = Context()


class NativeEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wire form. An optional field that is null counts as left out."""

    timestamp: str
    actor: str | Actor
    action: str
    id: str | None = None
    tenant_id: str | None = None
    resource: str | Resource | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    context: Context | None = None
    changes: tuple[Change, ...] | None = None
    metadata: dict[str, Any] | None = None
    schema_version: Literal[1] | None = None


_decoder: Final = msgspec.json.Decoder(NativeEvent)


class SlicedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same of a record that was judged, with its metadata left as bytes: for showing, not for looking into."""

    timestamp: str
    actor: str | Actor
    action: str
    id: str | None = None
    tenant_id: str | None = None
    resource: str | Resource | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    context: Context | None = None
    changes: tuple[Change, ...] | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    schema_version: Literal[1] | None = None


_slicer: Final = msgspec.json.Decoder(SlicedEvent)


def sliced(value: bytes) -> SlicedEvent | None:
    """The event whose metadata can be copied into one line of JSON as they are, or None.

    A break of the line may only be white space around values, which nobody misses; but it would end the line.
    """
    if b"\n" in value or b"\r" in value:
        return None
    try:
        return _slicer.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def canonical(context: Context) -> Context:
    """The context with its address in canonical text.

    Raises:
        InvalidEvent: it is no address.
    """
    if context.source_ip is None:
        return context
    address = canonical_address(context.source_ip)
    if address is None:
        detail = "context.source_ip is not an IP address: leave it out, or put what it is into context.source"
        raise refuse("invalid-address", detail, "context.source_ip")
    return context if address == context.source_ip else msgspec.structs.replace(context, source_ip=address)


def decode(value: bytes, context: DecodeContext) -> Decoded:
    """Decode and check one native event.

    Raises:
        InvalidEvent: a rule is broken; the problem names field and rule.
    """
    if len(value) > MAX_RECORD_BYTES:
        raise refuse("too-large", f"the event has {len(value)} bytes; {MAX_RECORD_BYTES} are allowed")
    try:
        wire = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(_explain(value, str(error))) from None
    event = _event(wire, context)
    if context.judged:
        return Decoded(event, "", NAME)
    problem = check_event(event, context.received_us, ours=context.ours)
    if problem is not None:
        raise InvalidEvent(problem)
    text, keys = _texts(wire)
    if _looks_odd(value, keys, wire.timestamp.count(":") + text.count(":")):
        _check_oddities(value)
    if not context.with_words:
        return Decoded(event, "", NAME)
    if context.id is not None or context.tenant is not None or wire.id is None:
        text = f"{text}\n{event.id}\n{event.tenant_id}"
    if event.context.source_ip is not None:
        text = f"{text}\n{event.context.source_ip}"
    decoded = Decoded(event, "", NAME, text)
    return decoded if context.words_later else worded(decoded)


def _event(wire: NativeEvent, context: DecodeContext) -> Event:
    try:
        timestamp_us = parse_rfc3339(wire.timestamp)
    except ValueError as error:
        raise refuse("invalid-timestamp", f"timestamp: {error}", "timestamp") from None
    actor, resource = wire.actor, wire.resource
    event_id = wire.id if context.id is None else context.id
    tenant_id = wire.tenant_id if context.tenant is None else context.tenant
    return Event(
        id=context.missing_id() if event_id is None else event_id,
        timestamp_us=timestamp_us,
        tenant_id=DEFAULT_TENANT if tenant_id is None else tenant_id,
        actor=Actor(actor) if isinstance(actor, str) else actor,
        action=wire.action,
        resource=Resource(resource) if isinstance(resource, str) else resource,
        outcome=wire.outcome or "success",
        reason=wire.reason,
        context=_NO_CONTEXT if wire.context is None else canonical(wire.context),
        changes=wire.changes or (),
        metadata=wire.metadata or {},
    )


def _texts(wire: NativeEvent) -> tuple[str, int]:
    """The texts that words come from, by line, and how many keys the event has beside explicit nulls.

    Every named text has its key; a container has one more, and so have the time and the version.
    """
    named = [wire.action, wire.id, wire.tenant_id, wire.outcome, wire.reason]
    keys = 1 + (wire.schema_version is not None)
    actor, resource, context = wire.actor, wire.resource, wire.context
    if isinstance(actor, str):
        named.append(actor)
    else:
        keys += 1
        named += (actor.id, actor.type, actor.name)
    if isinstance(resource, Resource):
        keys += 1
        named += (resource.id, resource.type, resource.name)
    else:
        named.append(resource)
    if context is not None:
        keys += 1
        named += msgspec.structs.astuple(context)
    texts = [text for text in named if text is not None]
    keys += len(texts)
    if wire.changes is not None:
        keys += 1
        for change in wire.changes:
            texts.append(change.path)
            keys += 1 + sum(part is not None for part in (change.before, change.after))
            keys += _free_texts(change.before, texts) + _free_texts(change.after, texts)
    if wire.metadata is not None:
        keys += 1 + _free_texts(wire.metadata, texts)
    return "\n".join(texts), keys


def _free_texts(value: Any, texts: list[str]) -> int:
    """Add the strings below a value of free JSON; the number of its keys, one more for each colon in a key."""
    if type(value) is str:
        texts.append(value)
        return 0
    keys = 0
    if type(value) is dict:
        keys = len(value)
        for key, child in value.items():
            if ":" in key:
                keys += key.count(":")
            if type(child) is str:
                texts.append(child)
            else:
                keys += _free_texts(child, texts)
    elif type(value) is list:
        for child in value:
            keys += _free_texts(child, texts)
    return keys


def _looks_odd(value: bytes, keys: int, text_colons: int) -> bool:
    """Whether the decoder may have let something pass: a key given twice, or NUL.

    Every colon of JSON follows a key or stands in a text, so more colons than both mean a dropped key; unless a
    text spells its colon as an escape, which is looked at as well, as is NUL, which can only be an escape.
    """
    if value.count(b":") != keys + text_colons:
        return True
    return b"\\u00" in value and (b"\\u0000" in value or b"\\u003" in value)


def _check_oddities(value: bytes) -> None:
    if b"\\u0000" not in value:
        try:
            read_strictly(value)
        except ValueError:
            pass
        else:
            return
    fault = read_json(value, MAX_FOREIGN_DEPTH).first("duplicate-key", "nul-character")
    if fault is not None:
        raise InvalidEvent(fault)


_FIELDS: Final = tuple(NativeEvent.__struct_fields__)
_MESSAGE: Final = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_WRONG_TYPE: Final = re.compile(r"Expected `(.*)`, got `(.*)`", re.DOTALL)


def _explain(value: bytes, message: str) -> Problem:
    """Why the typed decoder failed: the first fault of the JSON itself, else the rule its message names."""
    faults = read_json(value, MAX_FOREIGN_DEPTH).faults
    return faults[0] if faults else explain_mismatch(message)


def explain_mismatch(message: str) -> Problem:
    """The rule that a message of msgspec's typed decoder is about."""
    match = _MESSAGE.fullmatch(message)
    what, path = (match[1], match[2]) if match else (message, None)
    if unknown := _UNKNOWN.fullmatch(what):
        return _unknown_field(unknown[1], path)
    if missing := _MISSING.fullmatch(what):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return Problem("missing-field", f"{field} is missing: it is required", field)
    if wrong := _WRONG_TYPE.fullmatch(what):
        return Problem("wrong-type", f"{path or 'the event'} must be {wrong[1]}, not {wrong[2]}", path)
    if path == "outcome":
        return Problem("invalid-value", f"outcome must be one of {', '.join(OUTCOMES)}", path)
    if path == "schema_version":
        return Problem("invalid-value", "schema_version must be 1, the only version there is", path)
    return Problem("invalid-value", f"{path or 'the event'} does not fit: {what}", path)


def _unknown_field(name: str, path: str | None) -> Problem:
    field = f"{path}.{name}" if path else name
    close = [] if path else difflib.get_close_matches(name, _FIELDS, n=1)
    advice = f"did you mean {close[0]}?" if close else "put what is yours into metadata"
    return Problem("unknown-field", f"{field} is no field of an event: {advice}", field)


class _Names(msgspec.Struct, frozen=True, gc=False):
    id: Any = None
    tenant_id: Any = None


_names_decoder: Final = msgspec.json.Decoder(_Names)


def body_fields(value: bytes) -> tuple[str | None, str | None]:
    """``id`` and ``tenant_id`` as the body gives them, without a full decode; None where there is none to read."""
    try:
        names = _names_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, None
    event_id = names.id if isinstance(names.id, str) else None
    return event_id, names.tenant_id if isinstance(names.tenant_id, str) else None
