"""Request bodies: read and inflated within limits, never touched otherwise."""

from __future__ import annotations

import zlib

from flask import Request

from trailseal.api.problems import Refusal

_GZIP_WINDOW = 31
_CHUNK = 1 << 20


def read_body(request: Request, max_bytes: int) -> bytes:
    """The body's bytes, inflated where it says ``Content-Encoding: gzip``.

    Args:
        request: whose stream is read; never more than ``max_bytes`` of it.
        max_bytes: largest body, before and after inflating.

    Raises:
        Refusal: too large (413), another encoding (415), or damaged gzip (400).
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        detail = f"Content-Encoding {encoding!r} is not understood: send gzip, or nothing."
        raise Refusal(415, "unsupported-encoding", detail)
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    raw = _read(request, max_bytes)
    return raw if encoding == "identity" else _inflate(raw, max_bytes)


def _read(request: Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    room = max_bytes + 1
    while room > 0:
        chunk = request.stream.read(min(room, _CHUNK))
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        room -= len(chunk)
    raise _too_large(max_bytes)


def _inflate(raw: bytes, max_bytes: int) -> bytes:
    """RFC 1952: any number of members, one after the other."""
    parts: list[bytes] = []
    room = max_bytes + 1
    rest = raw
    try:
        while rest:
            member = zlib.decompressobj(_GZIP_WINDOW)
            part = member.decompress(rest, room)
            room -= len(part)
            if room <= 0:
                raise _too_large(max_bytes)
            if not member.eof:
                raise Refusal(400, "damaged-gzip", "The gzip body is cut off: send all of it.")
            parts.append(part)
            rest = member.unused_data
    except zlib.error as error:
        raise Refusal(400, "damaged-gzip", "The body says gzip, but it is not: send it whole and once.") from error
    return b"".join(parts)


def _too_large(max_bytes: int) -> Refusal:
    detail = (
        f"The body has more than {max_bytes} bytes, counted after inflating: send the events in several requests."
    )
    return Refusal(413, "too-large", detail)
