"""Cutting a page's time into windows, so that a page costs the same in a small month and in a huge one.

A sorted search looks at every document that matches, and events are stored oldest first: newest first, nothing can
be skipped. So the first window is only as wide as a few pages usually are; where it does not fill the page the next
one is much wider. Windows never overlap and together cover everything; how they are cut changes the cost only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from trailseal.model.projection import SortKey
from trailseal.model.query import Query

SMALL: Final = 20_000
"""Up to so many documents one window is as good."""
_PAGES: Final = 4
_GROWTH: Final = 16


class Spread(msgspec.Struct, frozen=True, gc=False):
    """How documents lie in time, roughly and as of a while ago.

    Attributes:
        documents: how many.
        oldest: the first one's timestamp, microseconds since 1970 UTC.
        newest: the last one's.
    """

    documents: int
    oldest: int
    newest: int


class Window(msgspec.Struct, frozen=True, gc=False):
    """Times from ``start`` up to before ``stop``; None is open."""

    start: int | None
    stop: int | None


def windows(spread: Spread, query: Query, after: SortKey | None, limit: int) -> Iterator[Window]:
    """The windows of a page, in the query's order.

    Args:
        spread: of the months asked.
        query: the question.
        after: where the page starts.
        limit: rows of the page.
    """
    if spread.documents <= SMALL:
        yield Window(None, None)
        return
    width = (spread.newest - spread.oldest) * limit * _PAGES // spread.documents + 1
    if query.order == "desc":
        yield from _backwards(_earliest(spread.newest, query.time_to_us, after), spread.oldest, width)
    else:
        yield from _forwards(_latest(spread.oldest, query.time_from_us, after), spread.newest, width)


def _earliest(newest: int, time_to_us: int | None, after: SortKey | None) -> int:
    begin = newest if time_to_us is None else min(newest, time_to_us)
    return begin if after is None else min(begin, after.timestamp_us)


def _latest(oldest: int, time_from_us: int | None, after: SortKey | None) -> int:
    begin = oldest if time_from_us is None else max(oldest, time_from_us)
    return begin if after is None else max(begin, after.timestamp_us)


def _backwards(begin: int, oldest: int, width: int) -> Iterator[Window]:
    stop: int | None = None
    cut = begin - width
    while cut > oldest:
        yield Window(cut, stop)
        stop = cut
        width *= _GROWTH
        cut -= width
    yield Window(None, stop)


def _forwards(begin: int, newest: int, width: int) -> Iterator[Window]:
    start: int | None = None
    cut = begin + width
    while cut < newest:
        yield Window(start, cut)
        start = cut
        width *= _GROWTH
        cut += width
    yield Window(start, None)
