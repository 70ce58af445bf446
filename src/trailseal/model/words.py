"""Words: what ``q`` finds, from the text of an event and from the text of a question.

A text is case-folded and cut at white space into chunks; each chunk gives its words at four levels:

1. the whole chunk, without the punctuation at its two ends;
2. where it holds quotes, brackets or one of ``, ; = | & ? < >``: the pieces between those, ends cleaned alike;
3. names: the pieces of letters, digits, ``_``, ``.`` and ``-``, without those signs at the ends;
4. the runs of letters and digits.

So ``john.doe@example.com`` is found as a whole, as ``john.doe``, ``example.com``, ``doe`` and ``exam*``. Letters,
digits and marks are the Unicode categories L, N and M; text beyond ASCII is brought to the form NFKC first.

Every event passes here. A text of ASCII whose chunks are clean (no punctuation at an end, no delimiter of level 2)
gives all its words in a few passes over the whole text; any other text is taken chunk by chunk, which is the
definition. Tests hold both to a plain oracle.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain, filterfalse
from typing import Final

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.limits import MAX_FILTERABLE_BYTES, MAX_QUERY_WORDS, MAX_WORDS
from trailseal.model.query import Word
from trailseal.model.terms import filter_term

_ASCII_EDGE: Final = "".join(
    character for character in map(chr, range(128)) if character not in string.ascii_letters + string.digits
)
_DELIMITER: Final = re.compile(r"""["'`()\[\]{}<>,;=|&?]""")
_NAMES: Final = re.compile(r"[0-9a-z](?:[0-9a-z_.\-]*[0-9a-z])?")
_RUNS: Final = re.compile(r"[0-9a-z]+")
_NEVER_HASHED: Final = MAX_FILTERABLE_BYTES // 4
_STAR: Final = re.compile(r"(\\*)\*")
_CACHED_CHUNK: Final = 80
_ASCII: Final = 128
_SHORT: Final = 1024
"""Characters up to which a text of clean chunks is taken as a whole, and a word may come twice."""


class _Separators(dict[int, str | int]):
    """A table for `str.translate`: what is no letter, digit, mark or one of ``kept`` becomes a space."""

    def __init__(self, kept: str) -> None:
        super().__init__({ord(character): character for character in kept})

    def __missing__(self, code: int) -> str | int:
        self[code] = replacement = code if _is_searchable(chr(code)) else " "
        return replacement


def _bytes_table(of: Callable[[str], str]) -> bytes:
    """A table for `bytes.translate` over ASCII; bytes beyond it never occur."""
    return bytes(ord(of(chr(code))) if code < _ASCII else code for code in range(256))


def _class(character: str) -> str:
    """What a character of a folded text is: ``a`` of a word, a space, ``!`` a delimiter, ``.`` anything else."""
    if character.isalnum():
        return "a"
    if character.isspace():
        return " "
    return "!" if _DELIMITER.match(character) else "."


_CLASSES: Final = _bytes_table(_class)
_JOINTS: Final = _bytes_table(lambda character: _class(character).replace(" ", "."))
"""As `_CLASSES`, with spaces as signs: wherever two of them meet, a chunk may begin or end with a sign."""
_PLAIN: Final = bytes(code for code in range(_ASCII) if _class(chr(code)) in "a " or chr(code) in "_.-")
_TO_NAMES: Final = _bytes_table(lambda character: character if character.isalnum() or character in "_.-" else " ")
_TO_RUNS: Final = _bytes_table(lambda character: character if character.isalnum() else " ")


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
    """The words of one folded chunk, the whole first; the same word may come twice."""
    if not chunk.isascii():
        return _wide_tokens(chunk)
    whole = chunk.strip(_ASCII_EDGE)
    if not whole:
        return ()
    runs = whole.replace("_", "-").replace(".", "-").split("-")
    if "".join(runs).isalnum():
        words = [whole, *runs]
    else:
        words = [whole, *_NAMES.findall(whole), *_RUNS.findall(whole)]
        if _DELIMITER.search(whole):
            words += [piece.strip(_ASCII_EDGE) for piece in _DELIMITER.split(whole)]
    if len(whole) <= _NEVER_HASHED and "" not in words:
        return tuple(words)
    return _limited(words)


def _wide_tokens(chunk: str) -> tuple[str, ...]:
    whole = _strip(chunk)
    names = map(_strip, whole.translate(_NAME_TABLE).split())
    pieces = map(_strip, _DELIMITER.split(whole))
    return _limited([whole, *names, *whole.translate(_RUN_TABLE).split(), *pieces])


def _limited(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter_term(word) for word in dict.fromkeys(words) if word)


_cached_tokens: Final = lru_cache(maxsize=16384)(_tokens)


def _tokens_of_any(chunk: str) -> tuple[str, ...]:
    return _cached_tokens(chunk) if len(chunk) <= _CACHED_CHUNK else _tokens(chunk)


