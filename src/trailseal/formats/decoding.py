"""What every wire format takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from trailseal.errors import InvalidEvent, Problem
from trailseal.model.event import Event
from trailseal.model.words import are_cut, words_of_text

WORDS_CUT: Final = "words-cut"


class DecodeContext(msgspec.Struct, frozen=True, gc=False):
    """What is known of a record beside its value. What is given here wins over the value.

    Attributes:
        received_us: the append time (at the door: now), microseconds since 1970 UTC.
        derived_id: the id, or a function that makes it, for an event that brings none.
        tenant: from the header ``trailseal-tenant``, or None.
        id: from the header ``trailseal-id``, or None.
        with_words: False where only the event is asked for.
        words_later: the words may be left to `worded`.
        judged: True of a record that was judged before, or will be: what the fast decoder lets pass (a key given
            twice, NUL) is not looked for.
        ours: True of a genuine admin record, which bears Trailseal's own names.
    """

    received_us: int
    derived_id: Callable[[], str] | str
    tenant: str | None = None
    id: str | None = None
    with_words: bool = True
    words_later: bool = False
    judged: bool = False
    ours: bool = False

    def missing_id(self) -> str:
        """The id of an event that brings none."""
        return self.derived_id if isinstance(self.derived_id, str) else self.derived_id()


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """An event, the words that ``q`` finds it by (`words.words_of`), and the name of the wire format it came in.

    ``text`` is what the words are still to be made of (`worded`); None where they are made.
    """

    event: Event
    words: str
    format: str
    text: str | None = None


def worded(decoded: Decoded) -> Decoded:
    """The same with its words; flagged where the text has more of them than count."""
    if decoded.text is None:
        return decoded
    event, words = decoded.event, words_of_text(decoded.text)
    if are_cut(words):
        event = msgspec.structs.replace(event, flags=(*event.flags, WORDS_CUT))
    return Decoded(event, words, decoded.format)


class Format(msgspec.Struct, frozen=True):
    """One wire format.

    Attributes:
        name: as in the header ``trailseal-format`` and the option ``--format``.
        decode: value and context to event; raises `InvalidEvent` and nothing else, whatever the bytes.
        max_bytes: length of a value up to which it is decoded.
    """

    name: str
    decode: Callable[[bytes, DecodeContext], Decoded]
    max_bytes: int


def refuse(code: str, detail: str, field: str | None = None) -> InvalidEvent:
    """The error of an event that breaks a rule, ready to be raised."""
    return InvalidEvent(Problem(code, detail, field))
