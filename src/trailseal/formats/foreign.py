"""What all foreign formats share: nothing below 1 MiB is refused for its size, depth or odd values."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trailseal.errors import InvalidEvent, Problem
from trailseal.formats.decoding import WORDS_CUT, DecodeContext, Decoded, refuse
from trailseal.formats.json_reader import read_json
from trailseal.model.event import DEFAULT_TENANT, Event
from trailseal.model.identity import hashed_id
from trailseal.model.limits import (
    MAX_FOREIGN_BYTES,
    MAX_FOREIGN_DEPTH,
    MAX_METADATA_TERMS,
    MAX_TENANT_AND_ID_BYTES,
    check_core,
)
from trailseal.model.terms import metadata_terms
from trailseal.model.timestamps import parse_rfc3339
from trailseal.model.words import are_cut, words_of

ID_HASHED: Final = "id-hashed"
DEPTH_CUT: Final = "depth-cut"
TEXT_REPAIRED: Final = "text-repaired"
NUMBER_AS_TEXT: Final = "number-as-text"
METADATA_CUT: Final = "metadata-cut"
SOURCE_NOT_AN_ADDRESS: Final = "source-not-an-address"
_BROKEN: Final = ("malformed-json", "invalid-utf8")
_FLAGS: Final = {
    "too-deep": DEPTH_CUT,
    "lone-surrogate": TEXT_REPAIRED,
    "number-out-of-range": NUMBER_AS_TEXT,
}


class Loaded(msgspec.Struct):
    """A foreign record.

    Attributes:
        body: its JSON object.
        texts: every string in it that is a value.
        flags: what could not be kept.
        scalars: how many scalars there are at the most.
    """

    body: dict[str, Any]
    texts: list[str]
    flags: list[str]
    scalars: int


def load(value: bytes) -> Loaded:
    """Decode a JSON object of at most 1 MiB.

    Raises:
        InvalidEvent: it is larger, no JSON, not UTF-8, or no object.
    """
    body, texts, flags = load_any(value)
    if not isinstance(body, dict):
        raise refuse("wrong-type", "the event must be a JSON object")
    return Loaded(body, texts, flags, most_scalars(value))


def most_scalars(value: bytes) -> int:
    """No JSON text has more scalars than this."""
    return value.count(b",") + 1


def load_any(value: bytes) -> tuple[Any, list[str], list[str]]:
    """Decode any JSON of at most 1 MiB: the value, every text in it, and flags of what could not be kept.

    Raises:
        InvalidEvent: it is larger, no JSON or not UTF-8.
    """
    if len(value) > MAX_FOREIGN_BYTES:
        raise refuse("too-large", f"the event has {len(value)} bytes; {MAX_FOREIGN_BYTES} are allowed")
    try:
        body = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _load_patiently(value)
    texts: list[str] = []
    return (body, texts, []) if gather(body, texts, MAX_FOREIGN_DEPTH) else _load_patiently(value)


def _load_patiently(value: bytes) -> tuple[Any, list[str], list[str]]:
    reading = read_json(value, MAX_FOREIGN_DEPTH)
    broken = reading.first(*_BROKEN)
    if broken is not None:
        raise InvalidEvent(broken)
    codes = {fault.code for fault in reading.faults}
    return reading.value, reading.texts, [flag for code, flag in _FLAGS.items() if code in codes]


def gather(value: Any, texts: list[str], depth_left: int) -> bool:
    """Collect every string that is a value; False where it is nested deeper than allowed."""
    if type(value) is str:
        texts.append(value)
    elif type(value) is dict or type(value) is list:
        if not depth_left:
            return False
        for child in value.values() if type(value) is dict else value:
            if type(child) is str:
                texts.append(child)
            elif not gather(child, texts, depth_left - 1):
                return False
    return True


def text_of(body: Any, *path: str) -> str | None:
    """The text at that path: a string that is not empty, or an integer's digits; else None."""
    for key in path:
        if not isinstance(body, dict):
            return None
        body = body.get(key)
    if isinstance(body, str):
        return body or None
    return str(body) if type(body) is int else None


def need_time(text: str | None, field: str) -> int:
    """The instant of a required time field.

    Raises:
        InvalidEvent: it is missing or no time.
    """
    if text is None:
        raise refuse("missing-field", f"{field} is missing: it is required", field)
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise refuse("invalid-timestamp", f"{field}: {error}", field) from None


def fitting_id(tenant_id: str, event_id: str, flags: list[str]) -> str:
    """The id itself or, where it is too long or holds NUL, its SHA-256, flagged."""
    if "\0" not in event_id and len(tenant_id.encode()) + len(event_id.encode()) <= MAX_TENANT_AND_ID_BYTES:
        return event_id
    flags.append(ID_HASHED)
    return hashed_id(event_id)


def names_of(
    context: DecodeContext, tenant_id: str | None, event_id: str | None, flags: list[str]
) -> tuple[str, str]:
    """Tenant and id of a foreign event; what the context gives wins and is never hashed."""
    tenant = context.tenant if context.tenant is not None else tenant_id or DEFAULT_TENANT
    if context.id is not None:
        return tenant, context.id
    return tenant, context.missing_id() if event_id is None else fitting_id(tenant, event_id, flags)


def finish(event: Event, loaded: Loaded, time_text: str | None, context: DecodeContext, name: str) -> Decoded:
    """Check what even foreign events must keep, flag what was cut, and add the words.

    Args:
        event: with every field but ``flags``.
        loaded: what it came from; its texts without the time become words.
        time_text: the text of the event's time, which is no word.
        context: of the decoding.
        name: of the format.

    Raises:
        InvalidEvent: a reserved name, an illegal tenant, or a time out of range.
    """
    problem: Problem | None = check_core(event, context.received_us)
    if problem is not None:
        raise InvalidEvent(problem)
    words = _words(event, loaded, time_text) if context.with_words else ""
    if loaded.scalars >= MAX_METADATA_TERMS and len(metadata_terms(event.metadata)) >= MAX_METADATA_TERMS:
        loaded.flags.append(METADATA_CUT)
    if loaded.flags:
        event = msgspec.structs.replace(event, flags=tuple(loaded.flags))
    return Decoded(event, words, name)


def _words(event: Event, loaded: Loaded, time_text: str | None) -> str:
    texts = [*loaded.texts, event.id, event.tenant_id]
    if time_text in texts:
        texts.remove(time_text)
    words = words_of(texts)
    if are_cut(words):
        loaded.flags.append(WORDS_CUT)
    return words
