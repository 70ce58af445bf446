"""The parameters of a question: one parser for the API, the viewer and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.query import Condition, Field, Order, Query
from trailseal.model.words import query_words
from trailseal.query.matching import parse_match
from trailseal.query.question import DEFAULT_LIMIT, MAX_LIMIT, Question
from trailseal.query.times import Bound, parse_bound

FILTERS: Final = tuple(field.value for field in Field if field is not Field.METADATA)
WINDOW: Final = ("q", "time_from", "time_to")
PAGE: Final = ("order", "limit", "cursor", "record", "seal")
WHOLE: Final = ("order", "record")
"""What means something where all that matches is asked for, page by page or not."""
METADATA_PREFIX: Final = "metadata."
MAX_VALUES: Final = 200
"""Parameters one question may have in all."""
MAX_VALUE_CHARS: Final = 8_192

_encode = msgspec.msgpack.Encoder().encode


def parse_query_string(raw: str, *, beside: tuple[str, ...] = PAGE) -> Question:
    """The question of a percent-encoded query string, remembered by its text.

    Args:
        raw: what follows the ``?``.
        beside: the parameters beside filters and window that mean something here.

    Raises:
        InvalidQuery: see `parse_parameters`; also for what is no valid query string.
    """
    return _parse_remembered(raw, beside)


@lru_cache(maxsize=4_096)
def _parse_remembered(raw: str, beside: tuple[str, ...]) -> Question:
    return parse_parameters(split_query_string(raw), beside=beside)


def split_query_string(raw: str) -> list[tuple[str, str]]:
    """Names and values in order.

    Raises:
        InvalidQuery: too many of them, or bytes that are not UTF-8.
    """
    try:
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_VALUES)
    except UnicodeDecodeError as error:
        raise InvalidQuery(Problem("invalid-encoding", "The query string is not percent-encoded UTF-8.")) from error
    except ValueError as error:
        detail = f"A question holds at most {MAX_VALUES} parameters; ask several questions instead."
        raise InvalidQuery(Problem("too-many-parameters", detail)) from error


def parse_parameters(pairs: Iterable[tuple[str, str]], *, beside: tuple[str, ...] = PAGE) -> Question:
    """The question that names and values ask.

    Filters may repeat: the same name is OR, different names are AND; ``actor!`` holds the values that ``actor``
    must not have. Everything else stands at most once.

    Raises:
        InvalidQuery: a parameter is unknown, repeated where it may not be, or breaks its rule; it is named.
    """
    filters: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    for name, value in pairs:
        if len(value) > MAX_VALUE_CHARS:
            detail = f"{name} is longer than {MAX_VALUE_CHARS} characters."
            raise InvalidQuery(Problem("value-too-long", detail, parameter=name))
        if name.removesuffix("!") in FILTERS or name.startswith(METADATA_PREFIX):
            filters.setdefault(name, []).append(value)
        elif name not in WINDOW and name not in beside:
            raise _unknown(name, beside)
        elif name in single:
            detail = f"{name} may be given only once; filters such as actor may repeat (any of them)."
            raise InvalidQuery(Problem("repeated-parameter", detail, parameter=name))
        else:
            single[name] = value
    return _question(filters, single)


def _question(filters: Mapping[str, list[str]], single: Mapping[str, str]) -> Question:
    for name, value in single.items():
        if not value:
            detail = f"{name} is empty: give a value, or leave the parameter out."
            raise InvalidQuery(Problem("empty-value", detail, parameter=name))
    time_from, time_to = _window(single)
    query = Query(
        conditions=tuple(sorted((_condition(name, values) for name, values in filters.items()), key=_encode)),
        words=query_words(single["q"]) if "q" in single else (),
        order=_order(single.get("order", "desc")),
    )
    key = sha256(
        _encode(
            (query, time_from and (time_from.us, time_from.relative), time_to and (time_to.us, time_to.relative))
        )
    ).digest()
    return Question(
        query=query,
        filter_key=key[:16],
        time_from=time_from,
        time_to=time_to,
        limit=_limit(single.get("limit")),
        cursor=single.get("cursor"),
        with_record=_switch("record", single.get("record", "0")),
        with_seal=_switch("seal", single.get("seal", "0")),
    )


def _condition(name: str, values: list[str]) -> Condition:
    bare = name.removesuffix("!")
    field, key = _field(name, bare)
    matches = {_encode(match): match for match in (parse_match(field, bare, value) for value in values)}
    any_of = tuple(matches[encoded] for encoded in sorted(matches))
    return Condition(field, any_of, negated=bare != name, key=key)


def _field(name: str, bare: str) -> tuple[Field, str | None]:
    if not bare.startswith(METADATA_PREFIX):
        return Field(bare), None
    key = bare.removeprefix(METADATA_PREFIX)
    if not key or not all(key.split(".")):
        detail = "metadata.KEY needs a key: a name, or names joined by single dots (metadata.request.path=/login)."
        raise InvalidQuery(Problem("invalid-metadata-key", detail, parameter=name))
    return Field.METADATA, key


def _window(single: Mapping[str, str]) -> tuple[Bound | None, Bound | None]:
    time_from = parse_bound("time_from", single["time_from"]) if "time_from" in single else None
    time_to = parse_bound("time_to", single["time_to"]) if "time_to" in single else None
    if time_from and time_to and time_from.relative == time_to.relative:
        backwards = time_from.us <= time_to.us if time_from.relative else time_from.us >= time_to.us
        if backwards:
            detail = "time_from must be earlier than time_to: time_from is inclusive, time_to exclusive."
            raise InvalidQuery(Problem("empty-window", detail, parameter="time_from"))
    return time_from, time_to


def _order(text: str) -> Order:
    if text == "desc":
        return "desc"
    if text == "asc":
        return "asc"
    detail = f"order is desc (newest first) or asc; {text!r} is neither."
    raise InvalidQuery(Problem("invalid-value", detail, parameter="order"))


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    detail = f"limit is a whole number from 1 to {MAX_LIMIT}; {text!r} is not."
    raise InvalidQuery(Problem("invalid-value", detail, parameter="limit"))


def _switch(name: str, text: str) -> bool:
    if text in {"0", "1"}:
        return text == "1"
    detail = f"{name} is 1 or 0; {text!r} is neither."
    raise InvalidQuery(Problem("invalid-value", detail, parameter=name))


def _unknown(name: str, beside: tuple[str, ...]) -> InvalidQuery:
    known = (*FILTERS, *WINDOW, *beside)
    close = get_close_matches(name.removesuffix("!"), known, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    if name.removesuffix("!") in (*WINDOW, *PAGE):
        meant = " Only filters can be negated." if name.endswith("!") else " It means nothing here."
    detail = f"{name!r} is not a parameter.{meant} Known: {', '.join(known)}, metadata.KEY."
    return InvalidQuery(Problem("unknown-parameter", detail, parameter=name))
