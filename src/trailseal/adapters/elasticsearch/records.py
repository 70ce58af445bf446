"""A record as part of a document: kept whole, never indexed, rebuilt byte for byte."""

from __future__ import annotations

import msgspec

from trailseal.model.record import Int64, Position, Record


class StoredRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The frame and the value of a record; the position stands beside it in the document.

    Attributes:
        timestamp: append time, milliseconds since 1970 UTC.
        value: the exact value where it is UTF-8, as text that people can read and search engines can show.
        value_base64: the exact value where it is not.
        key: the exact key, base64 in JSON.
        headers: in order, values base64 in JSON.
    """

    timestamp: Int64
    value: str | None = None
    value_base64: bytes | None = None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def stored_record(record: Record) -> StoredRecord:
    """The record in its stored form."""
    text: str | None = None
    raw: bytes | None = None
    if record.value is not None:
        try:
            text = record.value.decode()
        except UnicodeDecodeError:
            raw = record.value
    return StoredRecord(record.timestamp_ms, text, raw, record.key, record.headers)


def rebuilt_record(position: Position, stored: StoredRecord) -> Record:
    """The record that `stored_record` was given."""
    value = stored.value_base64 if stored.value is None else stored.value.encode()
    return Record(position, stored.timestamp, stored.key, value, stored.headers)
