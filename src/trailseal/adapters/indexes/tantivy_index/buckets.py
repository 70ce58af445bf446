"""Time as terms: year, month, day, hour, minute and second of every event, and how to walk them from either end.

Sorting by a field looks at every match; a page needs only the newest few. The number of documents with a term
costs nothing to ask, so a page is looked for in windows of time that hold about as many documents as are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import msgspec

SECOND_US: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_LAST_YEAR: Final = 9_999
_MONTHS: Final = 12
Level = Literal["y", "o", "d", "h", "m", "s"]
_LEVELS: Final[tuple[Level, ...]] = ("y", "o", "d", "h", "m", "s")
_SECONDS: Final[dict[Level, int]] = {"d": _DAY, "h": _HOUR, "m": _MINUTE, "s": 1}

CountOf = Callable[[str], int]
"""How many documents have a bucket term."""

Range = tuple[int, int]
"""Microseconds since 1970, the second exclusive."""


class Window(msgspec.Struct, frozen=True, gc=False):
    """A stretch of time: the terms of the whole buckets in it that hold anything, and what juts out of those."""

    terms: tuple[str, ...]
    edges: tuple[Range, ...]


def bucket_terms(timestamp_us: int) -> str:
    """The six terms of an instant, separated by spaces."""
    minute, second = divmod(timestamp_us // SECOND_US, _MINUTE)
    minute_digits, larger = _minute_terms(minute)
    return f"{larger} s{minute_digits}{second:02d}"


@lru_cache(maxsize=16_384)
def _minute_terms(minute: int) -> tuple[str, str]:
    """The digits of a minute and the terms of everything that holds it."""
    moment = _EPOCH + timedelta(minutes=minute)
    digits = f"{moment.year:04d}{moment:%m%d%H%M}"
    return digits, f"y{digits[:4]} o{digits[:6]} d{digits[:8]} h{digits[:10]} m{digits}"


def _term(level: Level, second: int) -> str:
    return bucket_terms(second * SECOND_US).split(" ")[_LEVELS.index(level)]


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
    first_us = max(first_us, _year_bounds(_day_of_year(years[0]))[0] * SECOND_US)
    stop_us = min(stop_us, _year_bounds(_day_of_year(years[-1]))[1] * SECOND_US)
    if first_us >= stop_us:
        return
    edges, low, high = _split(first_us, stop_us)
    lowest = [edge for edge in edges if edge[0] < low * SECOND_US]
    highest = [edge for edge in edges if edge[0] >= high * SECOND_US]
    opening, closing = (highest, lowest) if newest_first else (lowest, highest)
    at, last = (high, low) if newest_first else (low, high)
    while True:
        terms, at = _gather(at, low, high, count_of, wanted, newest_first=newest_first)
        if at == last:
            yield Window(tuple(terms), (*opening, *closing))
            return
        yield Window(tuple(terms), tuple(opening))
        opening = []
        wanted *= 4


def _split(first_us: int, stop_us: int) -> tuple[list[Range], int, int]:
    """What lies before and behind whole seconds, and the first and the end of those."""
    low, high = -(-first_us // SECOND_US), stop_us // SECOND_US
    if low > high:
        return [(first_us, stop_us)], low, low
    edges = [(first_us, low * SECOND_US), (high * SECOND_US, stop_us)]
    return [edge for edge in edges if edge[0] < edge[1]], low, high


def _gather(
    at: int, low: int, high: int, count_of: CountOf, wanted: int, *, newest_first: bool
) -> tuple[list[str], int]:
    """Terms of buckets next to ``at`` that hold ``wanted`` documents together, and the second beyond them."""
    gathered, terms = 0, []
    while (low < at if newest_first else at < high) and gathered < wanted:
        term, at, count = _step(at, low, high, count_of, wanted - gathered, newest_first=newest_first)
        if count:
            gathered += count
            terms.append(term)
    return terms, at


def _step(
    at: int, low: int, high: int, count_of: CountOf, room: int, *, newest_first: bool
) -> tuple[str, int, int]:
    """The largest bucket by ``at`` that is empty or fits ``room``: its term, the second beyond it and its count."""
    for level in _LEVELS:
        start, end = _bucket(level, at - 1 if newest_first else at)
        if (end != at or start < low) if newest_first else (start != at or end > high):
            continue
        term = _term(level, start)
        count = count_of(term)
        if count <= room or level == "s":
            return term, start if newest_first else end, count
    raise AssertionError("a second is always a bucket of its own")


def _bucket(level: Level, second: int) -> tuple[int, int]:
    """First second and first second after the bucket that holds ``second``."""
    if level == "y":
        return _year_bounds(second // _DAY)
    if level == "o":
        return _month_bounds(second // _DAY)
    size = _SECONDS[level]
    return second // size * size, (second // size + 1) * size


@lru_cache(maxsize=4_096)
def _month_bounds(day: int) -> tuple[int, int]:
    moment = _EPOCH + timedelta(days=day)
    if moment.month == _MONTHS:
        return _second(moment.replace(day=1)), _year_bounds(day)[1]
    return _second(moment.replace(day=1)), _second(moment.replace(month=moment.month + 1, day=1))


@lru_cache(maxsize=4_096)
def _year_bounds(day: int) -> tuple[int, int]:
    year = (_EPOCH + timedelta(days=day)).year
    return _second(datetime(year, 1, 1, tzinfo=UTC)), _second(datetime(year, 12, 31, tzinfo=UTC)) + _DAY


def _day_of_year(year: int) -> int:
    return _second(datetime(min(year, _LAST_YEAR), 1, 1, tzinfo=UTC)) // _DAY


def _second(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)
