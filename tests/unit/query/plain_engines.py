"""An index and a cache in plain Python whose every step the test takes: what is put, flushed, seen, renewed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

from trailseal.errors import Unavailable
from trailseal.formats import decode_record
from trailseal.model.projection import Entry, Hit, Projection, SortKey
from trailseal.model.projection import entry as entry_of
from trailseal.model.query import Condition, Count, Exact, Field, Prefix, Query
from trailseal.model.record import Position, Record
from trailseal.ports.cache import Found
from trailseal.ports.index import Stored, Verdict

ORIGIN = "embedded/00000000000000000000000000000000/1"


class StepClock:
    """Time that moves only when told, or by waiting."""

    def __init__(self, now_us: int = 1_780_000_000_000_000) -> None:
        self.seconds = 0.0
        self._start_us = now_us

    def now_us(self) -> int:
        return self._start_us + int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def interrupt(self) -> None:
        """Nothing waits here."""


def entry(value: bytes, offset: int, received_ms: int = 1_780_000_000_000) -> Entry:
    """An entry as the pipeline makes it."""
    record = Record(Position(1, 0, offset), received_ms, None, value)
    decoded = decode_record(record, ORIGIN)
    return entry_of(record, decoded.event, decoded.format, decoded.words)


class PlainIndex:
    """Entries in a list; searches see what was there at the last `refresh`.

    Attributes:
        fails: what searches raise instead of answering, or None.
        searches: how many there were.
        during_search: called while a search runs, before it looks.
        after_search: called when it has looked and not yet answered.
    """

    refresh_interval_s = 1.0

    def __init__(self) -> None:
        self._put: list[Entry] = []
        self._visible: tuple[Entry, ...] = ()
        self.fails: Unavailable | None = None
        self.searches = 0
        self.during_search: Callable[[], None] = lambda: None
        self.after_search: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        self._put += entries
        return [Stored() for _ in entries]

    def flush(self) -> None:
        """Nothing is lost here."""

    def refresh(self) -> None:
        self._visible = tuple(self._put)

    def is_complete(self) -> bool:
        return True

    def begin_rebuild(self) -> None:
        self._put.clear()

    def mark_complete(self) -> None:
        """It always is."""

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        found = self._matching(query)
        found.sort(key=lambda each: each.projection.sort_key, reverse=query.order == "desc")
        if after is not None:
            found = [each for each in found if _past(each.projection.sort_key, after, query.order)]
        return [Hit(each.projection.sort_key, each.record) for each in found[:limit]]

    def count(self, query: Query, ceiling: int | None = None) -> Count:  # noqa: ARG002 - the port's signature
        return Count(len(self._matching(query)))

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:  # noqa: ARG002 - the port's signature
        return sorted(each.projection.position.offset for each in self._visible)

    def close(self) -> None:
        """Nothing to release."""

    def _matching(self, query: Query) -> list[Entry]:
        with self._lock:
            self.searches += 1
        self.during_search()
        if self.fails is not None:
            raise self.fails
        seen = [each for each in self._visible if _holds(query, each.projection)]
        self.after_search()
        return seen


def _past(key: SortKey, after: SortKey, order: str) -> bool:
    return key < after if order == "desc" else key > after


def _holds(query: Query, projection: Projection) -> bool:
    if query.tenants is not None and projection.tenant_id not in query.tenants:
        return False
    if query.time_from_us is not None and projection.timestamp_us < query.time_from_us:
        return False
    if query.time_to_us is not None and projection.timestamp_us >= query.time_to_us:
        return False
    return all(_meets(condition, projection) for condition in query.conditions)


def _meets(condition: Condition, projection: Projection) -> bool:
    if condition.field is Field.METADATA:
        raise NotImplementedError("the real indexes are tested with metadata")
    value: str | None = getattr(projection, condition.field.value)
    return condition.negated != any(
        value is not None
        and (
            (isinstance(match, Exact) and value == match.text)
            or (isinstance(match, Prefix) and value.startswith(match.text))
        )
        for match in condition.any_of
    )


class PlainCache:
    """Values and tokens in dictionaries, timed by the test's clock.

    Attributes:
        reachable: False = every call fails the way the port allows.
        claimed_elsewhere: questions that another process is said to compute.
    """

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self._values: dict[str, tuple[str, bytes, float, float]] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.reachable = True
        self.claimed_elsewhere: set[str] = set()

    @property
    def questions(self) -> list[str]:
        """What a value was ever kept for."""
        return list(self._values)

    def find(self, question: str, names: Sequence[str], claim_s: float) -> Found | None:  # noqa: ARG002 - the port's
        if not self.reachable:
            return None
        now = self._clock.monotonic()
        with self._lock:
            tokens = [self._tokens.setdefault(name, (f"t{next(self._numbers)}", now)) for name in names]
        mark, age_s = " ".join(value for value, _ in tokens), min(now - made for _, made in tokens)
        kept = self._values.get(question)
        if kept is not None and kept[0] == mark and now < kept[2]:
            return Found(mark, age_s, kept[1])
        return Found(mark, age_s, None, None if question in self.claimed_elsewhere else "ours")

    def keep(self, question: str, found: Found, value: bytes, ttl_s: float, earlier_s: float) -> None:
        if self.reachable and ttl_s > 0:
            now = self._clock.monotonic()
            self._values[question] = (found.mark, value, now + ttl_s, now + earlier_s)

    def release(self, question: str, found: Found) -> None:
        """Nothing is waited for here."""

    def earlier(self, question: str) -> bytes | None:
        kept = self._values.get(question)
        return kept[1] if self.reachable and kept is not None and self._clock.monotonic() < kept[3] else None

    def renew(self, names: Sequence[str]) -> bool:
        if self.reachable:
            with self._lock:
                for name in names:
                    self._tokens.pop(name, None)
                    self._tokens[name] = (f"t{next(self._numbers)}", self._clock.monotonic())
        return self.reachable

    def evict(self, name: str) -> None:
        """Lose one token, as a full Redis may."""
        self._tokens.pop(name, None)

    def clear(self) -> bool:
        self._values.clear()
        return True

    def writer_here(self, present: bool) -> None:
        """A shared cache ignores it."""

    def close(self) -> None:
        """Nothing to release."""
