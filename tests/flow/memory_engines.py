"""A log with several partitions and an index, both in memory, that follow their ports' contracts to the letter.

They stand where a test has to decide what an engine answers: which items are retried, which partition is revoked.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

from trailseal.errors import Rebuilding, Unavailable
from trailseal.model.projection import Entry, Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.model.record import Gap, NewRecord, Position, Record
from trailseal.ports.index import Expired, Present, Refused, Retry, Stored, Tombstone, Verdict
from trailseal.ports.log import Assigned, Bounds, Delivery, Lost, Records, Revoked

NUMBER = 1


class MemoryLog:
    """Partitions of records and gaps; the test says who owns what."""

    origin = "memory/0123456789abcdef/1"

    def __init__(self, partitions: int = 1) -> None:
        self.held: dict[int, list[Record | Gap]] = {number: [] for number in range(partitions)}
        self.subscriptions: list[MemorySubscription] = []
        self.give_at_subscribe: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def append(self, records: Sequence[NewRecord], partition: int | None = None) -> list[Position]:
        return [self.append_to(partition or 0, record) for record in records]

    def append_to(self, partition: int, record: NewRecord) -> Position:
        with self._lock:
            position = Position(NUMBER, partition, self._next(partition))
            self.held[partition].append(
                Record(position, time.time_ns() // 1_000_000, record.key, record.value, record.headers)
            )
        self._wake()
        return position

    def skip(self, partition: int, count: int) -> None:
        """Leave offsets out, as a transaction marker does."""
        with self._lock:
            self.held[partition].append(Gap(Position(NUMBER, partition, self._next(partition)), count))
        self._wake()

    def partitions(self) -> tuple[int, ...]:
        return tuple(self.held)

    def bounds(self, partition: int) -> Bounds:
        return Bounds(0, self._next(partition))

    def retention_s(self) -> None:
        return None

    def forgets_within_s(self) -> None:
        return None

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:  # noqa: ARG002 - the port's signature
        return [item for item in self.held[partition] if item.position.offset >= start][:max_records]

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        held = {item.position: item for items in self.held.values() for item in items if isinstance(item, Record)}
        return [held.get(position) for position in positions]

    def subscribe(self, group: str) -> MemorySubscription:  # noqa: ARG002 - one group
        subscription = MemorySubscription(self)
        if self.give_at_subscribe:
            subscription.give(*self.give_at_subscribe)
        self.subscriptions.append(subscription)
        return subscription

    def close(self) -> None:
        """Nothing to release."""

    def _next(self, partition: int) -> int:
        if not self.held[partition]:
            return 0
        last = self.held[partition][-1]
        return last.position.offset + (last.count if isinstance(last, Gap) else 1)

    def _wake(self) -> None:
        for subscription in self.subscriptions:
            subscription.wake()


class MemorySubscription:
    """Assigned what the test gives it with `give`; counts what it is told."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._events: deque[Delivery] = deque()
        self._places: dict[int, int] = {}
        self._woken = threading.Event()
        self.paused: set[int] = set()
        self.polls = 0
        self.polls_while_paused = 0
        self.committed: dict[int, int] = {}
        self.commits: list[dict[int, int]] = []
        self.taken_away: set[int] = set()
        self.closed = False
        self.at_next_poll: list[Callable[[], None]] = []

    def give(self, *partitions: int) -> None:
        self._events.append(Assigned(partitions))
        self._woken.set()

    def revoke(self, *partitions: int, after: Callable[[], None] = lambda: None) -> None:
        """Announce it; ``after`` runs at the poll after the announcement, when they are gone."""
        self._events.append(Revoked(partitions))
        self._leave = after
        self._woken.set()

    def lose(self, *partitions: int) -> None:
        self._events.append(Lost(partitions))
        self._woken.set()

    def poll(self, max_records: int, wait_s: float) -> Delivery | None:
        self.polls += 1
        for action in self.at_next_poll:
            action()
        self.at_next_poll.clear()
        if self.paused:
            self.polls_while_paused += 1
        delivery = self._next(max_records)
        if delivery is None:
            self._woken.wait(wait_s)
            self._woken.clear()
            delivery = self._next(max_records)
        return delivery

    def _next(self, max_records: int) -> Delivery | None:
        if self._events:
            event = self._events.popleft()
            if isinstance(event, (Revoked, Lost)):
                for number in event.partitions:
                    self._places.pop(number, None)
                    self.paused.discard(number)
                    self.taken_away.add(number)
            if isinstance(event, Revoked):
                self.at_next_poll.append(self._leave)
            return event
        items: list[Record | Gap] = []
        for number, place in self._places.items():
            if number in self.paused:
                continue
            found = self._log.read(number, place, max_records - len(items), 1 << 30)
            if found:
                last = found[-1]
                self._places[number] = last.position.offset + (last.count if isinstance(last, Gap) else 1)
                items += found
        return Records(tuple(items)) if items else None

    def seek(self, partition: int, offset: int) -> None:
        self._places[partition] = offset

    def pause(self, partitions: Iterable[int]) -> None:
        self.paused.update(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        self.paused.difference_update(partitions)

    def commit(self, offsets: dict[int, int]) -> None:
        self.commits.append(dict(offsets))
        self.committed.update(offsets)

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self.closed = True


class MemoryIndex:
    """Documents by (month, id). What was not flushed is gone after `forget_unflushed`.

    Attributes:
        answer: asked before each put; may raise, or give verdicts by place that are used instead.
    """

    refresh_interval_s = 0.2

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Entry] = {}
        self.flushed: dict[tuple[str, str], Entry] = {}
        self.tombstones: dict[tuple[str, str], Position] = {}
        self.dropped_months: set[str] = set()
        self.complete = True
        self.puts: list[list[Entry]] = []
        self.flushes = 0
        self.answer: Callable[[Sequence[Entry]], dict[int, Verdict]] = lambda _: {}
        self.on_flush: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._flying: dict[str, int] = defaultdict(int)

    def is_complete(self) -> bool:
        return self.complete

    def begin_rebuild(self) -> None:
        self.documents.clear()
        self.flushed.clear()
        self.complete = False

    def mark_complete(self) -> None:
        self.complete = True

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        names = {entry.document_id for entry in entries}
        with self._lock:
            for name in names:
                assert not self._flying[name], "two calls in flight hold one id"
                self._flying[name] = 1
        try:
            given = self.answer(entries)
        finally:
            with self._lock:
                for name in names:
                    self._flying[name] = 0
        with self._lock:
            self.puts.append(list(entries))
            return [given.get(at) or self._one(entry) for at, entry in enumerate(entries)]

    def _one(self, entry: Entry) -> Verdict:
        key = (entry.month, entry.document_id)
        if entry.month in self.dropped_months:
            return Expired()
        if key in self.tombstones:
            return Tombstone(self.tombstones[key])
        held = self.documents.get(key)
        if held is not None:
            return Present(held.projection.position, held.projection.content_hash)
        self.documents[key] = entry
        return Stored()

    def forget_unflushed(self) -> None:
        self.documents = dict(self.flushed)

    def flush(self) -> None:
        self.on_flush()
        with self._lock:
            self.flushes += 1
            self.flushed = dict(self.documents)

    def refresh(self) -> None:
        """Everything is visible at once."""

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        raise NotImplementedError

    def count(self, query: Query, ceiling: int | None = None) -> Count:  # noqa: ARG002 - the port's signature
        if not self.complete:
            raise Rebuilding("The index is being rebuilt.")
        return Count(len(self.flushed))

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        places = (entry.projection.position for entry in self.flushed.values())
        return sorted(
            place.offset
            for place in places
            if (place.log, place.partition) == (log, partition) and start <= place.offset < stop
        )

    def close(self) -> None:
        self.forget_unflushed()


__all__ = ["MemoryIndex", "MemoryLog", "MemorySubscription", "Refused", "Retry", "Unavailable"]
