"""Instants: RFC 3339 texts to whole microseconds since 1970-01-01 UTC, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.date()
_SHAPE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_HEAD: Final = len("2026-03-01T12:00:")
_FIRST_MINUTE: Final = "0001-01-01T00:00:"
_LAST_MINUTE: Final = "9999-12-31T23:59:"
_WITH_MICROSECONDS: Final = len("2026-03-01T12:00:00.000000Z")
_UTC_TAIL: Final = re.compile(r"([0-5]\d)(?:\.(\d+))?[Zz]", re.ASCII)
_LOOSE_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NO_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)


@lru_cache(maxsize=4096)
def _day_start(date: str) -> int:
    """Microseconds from 1970 to the start of that UTC day.

    Raises:
        ValueError: the calendar has no such day.
    """
    try:
        parsed = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"the calendar has no day {date}") from None
    return (parsed - _EPOCH) // timedelta(days=1) * DAY_US


def parse_rfc3339(text: str) -> int:
    """Read an instant as RFC 3339 section 5.6 writes it.

    The zone is required (``Z``, ``z`` or an offset; ``-00:00`` counts as UTC). Digits of the fraction past the
    sixth are dropped. A leap second (``:60``) is taken only where one can be, in the last minute of a UTC day,
    and becomes the first second of the next day, as POSIX time has it.

    Args:
        text: for example ``2026-03-01T12:00:00.25+01:00``.

    Returns:
        Microseconds since 1970-01-01 UTC; negative before.

    Raises:
        ValueError: the text breaks a rule; the message says which.
    """
    if len(text) == _WITH_MICROSECONDS and text[19] == "." and text[26] == "Z":
        digits = text[_HEAD:19] + text[20:26]
        if digits.isdecimal() and digits.isascii() and digits[0] < "6":
            return _minute_start(text[:_HEAD]) + int(digits)
    tail = _UTC_TAIL.fullmatch(text, _HEAD)
    if tail is None:
        return _parse(text)
    second, fraction = tail.groups()
    us = _minute_start(text[:_HEAD]) + int(second) * SECOND_US
    return us + int(fraction[:6].ljust(6, "0")) if fraction else us


@lru_cache(maxsize=4096)
def _minute_start(head: str) -> int:
    """Microseconds from 1970 to the start of that UTC minute, given as ``YYYY-MM-DDTHH:MM:``."""
    return _parse(f"{head}00Z")


def _parse(text: str) -> int:
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(_why_not(text))
    date, hour, minute, second, fraction, sign, zone_hours, zone_minutes = match.groups()
    us = _day_start(date) + ((int(hour) * 60 + int(minute)) * 60 + int(second)) * SECOND_US
    if fraction:
        us += int(fraction[:6].ljust(6, "0"))
    if sign:
        shift = (int(zone_hours) * 60 + int(zone_minutes)) * MINUTE_US
        us += shift if sign == "-" else -shift
    if second == "60" and us % DAY_US >= SECOND_US:
        raise ValueError("a second :60 exists only at 23:59:60 UTC")
    return us


def _why_not(text: str) -> str:
    if _NO_ZONE.fullmatch(text):
        return "the zone is missing: end it with Z or an offset such as +02:00"
    if _LOOSE_SHAPE.fullmatch(text):
        return "hours go to 23, minutes and seconds to 59"
    return "not an RFC 3339 time with zone, such as 2026-03-01T12:00:00Z"


@lru_cache(maxsize=4096)
def _minute_text(minute: int) -> str:
    try:
        return (_EPOCH + timedelta(minutes=minute)).isoformat()[:17]
    except OverflowError:
        return _LAST_MINUTE if minute > 0 else _FIRST_MINUTE


def format_rfc3339(us: int) -> str:
    """The instant in UTC, ending in ``Z``; six digits of fraction where there is one, none otherwise.

    Args:
        us: microseconds since 1970-01-01 UTC; outside the years 1 to 9999, which only a made-up append time is, the
            first or the last minute of these stands for it.
    """
    minute, rest = divmod(us, MINUTE_US)
    second, fraction = divmod(rest, SECOND_US)
    if fraction:
        return f"{_minute_text(minute)}{second:02d}.{fraction:06d}Z"
    return f"{_minute_text(minute)}{second:02d}Z"


@lru_cache(maxsize=4096)
def _day_text(day_number: int) -> str:
    try:
        return (_EPOCH_DAY + timedelta(days=day_number)).isoformat()
    except OverflowError:
        return (_LAST_MINUTE if day_number > 0 else _FIRST_MINUTE)[:10]


@lru_cache(maxsize=4096)
def _month_text(day_number: int) -> str:
    return _day_text(day_number)[:7].replace("-", ".")


def day(us: int) -> str:
    """The UTC day of an instant, ``YYYY-MM-DD``."""
    return _day_text(us // DAY_US)


def month(us: int) -> str:
    """The UTC month of an instant, ``YYYY.MM``, as indices and the register of months name it."""
    return _month_text(us // DAY_US)
