"""What one filter value means: exact, a prefix, anything at all, or a range of addresses."""

from __future__ import annotations

import re

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.addresses import network_range
from trailseal.model.event import OUTCOMES
from trailseal.model.query import Exact, Field, Match, Network, Prefix, Present

_STAR = re.compile(r"(\\*)\*")


def parse_match(field: Field, parameter: str, text: str) -> Match:
    r"""The match that ``text`` asks of ``field``.

    ``*`` alone: the field is there. A trailing ``*``: a prefix. ``\*``: a star itself; a backslash means nothing
    special anywhere else, and ``\\*`` is a backslash before a star that counts.

    Raises:
        InvalidQuery: the value is empty, has a star inside, or breaks the field's own rule.
    """
    if not text:
        detail = (
            f"{parameter} is empty: give a value, or leave the parameter out; {parameter}=* finds what has one."
        )
        raise InvalidQuery(Problem("empty-value", detail, parameter=parameter))
    if text == "*":
        return Present()
    if field is Field.SOURCE_IP:
        return _parse_address(parameter, text)
    literal, prefix = _unescape(parameter, text)
    if field is Field.OUTCOME and (prefix or literal not in OUTCOMES):
        detail = f"{parameter} is one of {', '.join(OUTCOMES)}; {text!r} is not."
        raise InvalidQuery(Problem("invalid-value", detail, parameter=parameter))
    return Prefix(literal) if prefix else Exact(literal)


def escape(text: str) -> str:
    """The filter value that means exactly ``text``, whatever stars and backslashes it holds."""
    return _STAR.sub(lambda star: star[1] * 2 + "\\*", text)


def _unescape(parameter: str, text: str) -> tuple[str, bool]:
    if "*" not in text:
        return text, False
    prefix = False
    parts: list[str] = []
    at = 0
    for star in _STAR.finditer(text):
        slashes = len(star[1])
        parts.append(text[at : star.start()] + "\\" * (slashes // 2))
        at = star.end()
        if slashes % 2:
            parts.append("*")
        elif at == len(text):
            prefix = True
        else:
            detail = f"{parameter}: a star may only end the value (a prefix); write \\* for a star itself."
            raise InvalidQuery(Problem("star-inside", detail, parameter=parameter))
    parts.append(text[at:])
    return "".join(parts), prefix


def _parse_address(parameter: str, text: str) -> Match:
    try:
        first, last = network_range(text)
    except ValueError as error:
        detail = f"{parameter} is {error}: {text!r}."
        raise InvalidQuery(Problem("invalid-address", detail, parameter=parameter)) from error
    return Exact(first) if first == last else Network(first, last)
