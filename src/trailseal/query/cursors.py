"""Cursors: opaque, signed places in a result, bound to the question and to who asks."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256

import msgspec

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.projection import SortKey

_VERSION = 1
_SIGNATURE_BYTES = 16
_MAX_CHARS = 4_096
_DOMAIN = b"trailseal cursor v1\0"


class Cursor(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where a page ended.

    Attributes:
        version: of this layout.
        after: the last event handed out.
        time_from_us: the window's start, frozen at the first page; None = open.
        time_to_us: the window's end, likewise.
        filter_key: the question it belongs to (`Question.filter_key`).
        scope: whose tenants it belongs to (`scope_key`).
    """

    version: int
    after: SortKey
    time_from_us: int | None
    time_to_us: int | None
    filter_key: bytes
    scope: bytes


def scope_key(tenants: tuple[str, ...] | None) -> bytes:
    """Names the set of tenants a credential may see; None = all. 16 bytes."""
    return sha256(msgspec.msgpack.encode(tenants)).digest()[:16]


class CursorCodec:
    """Signs cursors and checks signatures (HMAC-SHA256, RFC 2104, cut to 16 bytes)."""

    def __init__(self, secret: bytes) -> None:
        self._key = sha256(_DOMAIN + secret).digest()
        self._decoder = msgspec.msgpack.Decoder(Cursor)

    def encode(self, after: SortKey, window: tuple[int | None, int | None], filter_key: bytes, scope: bytes) -> str:
        """The cursor's text: URL-safe base64 without padding."""
        body = msgspec.msgpack.encode(Cursor(_VERSION, after, *window, filter_key, scope))
        return _as_text(self._sign(body) + body)

    def decode(self, text: str, filter_key: bytes, scope: bytes) -> Cursor:
        """The cursor behind ``text``.

        Raises:
            InvalidQuery: it is not one of ours, or belongs to another question or to another credential.
        """
        cursor = self._verified(text)
        if cursor.filter_key != filter_key or cursor.scope != scope:
            detail = (
                "The cursor belongs to another question: repeat the filters, times and order of the page it came"
                " from, with a credential for the same tenants. Only limit and record may change."
            )
            raise InvalidQuery(Problem("cursor-mismatch", detail, parameter="cursor"))
        return cursor

    def _verified(self, text: str) -> Cursor:
        try:
            raw = urlsafe_b64decode(text[:_MAX_CHARS].encode("ascii") + b"==")
            signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            if hmac.compare_digest(signature, self._sign(body)) and _as_text(raw) == text:
                return self._decoder.decode(body)
        except (UnicodeEncodeError, Base64Error, msgspec.MsgspecError):
            pass
        detail = "The cursor is not one this server made: take next_cursor as it is, or start without a cursor."
        raise InvalidQuery(Problem("invalid-cursor", detail, parameter="cursor"))

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_SIGNATURE_BYTES]


def _as_text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
