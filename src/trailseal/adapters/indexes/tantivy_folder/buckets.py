"""Time as terms: year, month, day, hour and minute of every event, and how to walk them from either end.

Sorting by a field looks at every match; a page needs only the newest few. The number of documents with a term
costs nothing to ask, so a page is looked for in windows of time that hold about as many documents as are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import msgspec

MINUTE_US: Final = 60_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 9_999
_MONTHS: Final = 12
Level = Literal["y", "o", "d", "h", "m"]
_LEVELS: Final[tuple[Level, ...]] = ("y", "o", "d", "h", "m")
_BELOW_YEAR: Final[dict[Level, str]] = {"y": "", "o": "%m", "d": "%m%d", "h": "%m%d%H", "m": "%m%d%H%M"}

CountOf = Callable[[str], int]
"""How many documents have a bucket term."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """A stretch of time: [start_us, end_us), and the terms of the buckets in it that hold anything."""

    start_us: int
    end_us: int
    terms: tuple[str, ...]


def bucket_terms(timestamp_us: int) -> str:
    """The five terms of an instant, separated by spaces."""
    return _terms_of_minute(timestamp_us // MINUTE_US)


@lru_cache(maxsize=16_384)
def _terms_of_minute(minute: int) -> str:
    moment = _EPOCH + timedelta(minutes=minute)
    return " ".join(_term(level, moment) for level in _LEVELS)


def _term(level: Level, moment: datetime) -> str:
    return f"{level}{moment.year:04d}{moment.strftime(_BELOW_YEAR[level])}"


def windows(
    first_us: int, stop_us: int, years: tuple[int, ...], count_of: CountOf, *, newest_first: bool, wanted: int
) -> Iterator[Window]:
    """Windows over [first_us, stop_us) in order, each with about four times as many documents as the one before.

    Args:
        first_us: inclusive.
        stop_us: exclusive.
        years: the years that hold anything, ascending.
        count_of: see `CountOf`.
        newest_first: the direction.
        wanted: documents the first window should hold.
    """
    if not years:
        return
    low = max(first_us // MINUTE_US, _minute(datetime(years[0], 1, 1, tzinfo=UTC)))
    high = min(-(-stop_us // MINUTE_US), _after_year(years[-1]))
    at = high if newest_first else low
    while low < at if newest_first else at < high:
        begun, gathered, terms = at, 0, []
        while (low < at if newest_first else at < high) and gathered < wanted:
            term, beyond, count = _step(at, low, high, count_of, wanted - gathered, newest_first=newest_first)
            at = beyond
            if count:
                gathered += count
                terms.append(term)
        if terms:
            start, end = (at, begun) if newest_first else (begun, at)
            yield Window(max(first_us, start * MINUTE_US), min(stop_us, end * MINUTE_US), tuple(terms))
        wanted *= 4


def _step(
    at: int, low: int, high: int, count_of: CountOf, room: int, *, newest_first: bool
) -> tuple[str, int, int]:
    """The largest bucket next to ``at`` that is empty or fits ``room``: term, minute beyond it, count."""
    for level in _LEVELS:
        start, end = _bucket(level, at - 1 if newest_first else at)
        if (end != at or start < low) if newest_first else (start != at or end > high):
            continue
        term = _term(level, _EPOCH + timedelta(minutes=start))
        count = count_of(term)
        if count <= room or level == "m":
            return term, start if newest_first else end, count
    raise AssertionError("a minute is always a bucket of its own")


def _bucket(level: Level, minute: int) -> tuple[int, int]:
    """First minute and first minute after the bucket that holds ``minute``."""
    if level == "m":
        return minute, minute + 1
    if level == "h":
        return minute // 60 * 60, (minute // 60 + 1) * 60
    if level == "d":
        return minute // 1440 * 1440, (minute // 1440 + 1) * 1440
    return _month_bounds(minute // 1440) if level == "o" else _year_bounds(minute // 1440)


@lru_cache(maxsize=4_096)
def _month_bounds(day: int) -> tuple[int, int]:
    moment = _EPOCH + timedelta(days=day)
    year, month = (moment.year + 1, 1) if moment.month == _MONTHS else (moment.year, moment.month + 1)
    after = _after_year(moment.year) if year > _LAST_YEAR else _minute(datetime(year, month, 1, tzinfo=UTC))
    return _minute(moment.replace(day=1)), after


@lru_cache(maxsize=4_096)
def _year_bounds(day: int) -> tuple[int, int]:
    year = (_EPOCH + timedelta(days=day)).year
    return _minute(datetime(year, 1, 1, tzinfo=UTC)), _after_year(year)


def _after_year(year: int) -> int:
    return _minute(datetime(year, 12, 31, tzinfo=UTC)) + 1_440


def _minute(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(minutes=1)
