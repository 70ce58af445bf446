"""Answers as bytes: what goes into the cache, over HTTP and to the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

_SEPARATOR = b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete JSON body.

    Attributes:
        body: the JSON object.
        next_cursor: where the next page begins, or None on the last one and for what has no pages.
        stale: the index did not answer, and this is what it said earlier.
    """

    body: bytes
    next_cursor: str | None = None
    stale: bool = False

    def packed(self) -> bytes:
        """The answer as one value for the cache."""
        return (self.next_cursor or "").encode() + _SEPARATOR + self.body


def unpack(packed: bytes, *, stale: bool = False) -> Answer:
    """The answer behind `Answer.packed`; a stale one says so in its body as well."""
    cursor, _, body = packed.partition(_SEPARATOR)
    if stale:
        body = b'{"stale":true,' + body[1:]
    return Answer(body, cursor.decode() or None, stale)


def page_body(events: Sequence[bytes], next_cursor: str | None) -> bytes:
    """The body of a page from events that are already JSON."""
    return b'{"events":[%b],"next_cursor":%b,"has_more":%b}' % (
        b",".join(events),
        msgspec.json.encode(next_cursor),
        b"false" if next_cursor is None else b"true",
    )
