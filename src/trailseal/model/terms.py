"""Exact terms: how a value is written in an index so that it is found by itself and by nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from trailseal.model.limits import MAX_FILTERABLE_BYTES, MAX_METADATA_TERMS

_MARK: Final = "\x1e"
_SEPARATOR: Final = "\x1f"
_SAFE_CHARACTERS: Final = MAX_FILTERABLE_BYTES // 4
_WHOLE_FLOATS: Final = 2.0**53
_STRING, _NUMBER, _BOOLEAN, _NULL = "s", "n", "b", "z"
_NESTED: Final = (dict, list, tuple)


def filter_term(text: str) -> str:
    """The term of a filterable value.

    Up to 1 KiB of UTF-8 it is the text itself. A longer one becomes U+001E, ``sha256:`` and its hash; a short
    one that begins with U+001E gets another in front, so that no value can pass for the hash of another.
    """
    if len(text) <= _SAFE_CHARACTERS:
        return _MARK + text if text.startswith(_MARK) else text
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_FILTERABLE_BYTES:
        return f"{_MARK}sha256:{sha256(encoded).hexdigest()}"
    return _MARK + text if text.startswith(_MARK) else text


def prefix_term(text: str) -> str:
    """What the terms of all values that begin with ``text`` begin with (values over 1 KiB have no prefixes)."""
    return _MARK + text if text.startswith(_MARK) else text


@lru_cache(maxsize=4096)
def _path_term(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace(_SEPARATOR, "\\u") if "\\" in path or _SEPARATOR in path else path
    return filter_term(escaped) + _SEPARATOR


@lru_cache(maxsize=4096)
def _string_start(path: str) -> str:
    """What the term of every string under the path begins with."""
    return _path_term(path) + _STRING


def _number_text(value: float) -> str:
    """One spelling per number: ``1``, ``1.0`` and ``1e0`` are the same."""
    if abs(value) < _WHOLE_FLOATS and value == int(value):
        return str(int(value))
    return repr(value)


def _scalar_term(path: str, value: Any) -> str:
    if type(value) is str:
        return _string_start(path) + filter_term(value)
    if type(value) is int:
        return _path_term(path) + _NUMBER + filter_term(str(value))
    if value is None:
        return _path_term(path) + _NULL + "null"
    if value is True or value is False:
        return _path_term(path) + _BOOLEAN + ("true" if value else "false")
    return _path_term(path) + _NUMBER + filter_term(_number_text(value))


def _walk(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _walk(f"{path}.{key}", child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _walk(path, child)
    else:
        yield _scalar_term(path, value)


def metadata_terms(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    r"""The terms of free JSON: one per scalar, under its dotted path; sorted, distinct.

    A term is the path, U+001F, a type tag (``s`` string, ``n`` number, ``b`` boolean, ``z`` null) and the scalar.
    In the path ``\`` is written ``\\`` and U+001F ``\u``. Path and scalar go through `filter_term`. The elements of
    an array have the array's path; a key with a dot is the same as nesting. Empty objects and arrays have no
    term. At most `MAX_METADATA_TERMS` terms are made, in the order of the document.
    """
    terms: set[str] = set()
    for key, value in metadata.items():
        if type(value) is str:
            terms.add(_string_start(key) + filter_term(value))
        elif isinstance(value, _NESTED):
            for term in _walk(key, value):
                terms.add(term)
                if len(terms) >= MAX_METADATA_TERMS:
                    return tuple(sorted(terms))
        else:
            terms.add(_scalar_term(key, value))
        if len(terms) >= MAX_METADATA_TERMS:
            break
    return tuple(sorted(terms))


def metadata_match_terms(key: str, text: str) -> list[str]:
    """Every term that ``metadata.KEY=text`` may mean: the string, and the number, boolean or null it spells."""
    terms = [_scalar_term(key, text)]
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return terms
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        terms.append(_scalar_term(key, value))
    return terms


def metadata_prefix_term(key: str, text: str) -> str:
    """What the terms of all strings under that path that begin with ``text`` begin with."""
    return _path_term(key) + _STRING + prefix_term(text)


def metadata_present_prefix(key: str) -> str:
    """What every term of that path begins with."""
    return _path_term(key)
