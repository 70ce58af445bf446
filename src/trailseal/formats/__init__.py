"""One module per wire format: bytes -> Event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from trailseal.errors import InvalidEvent
from trailseal.formats import cloudevents, cloudtrail, native
from trailseal.formats.decoding import DecodeContext, Decoded, Format, refuse, worded
from trailseal.model.identity import derived_id
from trailseal.model.limits import MAX_FOREIGN_BYTES, MAX_RECORD_BYTES
from trailseal.model.record import HEADER_ADMIN, HEADER_FORMAT, HEADER_ID, HEADER_TENANT, HEADER_UNREADABLE, Record

__all__ = [
    "FORMATS",
    "RESERVED_HEADER",
    "DecodeContext",
    "Decoded",
    "Format",
    "InvalidEvent",
    "decode_admin",
    "decode_record",
    "decode_with",
    "detect",
    "is_native",
    "plain_native",
    "worded",
]

FORMATS: Final[dict[str, Format]] = {
    form.name: form
    for form in (
        Format(native.NAME, native.decode, MAX_RECORD_BYTES),
        Format(cloudevents.NAME, cloudevents.decode, MAX_FOREIGN_BYTES),
        Format(cloudtrail.NAME, cloudtrail.decode, MAX_FOREIGN_BYTES),
    )
}
"""Every wire format by its name."""

RESERVED_HEADER: Final = "reserved-header"
"""The problem of a record that bears the header of admin records."""

_MS_IN_US: Final = 1000
_OURS: Final = frozenset({HEADER_ID, HEADER_TENANT, HEADER_FORMAT, HEADER_ADMIN, HEADER_UNREADABLE})
_CONTENT_TYPE: Final = "content-type"


def decode_record(record: Record, origin: str, *, words_later: bool = False) -> Decoded:
    """Decode a record of the log: the same for its first time and for every replay.

    Args:
        record: as the log holds it.
        origin: the log's identity, from which an id is derived where there is none.
        words_later: leave the words to `worded`, where the format allows it.

    Raises:
        InvalidEvent: the record is no event; it becomes a dead letter.
    """
    position = record.position
    return decode_with(
        record, lambda: derived_id(origin, position.partition, position.offset), words_later=words_later
    )


def decode_with(
    record: Record, missing_id: Callable[[], str] | str, *, with_words: bool = True, words_later: bool = False
) -> Decoded:
    """Decode a record whose missing id is known or made otherwise; see `decode_record`.

    Without words it is not judged either: for a record that was decoded before, or will be.
    """
    if record.value is None:
        raise refuse("null-value", "the record has no value: only records with an event in them are taken")
    ours = not with_words and record.header(HEADER_ADMIN) is not None
    names = _names(record, ours=ours)
    context = DecodeContext(
        received_us=record.timestamp_ms * _MS_IN_US,
        derived_id=missing_id,
        tenant=names.get(HEADER_TENANT),
        id=names.get(HEADER_ID),
        with_words=with_words,
        words_later=words_later,
        judged=not with_words,
        ours=ours,
    )
    name = names.get(HEADER_FORMAT)
    if name is None:
        return _decode_unnamed(record, record.value, context)
    form = FORMATS.get(name)
    if form is None:
        known = ", ".join(FORMATS)
        raise refuse("unknown-format", f"the header {HEADER_FORMAT} names none of {known}", HEADER_FORMAT)
    return form.decode(record.value, context)


def plain_native(record: Record) -> dict[str, str] | None:
    """Our own headers of a record that is certainly native; None where it takes a look to tell, or is none.

    Raises:
        InvalidEvent: the headers break a rule.
    """
    names = _names(record)
    name = names.get(HEADER_FORMAT)
    if name is None:
        other = record.header(cloudevents.BINARY_VERSION) or record.header(_CONTENT_TYPE)
        return names if other is None else None
    return names if name == native.NAME else None


def is_native(record: Record) -> bool:
    """Whether the record's headers say that its value is a native event, or do not say what else it is."""
    for name, value in record.headers:
        if name == HEADER_FORMAT and value is not None:
            return value == native.NAME.encode()
    media = record.header(_CONTENT_TYPE) or b""
    return record.header(cloudevents.BINARY_VERSION) is None and not media.lower().startswith(
        cloudevents.STRUCTURED_TYPE
    )


def decode_admin(record: Record) -> Decoded:
    """Decode an admin record whose header was found genuine; nothing else may bear Trailseal's own names.

    Raises:
        InvalidEvent: it is no native event with an id, of our tenant, with one of our actions.
    """
    if record.value is None:
        raise refuse("null-value", "the record has no value: only records with an event in them are taken")
    names = _names(record, ours=True)
    context = DecodeContext(
        received_us=record.timestamp_ms * _MS_IN_US, derived_id="", id=names.get(HEADER_ID), ours=True
    )
    return native.decode(record.value, context)


def _decode_unnamed(record: Record, value: bytes, context: DecodeContext) -> Decoded:
    """Decode a record without our format header: CloudEvents by its Kafka binding, else native."""
    if record.header(cloudevents.BINARY_VERSION) is not None:
        return cloudevents.decode_binary(value, record.headers, context)
    content_type = record.header(_CONTENT_TYPE)
    if content_type is not None and content_type.lower().startswith(cloudevents.STRUCTURED_TYPE):
        return cloudevents.decode(value, context)
    return native.decode(value, context)


def _names(record: Record, *, ours: bool = False) -> dict[str, str]:
    """Our headers as text."""
    names: dict[str, str] = {}
    for name, value in record.headers:
        if name not in _OURS:
            continue
        if name == HEADER_ADMIN:
            if ours:
                continue
            raise refuse("reserved-header", f"the header {HEADER_ADMIN} is Trailseal's own", HEADER_ADMIN)
        if name == HEADER_UNREADABLE:
            raise refuse("unreadable-headers", "the names of the record's headers are not UTF-8")
        if value is None:
            continue
        if name in names:
            raise refuse("repeated-header", f"the header {name} is given twice", name)
        try:
            names[name] = value.decode()
        except UnicodeDecodeError:
            raise refuse("invalid-utf8", f"the header {name} is not UTF-8", name) from None
    return names


_ABSENT: Final = msgspec.Raw()


class _Probe(msgspec.Struct, frozen=True):
    """The fields that tell formats apart."""

    eventVersion: msgspec.Raw = _ABSENT  # noqa: N815 - the wire's own name
    eventSource: msgspec.Raw = _ABSENT  # noqa: N815 - the wire's own name
    eventName: msgspec.Raw = _ABSENT  # noqa: N815 - the wire's own name
    specversion: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT
    source: msgspec.Raw = _ABSENT


_probe_decoder: Final = msgspec.json.Decoder(_Probe)


def detect(value: bytes) -> str:
    """The format of one record, guessed by the fields that only this format has; ``native`` where none fits."""
    try:
        probe = _probe_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return native.NAME
    if _ABSENT not in (probe.eventVersion, probe.eventSource, probe.eventName):
        return cloudtrail.NAME
    if _ABSENT not in (probe.specversion, probe.type, probe.source):
        return cloudevents.NAME
    return native.NAME
