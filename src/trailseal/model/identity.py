"""What makes an event the same event: ids, document names and hashes."""

from __future__ import annotations

import os
import threading
from hashlib import sha256
from struct import Struct
from typing import Final

from trailseal.model.record import Position

_CONTENT_PREFIX: Final = b"trailseal content 1\n"
_DERIVED_PREFIX: Final = b"trailseal derived id 1\n"
_content_lengths: Final = Struct(">qIII").pack
_derived_fields: Final = Struct(">IIQ").pack
_ABSENT: Final = -1


def document_id(tenant_id: str, event_id: str) -> str:
    """The name of an event's document inside its month: ``tenant/id``.

    Unambiguous, since no tenant is empty or holds a slash.
    """
    return f"{tenant_id}/{event_id}"


def collision_document_id(position: Position) -> str:
    """The name of a document whose `document_id` another event holds: ``/log/partition/offset``.

    It is nobody's `document_id`, since no tenant is empty.
    """
    return f"/{position}"


def content_hash(value: bytes | None, tenant_id: str, event_id: str, format_name: str) -> bytes:
    """32 bytes that two records share only if they say the same thing about the same event.

    SHA-256 over the lengths of all parts, then the parts, so that no bytes can move from one into another.
    """
    tenant, name, wire = tenant_id.encode(), event_id.encode(), format_name.encode()
    lengths = _content_lengths(_ABSENT if value is None else len(value), len(tenant), len(name), len(wire))
    return sha256(b"".join((_CONTENT_PREFIX, lengths, value or b"", tenant, name, wire))).digest()


def derived_id(origin: str, partition: int, offset: int) -> str:
    """The id of an event that carries none, from where its record stands in the log.

    Args:
        origin: the log's identity (`EventLog.origin`), so that a log made anew never repeats an id.
        partition: of the record.
        offset: of the record.

    Returns:
        64 hexadecimal digits.
    """
    name = origin.encode()
    return sha256(_DERIVED_PREFIX + _derived_fields(len(name), partition, offset) + name).hexdigest()


def hashed_id(text: str) -> str:
    """The SHA-256 that stands for a foreign id too long or too odd to be one: 64 hexadecimal digits."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Uuid7Source:
    """Makes UUIDs that grow within this process, from any thread.

    RFC 9562 section 6.2, method 1: the 12 bits behind the milliseconds are a counter that starts at a random
    value below 2,048 every millisecond. Where the clock stands still, goes back, or the counter runs over, the
    next number simply follows the last one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, now_ms: int) -> str:
        """One UUID, greater than every earlier one of this process."""
        noise = int.from_bytes(os.urandom(10))
        fresh = now_ms << 12 | (noise >> 62) & 0x7FF
        with self._lock:
            stamp = self._last = max(fresh, self._last + 1)
        low = noise & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        text = f"{stamp >> 12:012x}7{stamp & 0xFFF:03x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_UUID7: Final = _Uuid7Source()


def uuid7(now_ms: int) -> str:
    """A new UUIDv7 (RFC 9562 section 5.7), greater than every earlier one this process made.

    Args:
        now_ms: milliseconds since 1970 UTC, by the caller's clock.
    """
    return _UUID7.next(now_ms)
