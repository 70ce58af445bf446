"""Names of the tokens that tie cached answers to what they were computed from.

The consumer renews the tokens of what it touches; the query service puts the tokens of what it reads into its cache
keys. Both take the names from here, so that a write can never miss the answers it makes old:

* ``*`` is in every key; renewing it makes every answer old.
* ``any`` and ``any/DAY`` stand for writes of any tenant, for questions that are not bound to tenants.
* ``tenant/T`` and ``tenant/T/DAY`` stand for writes of one tenant; no tenant id holds a slash.

``DAY`` is the number of days since 1970-01-01 UTC of the event's own timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable

EVERYTHING = "*"
DAY_US = 86_400_000_000
MAX_DAYS = 31
"""A question over more days than this is tied to the whole tenant instead of to each day."""
MAX_RENEWED = 2_000
"""A write that touches more tokens than this renews `EVERYTHING` instead."""


def day_of(timestamp_us: int) -> int:
    """Days since 1970-01-01 UTC; ``timestamp_us`` in microseconds since then."""
    return timestamp_us // DAY_US


def touched(days: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """What to renew when events of these (tenant id, day) pairs are written, sorted."""
    names: set[str] = set()
    for tenant, day in days:
        names.update((f"any/{day}", f"tenant/{tenant}", f"tenant/{tenant}/{day}"))
        if len(names) > MAX_RENEWED:
            return (EVERYTHING,)
    if names:
        names.add("any")
    return tuple(sorted(names))


def watched(tenants: tuple[str, ...] | None, time_from_us: int | None, time_to_us: int | None) -> tuple[str, ...]:
    """What an answer depends on, for its cache key, sorted.

    Args:
        tenants: whom the question is bound to; None = it sees every tenant.
        time_from_us: start of the window, inclusive, or None for open.
        time_to_us: end of the window, exclusive, or None for open.
    """
    scopes = ("any",) if tenants is None else tuple(f"tenant/{tenant}" for tenant in tenants)
    days = _days(time_from_us, time_to_us)
    if days is None:
        return tuple(sorted({EVERYTHING, *scopes}))
    return tuple(sorted({EVERYTHING, *(f"{scope}/{day}" for scope in scopes for day in days)}))


def _days(time_from_us: int | None, time_to_us: int | None) -> range | None:
    if time_from_us is None or time_to_us is None:
        return None
    days = range(day_of(time_from_us), day_of(max(time_from_us, time_to_us - 1)) + 1)
    return days if len(days) <= MAX_DAYS else None
