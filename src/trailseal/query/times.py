"""Points in time as people write them in questions: RFC 3339, a UTC date, or relative to now."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trailseal.errors import InvalidQuery, Problem
from trailseal.model.timestamps import parse_rfc3339

_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
_LONGEST_BACK_US = 2**62
"""Longer ago than anything; keeps every bound inside 64 bits."""
_RELATIVE = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PLUS_READ_AS_SPACE = re.compile(r" (\d{2}:\d{2})$", re.ASCII)
_RULE = (
    "an RFC 3339 time with a zone (2026-01-31T12:00:00Z), a UTC date (2026-01-31) or a time before now (-24h; units"
    " s m h d w)"
)


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a window.

    Attributes:
        us: microseconds since 1970 UTC or, for a relative one, microseconds back from now.
        relative: which of the two.
    """

    us: int
    relative: bool = False


def parse_bound(parameter: str, text: str) -> Bound:
    """The bound a parameter's text means.

    A ``+`` that was not percent-encoded reaches us as a space; before a zone it cannot mean anything else.

    Raises:
        InvalidQuery: the text is none of the three forms, or a date that does not exist.
    """
    relative = _RELATIVE.fullmatch(text)
    if relative:
        return Bound(min(int(relative[1]) * _UNITS_US[relative[2]], _LONGEST_BACK_US), relative=True)
    full = f"{text}T00:00:00Z" if _DATE.fullmatch(text) else _PLUS_READ_AS_SPACE.sub(r"+\1", text)
    try:
        return Bound(parse_rfc3339(full))
    except ValueError as error:
        detail = f"{parameter}={text!r}: {error}. It takes {_RULE}."
        raise InvalidQuery(Problem("invalid-time", detail, parameter=parameter)) from error


def resolve(bound: Bound | None, now_us: int) -> int | None:
    """The bound's microseconds since 1970 UTC.

    Relative times count from the beginning of the current second, so that a question repeated within it is the
    same question; they never reach back beyond 1970.
    """
    if bound is None:
        return None
    return max(0, now_us - now_us % 1_000_000 - bound.us) if bound.relative else bound.us
