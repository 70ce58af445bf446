"""What a commitment covers: the frame of a record, its salt, and the commitment itself.

The frame is all of a record but its salt: append time, key, value and headers in their order, each behind
its length, null kept apart from empty. Two different records never have the same frame. It depends on the
bytes in the log alone, never on a decoder, so that a record which nobody can parse is sealed like any other.

    u8  version = 1
    i64 append time, milliseconds since the epoch
    u32 key length, or 0xFFFFFFFF for a null key       | key
    u32 value length, or 0xFFFFFFFF for a null value   | value
    u32 number of headers, then each:
        u32 name length | name | u32 value length, or 0xFFFFFFFF for null | value

All integers are big-endian. The salt is the value of the header ``trailseal-salt``, if that header is there
once and holds exactly 32 bytes; it is then left out of the frame. In any other case the header is a header
like all others, stays in the frame, and the salt is derived from a secret of the log's owner.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from trailseal.merkle.errors import InvalidEncoding

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
"""A record's headers in their order: name, and value or None."""

SALT_HEADER: Final = "trailseal-salt"
SALT_SIZE: Final = 32

_VERSION: Final = 1
_FIXED_START: Final = 9  # version and time
_NULL_LENGTH: Final = 0xFFFFFFFF
_NULL: Final = b"\xff\xff\xff\xff"
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * 32
_OUTER_REST: Final = b"\x5c" * 32
_pack_start = struct.Struct(">Bq").pack
_pack_u32 = struct.Struct(">I").pack
_pack_u64 = struct.Struct(">Q").pack


def _nullable(data: bytes | None) -> bytes:
    return _NULL if data is None else _pack_u32(len(data)) + data


def _header_name(name: str) -> bytes:
    return _nullable(name.encode("utf-8", "surrogateescape"))


_KNOWN_NAMES: Final = {
    name: _header_name(name)
    for name in ("trailseal-id", "trailseal-tenant", "trailseal-format", "trailseal-admin", "traceparent")
}


_SHORT_LENGTHS: Final = [_pack_u32(length) for length in range(4096)]


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: all of a record but its salt.

    Attributes:
        timestamp_ms: the append time, milliseconds since the epoch.
        key: the record's key, or None.
        value: the record's value, or None.
        headers: the other headers in their order; bytes of a name that are not UTF-8 appear as lone
            surrogates (``surrogateescape``).
    """

    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def header_salt(headers: Headers) -> bytes | None:
    """Return the salt that travels with a record, or None where it has no valid one."""
    values = [value for name, value in headers if name == SALT_HEADER]
    salt = values[0] if len(values) == 1 else None
    return salt if salt is not None and len(salt) == SALT_SIZE else None


def encode_frame(timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Encode a record's frame; the arguments are those of ``salt_and_frame``.

    Raises:
        InvalidEncoding: the time does not fit 64 bits, or a header name cannot be UTF-8.
    """
    return salt_and_frame(timestamp_ms, key, value, headers)[1]


def salt_and_frame(
    timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes]:
    """Take a record apart into the salt that travels with it, if it has one that counts, and its frame.

    Every record passes here, so the common case (no nulls, our own header names, short lengths) is one
    pass without function calls; whatever does not fit it goes to ``_any_salt_and_frame``, which is the
    definition. Tests hold the two together.

    Args:
        timestamp_ms: the append time, milliseconds since the epoch.
        key: the record's key, or None.
        value: the record's value, or None.
        headers: **all** headers of the record in their order; a salt that counts is left out here.

    Raises:
        InvalidEncoding: the time does not fit 64 bits, or a header name cannot be UTF-8.
    """
    names, lengths = _KNOWN_NAMES, _SHORT_LENGTHS
    salt: bytes | None = None
    parts: list[bytes] = []
    try:
        for name, content in headers:
            if content is None:
                return _any_salt_and_frame(timestamp_ms, key, value, headers)
            if name != SALT_HEADER:
                parts.append(names[name] + lengths[len(content)] + content)
            elif salt is None and len(content) == SALT_SIZE:
                salt = content
            else:
                return _any_salt_and_frame(timestamp_ms, key, value, headers)
        if key is not None and value is not None:
            start, count = _pack_start(_VERSION, timestamp_ms), lengths[len(parts)]
            return salt, b"".join((start, lengths[len(key)], key, lengths[len(value)], value, count, *parts))
    except (KeyError, IndexError, struct.error):
        pass
    return _any_salt_and_frame(timestamp_ms, key, value, headers)