def words_of(values: Iterable[str]) -> str:
    """The words of an event's texts, each through `filter_term`, with a space between two.

    One text and not many, because an event has dozens of words, which its entry would keep as so many objects. They
    hold no white space, the texts alone decide their order, and a word may come twice. Of texts with more than
    `MAX_WORDS` distinct words, the first `MAX_WORDS` count.
    """
    return words_of_text("\n".join(values))


def are_cut(words: str) -> bool:
    """Whether these words of `words_of` are as many as there may be, so that more may have been left out."""
    return len(words) > MAX_WORDS and words.count(" ") == MAX_WORDS - 1


def words_of_text(text: str) -> str:
    """The same for one text, for instance several texts joined by newlines."""
    if len(text) <= _SHORT and text.isascii():
        clean = _clean_words(text.lower())
        if clean is not None:
            return clean
    words = dict.fromkeys(chain.from_iterable(map(_tokens_of_any, _fold(text).split())))
    return " ".join(words if len(words) <= MAX_WORDS else _first_words(text))


def _clean_words(text: str) -> str | None:
    """The words of a short folded ASCII text; None where one of its chunks has to be looked at by itself.

    Whole chunks stay as they are. In those with signs, every sign becomes a space for the runs, and every sign but
    ``_``, ``.`` and ``-`` for the names; so neither runs nor names are cut apart one by one. Where no two signs or
    spaces meet, as in most texts, no chunk has a sign at an end, and nothing comes out with two spaces in a row.
    """
    data = text.encode("ascii")
    joints = data.translate(_JOINTS)
    tidy = b".." not in joints and joints[:1] == b"a" == joints[-1:]
    if b"!" in joints or not (tidy or _is_clean(data)):
        return None
    words = text.split()
    if len(text) > _NEVER_HASHED and max(map(len, words), default=0) > _NEVER_HASHED:
        return None
    compound = list(filterfalse(str.isalnum, words))
    signs = data.translate(None, _PLAIN)
    if signs:
        kinds = {signs[0]} if signs.count(signs[0]) == len(signs) else set(signs)
        with_signs = [chunk for sign in map(chr, kinds) for chunk in compound if sign in chunk]
        names = " ".join(with_signs).encode("ascii").translate(_TO_NAMES)
        if not (tidy or _is_clean(names)):
            return None
        words.append(names.decode("ascii"))
    if compound:
        words.append(" ".join(compound).encode("ascii").translate(_TO_RUNS).decode("ascii"))
    joined = " ".join(words)
    return joined if tidy or "  " not in joined else " ".join(joined.split())


def _is_clean(data: bytes) -> bool:
    """Whether no chunk of a folded text has punctuation at an end."""
    edged = b" %b " % data.translate(_CLASSES)
    return b" ." not in edged and b". " not in edged


def _first_words(text: str) -> tuple[str, ...]:
    """The first `MAX_WORDS` distinct words in the order of the text."""
    words: dict[str, None] = {}
    for chunk in _fold(text).split():
        for word in _tokens(chunk):
            words[word] = None
            if len(words) == MAX_WORDS:
                return tuple(words)
    return tuple(words)


def query_words(q: str) -> tuple[Word, ...]:
    r"""The words a question asks for, all of which an event must have; distinct, in the order of the question.

    Each chunk between white space is one word, cleaned as in the module's level 1. A trailing ``*`` asks for the
    beginning of a word; ``\*`` is a star, and ``\\*`` a backslash before a star that counts. A chunk of nothing but
    punctuation is ignored.

    Raises:
        InvalidQuery: nothing searchable is left, a star stands inside a word, or there are more than
            `MAX_QUERY_WORDS` words.
    """
    found: dict[Word, None] = {}
    for chunk in _fold(q).split():
        literal, prefix = _read_stars(chunk)
        text = _strip_start(literal) if prefix else _strip(literal)
        if text:
            found[Word(text if prefix else filter_term(text), prefix)] = None
    if not found:
        raise _invalid("nothing-to-search", "q holds no letter or digit: give at least one word")
    if len(found) > MAX_QUERY_WORDS:
        raise _invalid("too-many-words", f"q may hold at most {MAX_QUERY_WORDS} different words")
    return tuple(found)


def _read_stars(chunk: str) -> tuple[str, bool]:
    """The chunk without escapes, and whether a star that counts ends it."""
    prefix = False

    def read(star: re.Match[str]) -> str:
        nonlocal prefix
        slashes, escaped = divmod(len(star[1]), 2)
        if escaped:
            return "\\" * slashes + "*"
        if star.end() != len(chunk):
            raise _invalid("star-inside", "q: a star may only end a word; write \\* for a star itself")
        prefix = True
        return "\\" * slashes

    return _STAR.sub(read, chunk) if "*" in chunk else chunk, prefix


def _invalid(code: str, detail: str) -> InvalidQuery:
    return InvalidQuery(Problem(code, detail, parameter="q"))
