"""Words: what ``q`` finds, from the text of an event and from the text of a question.

A text is case-folded and cut at white space into chunks; each chunk gives its words at four levels:

1. the whole chunk, without the punctuation at its two ends;
2. where it holds quotes, brackets or one of ``, ; = | & ? < >``: the pieces between those, ends cleaned alike;
3. names: the pieces of letters, digits, ``_``, ``.`` and ``-``, without those signs at the ends;
4. the runs of letters and digits.

So ``john.doe@example.com`` is found as a whole, as ``john.doe``, ``example.com``, ``doe`` and ``exam*``. Letters,
digits and marks are the Unicode categories L, N and M; text beyond ASCII is brought to the form NFKC first.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.limits import MAX_QUERY_WORDS, MAX_WORDS
from trailseal.model.query import Word
from trailseal.model.terms import filter_term

_ASCII_EDGE: Final = "".join(
    character for character in map(chr, range(128)) if character not in string.ascii_letters + string.digits
)
_PIECES: Final = re.compile(r"""[^"'`()\[\]{}<>,;=|&?]+""")
_NAMES: Final = re.compile(r"[0-9a-z](?:[0-9a-z_.\-]*[0-9a-z])?")
_RUNS: Final = re.compile(r"[0-9a-z]+")
_CACHED_LENGTH: Final = 80


class _Separators(dict[int, str | int]):
    """A table for `str.translate`: what is no letter, digit, mark or one of ``kept`` becomes a space."""

    def __init__(self, kept: str) -> None:
        super().__init__({ord(character): character for character in kept})

    def __missing__(self, code: int) -> str | int:
        self[code] = replacement = code if _is_searchable(chr(code)) else " "
        return replacement


def _is_searchable(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


_NAME_TABLE: Final = _Separators("_.-")
_RUN_TABLE: Final = _Separators("")


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _strip_start(chunk: str) -> str:
    if chunk.isascii():
        return chunk.lstrip(_ASCII_EDGE)
    start = 0
    while start < len(chunk) and not _is_searchable(chunk[start]):
        start += 1
    return chunk[start:]


def _strip(chunk: str) -> str:
    if chunk.isascii():
        return chunk.strip(_ASCII_EDGE)
    chunk = _strip_start(chunk)
    end = len(chunk)
    while end and not _is_searchable(chunk[end - 1]):
        end -= 1
    return chunk[:end]


def _tokens(chunk: str) -> tuple[str, ...]:
    whole = _strip(chunk)
    if not whole:
        return ()
    if whole.isalnum():
        return (filter_term(whole),)
    found = {whole: None}
    pieces = _PIECES.findall(whole)
    if len(pieces) > 1:
        found.update((piece, None) for piece in map(_strip, pieces))
    if whole.isascii():
        found.update(dict.fromkeys(_NAMES.findall(whole)))
        found.update(dict.fromkeys(_RUNS.findall(whole)))
    else:
        found.update((name, None) for name in map(_strip, whole.translate(_NAME_TABLE).split()))
        found.update(dict.fromkeys(whole.translate(_RUN_TABLE).split()))
    return tuple(filter_term(word) for word in found if word)


_short_tokens: Final = lru_cache(maxsize=32768)(_tokens)


def words_of(values: Iterable[str]) -> tuple[str, ...]:
    """The words of an event's texts, sorted, distinct, each through `filter_term`.

    Of texts with more than `MAX_WORDS` distinct words, the first `MAX_WORDS` count.
    """
    return words_of_text("\n".join(values))


def words_of_text(text: str) -> tuple[str, ...]:
    """The same for one text, for instance several texts joined by newlines."""
    words: set[str] = set()
    for chunk in dict.fromkeys(_fold(text).split()):
        words.update(_short_tokens(chunk) if len(chunk) <= _CACHED_LENGTH else _tokens(chunk))
        if len(words) >= MAX_WORDS:
            return _first_words(text)
    return tuple(sorted(words))


def _first_words(text: str) -> tuple[str, ...]:
    """The first `MAX_WORDS` distinct words in the order of the text."""
    words: dict[str, None] = {}
    for chunk in _fold(text).split():
        for word in _tokens(chunk):
            words[word] = None
            if len(words) == MAX_WORDS:
                return tuple(sorted(words))
    return tuple(sorted(words))


def query_words(q: str) -> tuple[Word, ...]:
    r"""The words a question asks for, all of which an event must have; distinct, in the order of the question.

    Each chunk between white space is one word, cleaned as in the module's level 1. A trailing ``*`` asks for the
    beginning of a word; ``\*`` is a star. A chunk of nothing but punctuation is ignored.

    Raises:
        InvalidQuery: nothing searchable is left, or there are more than `MAX_QUERY_WORDS` words.
    """
    found: dict[Word, None] = {}
    for chunk in _fold(q).split():
        prefix = chunk.endswith("*") and not chunk.endswith("\\*")
        literal = (chunk[:-1] if prefix else chunk).replace("\\*", "*")
        text = _strip_start(literal) if prefix else _strip(literal)
        if text:
            found[Word(text if prefix else filter_term(text), prefix)] = None
    if not found:
        raise InvalidQuery(
            Problem("nothing-to-search", "q holds no letter or digit: give at least one word", parameter="q")
        )
    if len(found) > MAX_QUERY_WORDS:
        raise InvalidQuery(
            Problem("too-many-words", f"q may hold at most {MAX_QUERY_WORDS} different words", parameter="q")
        )
    return tuple(found)