def _any_salt_and_frame(
    timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes]:
    salt = header_salt(headers)
    kept = [header for header in headers if salt is None or header[0] != SALT_HEADER]
    try:
        start = _pack_start(_VERSION, timestamp_ms)
        parts = [start, _nullable(key), _nullable(value), _pack_u32(len(kept))]
        parts += [_header_name(name) + _nullable(content) for name, content in kept]
    except (UnicodeEncodeError, struct.error) as error:
        raise InvalidEncoding("a record that cannot be framed: a time or length beyond its field") from error
    return salt, b"".join(parts)


def decode_frame(data: bytes) -> Frame:
    """Decode a frame.

    Raises:
        InvalidEncoding: the bytes are no frame, are cut off, go on after the end, or hold a salt that
            counts (a frame is made without it).
    """
    if len(data) < _FIXED_START or data[0] != _VERSION:
        raise InvalidEncoding(f"not a frame of version {_VERSION}")
    (timestamp_ms,) = struct.unpack_from(">q", data, 1)
    key, at = _read_nullable(data, _FIXED_START)
    value, at = _read_nullable(data, at)
    count, at = _read_u32(data, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _read_nullable(data, at)
        if name is None:
            raise InvalidEncoding("a frame's header has no name")
        content, at = _read_nullable(data, at)
        headers.append((name.decode("utf-8", "surrogateescape"), content))
    if at != len(data):
        raise InvalidEncoding(f"{len(data) - at} bytes follow the end of a frame")
    if header_salt(headers) is not None:
        raise InvalidEncoding(f"a frame holds the header {SALT_HEADER}, which a frame leaves out")
    return Frame(timestamp_ms, key, value, tuple(headers))


def commitment(salt: bytes, frame: bytes) -> bytes:
    """Return ``HMAC-SHA256(salt, frame)``: hides the record, and binds to it once the salt is shown.

    It is written out (RFC 2104 with a 32-byte key and a 64-byte block) because that takes two thirds of
    the time of ``hmac.digest`` on short input, and every record passes here.

    Raises:
        InvalidEncoding: the salt is not 32 bytes long.
    """
    if len(salt) != SALT_SIZE:
        raise InvalidEncoding(f"a salt is {SALT_SIZE} bytes long, this one {len(salt)}")
    inner = sha256(salt.translate(_INNER_PAD) + _INNER_REST)
    inner.update(frame)
    return sha256(salt.translate(_OUTER_PAD) + _OUTER_REST + inner.digest()).digest()


def derived_salt(period_key: bytes, origin: str, offset: int) -> bytes:
    """Return the salt of a record that came without one: ``HMAC-SHA256(K_period, origin | u64 offset)``.

    Args:
        period_key: the 32-byte secret of the period of the record's append time.
        origin: the log's origin line.
        offset: the record's offset in its partition.

    Raises:
        InvalidEncoding: the key is not 32 bytes long, or the offset is negative.
    """
    if not 0 <= offset < 2**64:
        raise InvalidEncoding(f"offset {offset} does not fit an unsigned 64-bit integer")
    return commitment(period_key, origin.encode() + _pack_u64(offset))


def _read_u32(data: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(data):
        raise InvalidEncoding("a frame is cut off")
    return int.from_bytes(data[at : at + 4], "big"), at + 4


def _read_nullable(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _read_u32(data, at)
    if length == _NULL_LENGTH:
        return None, at
    if at + length > len(data):
        raise InvalidEncoding("a frame is cut off")
    return data[at : at + length], at + length
