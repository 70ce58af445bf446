"""Headers as one blob: compact, and no two header lists share an encoding.

MessagePack, an array of [name, value] pairs. A name is a string; one that is no valid Unicode (it holds lone
surrogates) is its ``surrogatepass`` UTF-8 bytes as a binary, so that nothing a producer sends is altered.
No headers at all are stored as NULL.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from trailseal.model.record import ERASED_HEADERS, Headers

_ERASED = b"\xc1"
"""A byte that MessagePack never uses: what begins with it says that the record was erased."""
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(tuple[tuple[str, bytes | None], ...]).decode
_DECODE_ODD = msgspec.msgpack.Decoder(tuple[tuple[Any, bytes | None], ...]).decode


def encode_headers(headers: Headers) -> bytes | None:
    """The blob for these headers, in order, repeated names and null values kept."""
    if not headers:
        return None
    try:
        return _ENCODE(headers)
    except UnicodeEncodeError:
        return _ENCODE([(_odd_name(name), value) for name, value in headers])


def decode_headers(blob: bytes | None) -> Headers:
    """The headers of a blob made by `encode_headers`; one that is damaged is itself a header without a name."""
    if blob is None:
        return ()
    if blob[:1] == _ERASED:
        return ERASED_HEADERS
    try:
        return _DECODE(blob)
    except msgspec.ValidationError:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, TypeError):
            return tuple((_name(told), value) for told, value in _DECODE_ODD(blob))
    except msgspec.DecodeError:
        pass
    return (("", blob),)


def erased_headers(size: int) -> bytes:
    """A blob of that many bytes, at least one, that says that the record was erased."""
    return _ERASED.ljust(size, b"\0")


def _name(told: str | bytes) -> str:
    return told if isinstance(told, str) else str(told, "utf-8", "surrogatepass")


def _odd_name(name: str) -> str | bytes:
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")
    return name
