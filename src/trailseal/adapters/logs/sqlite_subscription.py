"""Following the embedded log: one reader at a time, held by the data folder's ``consumer.lock``."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from trailseal.adapters.locks import FileLock
from trailseal.adapters.sqlite_files import SqliteFile
from trailseal.errors import PipelineFault, Unavailable
from trailseal.model.record import MAX_GAP, Gap, Record
from trailseal.ports.log import Assigned, Bounds, Delivery, Records

PARTITION = 0
POLL_BYTES = 32 * 1024 * 1024
_LOOK_S = 0.04
_GATHER_S = 0.03
"""Rest after a delivery that was not full, so that many small appends make few deliveries."""
_LOCK_RETRY_S = 0.1
_COMMIT_EVERY_S = 1.0


class Arrivals:
    """Wakes the subscriptions of this process when this process appended; other processes are looked for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes with every `announce`."""
        return self._generation

    def announce(self) -> None:
        """Wake everyone who waits."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Return when the generation is not ``seen`` any more, or after that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._generation != seen, seconds)


class Source(Protocol):
    """What a subscription needs of its log."""

    def bounds(self, partition: int) -> Bounds:
        """See `EventLog`."""

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog`."""


class SqliteSubscription:
    """The embedded log's `Subscription`.

    There is one partition and one lock for the whole data folder, so whatever the group's name, one subscription
    at a time is assigned: two pipelines on one index and ledger would only fence each other.
    """

    def __init__(
        self,
        source: Source,
        file: SqliteFile,
        lock: FileLock,
        arrivals: Arrivals,
        store_offset: Callable[[int], None],
    ) -> None:
        self._source = source
        self._file = file
        self._lock = lock
        self._arrivals = arrivals
        self._store_offset = store_offset
        self._watcher: sqlite3.Connection | None = None
        self._seen_version = -1
        self._assigned = False
        self._paused = False
        self._next: int | None = None
        self._uncommitted: int | None = None
        self._commit_due = 0.0
        self._woken = threading.Event()
        self._rests_until = 0.0
        self._closed = False
        self._use = threading.RLock()

    def poll(self, max_records: int, wait_s: float) -> Delivery | None:
        """See `Subscription.poll`; a `wake` or `close` that comes between two polls ends the next one."""
        deadline = time.monotonic() + wait_s
        while True:
            rest_s = min(self._rests_until, deadline) - time.monotonic()
            if rest_s > 0 and self._woken.wait(rest_s):
                self._woken.clear()
                return None
            generation = self._arrivals.generation
            with self._use:
                if self._closed:
                    return None
                delivery = self._deliver(max_records)
                look_s = _LOOK_S if self._assigned else _LOCK_RETRY_S
            if delivery is not None:
                if isinstance(delivery, Records) and len(delivery.items) < max_records:
                    self._rests_until = time.monotonic() + _GATHER_S
                return delivery
            left = deadline - time.monotonic()
            if self._woken.is_set() or left <= 0:
                self._woken.clear()
                return None
            self._arrivals.wait(generation, min(left, look_s))

    def seek(self, partition: int, offset: int) -> None:
        """See `Subscription.seek`."""
        if partition != PARTITION or not self._assigned:
            raise PipelineFault(
                f"Partition {partition} of the log {self._file.path} is not assigned to this reader."
            )
        bounds = self._source.bounds(PARTITION)
        if not bounds.first <= offset <= bounds.next:
            raise PipelineFault(
                f"Offset {offset} is not in the log {self._file.path}, which holds [{bounds.first}, {bounds.next}):"
                " the ledger beside it belongs to another log, or one of them was restored without the other."
            )
        self._next = offset
        self._seen_version = -1

    def pause(self, partitions: Iterable[int]) -> None:
        """See `Subscription.pause`."""
        if PARTITION in partitions:
            self._paused = True

    def resume(self, partitions: Iterable[int]) -> None:
        """See `Subscription.resume`."""
        if PARTITION in partitions:
            self._paused = False

    def commit(self, offsets: dict[int, int]) -> None:
        """Remember the offset for dashboards; written at most once a second, since every write is a sync."""
        self._uncommitted = offsets.get(PARTITION, self._uncommitted)
        self._write_offset()

    def wake(self) -> None:
        """See `Subscription.wake`."""
        self._woken.set()
        self._arrivals.announce()

    def close(self) -> None:
        """See `Subscription.close`; the lock is free when it returns."""
        self.wake()
        with self._use:
            if self._closed:
                return
            self._commit_due = 0.0
            self._write_offset()
            self._closed = True
            self._drop_watcher()
            self._lock.release()

    def _deliver(self, max_records: int) -> Delivery | None:
        if not self._assigned:
            if not self._lock.acquire():
                return None
            self._assigned = True
            return Assigned((PARTITION,))
        self._write_offset()
        if self._next is None or self._paused:
            return None
        self._file.refuse_replacement()
        version = self._data_version()
        if version == self._seen_version:
            return None
        items = self._source.read(PARTITION, self._next, max_records, POLL_BYTES)
        if not items:
            self._refuse_truncation(self._next)
            self._seen_version = version
            return None
        self._refuse_hole(items[-1])
        self._next = items[-1].end
        return Records(tuple(items))

    def _data_version(self) -> int:
        """A number that changes with every commit of any connection; asking costs a few microseconds."""
        try:
            with self._file.translated("be watched"):
                if self._watcher is None:
                    self._watcher = self._file.watcher()
                    self._seen_version = -1
                (version,) = self._watcher.execute("PRAGMA data_version").fetchone()
        except Unavailable:
            self._drop_watcher()
            raise
        return int(version)

    def _refuse_truncation(self, expected: int) -> None:
        held = self._source.bounds(PARTITION).next
        if held < expected:
            raise PipelineFault(
                f"The log {self._file.path} ends at {held}, before the offset {expected} that was read from it: it"
                " was cut off or replaced. Stop and restore the right file."
            )

    def _refuse_hole(self, last: Record | Gap) -> None:
        """Single records can be missing; where offset after offset is, an offset in the file was written over.

        Args:
            last: of what was read, which a hole of the full length ends.
        """
        if isinstance(last, Gap) and last.count == MAX_GAP:
            raise PipelineFault(
                f"The log {self._file.path} lacks {MAX_GAP:,} records or more from offset {last.position.offset}"
                " on, and it never removes one: the file was damaged or edited. Stop and restore it from a backup."
            )

    def _write_offset(self) -> None:
        if self._uncommitted is None or time.monotonic() < self._commit_due:
            return
        with suppress(Unavailable, PipelineFault):
            self._store_offset(self._uncommitted)
            self._uncommitted = None
        self._commit_due = time.monotonic() + _COMMIT_EVERY_S

    def _drop_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with suppress(sqlite3.Error):
                watcher.close()
