"""Group commit: appends that arrive while a commit is being synced share the next one.

There is no writer thread. The first append to arrive leads: it commits everything that waits, within bounds,
and hands the lead to the oldest append still waiting. (The idea: DeWitt et al., "Implementation techniques for
main memory database systems", SIGMOD 1984, section 5.2.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from trailseal.errors import Overloaded, TrailsealError, Unavailable

Row = tuple[bytes | None, bytes | None, bytes | None]
"""Key, value, encoded headers."""

COMMIT_RECORDS = 20_000
COMMIT_BYTES = 32 * 1024 * 1024
WAITING_RECORDS = 200_000
WAITING_BYTES = 128 * 1024 * 1024


class Batch:
    """One append on its way: its rows and, once it is settled, its first offset or its error."""

    __slots__ = ("done", "error", "first", "rows", "settled", "size")

    def __init__(self, rows: Sequence[Row], size: int) -> None:
        self.rows = rows
        self.size = size
        self.first = -1
        self.done = False
        self.error: BaseException | None = None
        self.settled = threading.Event()


class GroupCommit:
    """Lets many threads append through one `commit`, which is called by one thread at a time.

    Args:
        commit: makes all rows of the batches durable, in order, and sets each batch's ``first``; all or nothing.
        waiting_records: how many records may wait before an append is refused.
        waiting_bytes: how many bytes may wait before an append is refused.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Batch]], None],
        *,
        waiting_records: int = WAITING_RECORDS,
        waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        self._commit = commit
        self._waiting_records = waiting_records
        self._waiting_bytes = waiting_bytes
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._queue: deque[Batch] = deque()
        self._records = 0
        self._bytes = 0
        self._led = False
        self._closed = False

    def append(self, rows: Sequence[Row], size: int) -> int:
        """Commit the rows, perhaps together with others'; the offset of the first.

        Raises:
            Overloaded: too much waits already; nothing was taken.
            Unavailable: the commit failed, or the log is closed.
        """
        batch = Batch(rows, size)
        if not self._enter(batch):
            try:
                batch.settled.wait()
            except BaseException:
                self._withdraw(batch)
                raise
        if not batch.done:
            self._lead()
        if batch.error is not None:
            raise _for_this_thread(batch.error)
        return batch.first

    def close(self) -> None:
        """Refuse further appends and wait for those under way."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._led)

    def _enter(self, batch: Batch) -> bool:
        """Queue the batch; True when its thread has to lead."""
        with self._lock:
            if self._closed:
                raise Unavailable("The log is closed.")
            if self._queue and (
                self._records + len(batch.rows) > self._waiting_records
                or self._bytes + batch.size > self._waiting_bytes
            ):
                raise Overloaded(
                    f"{self._records} records ({self._bytes} bytes) already wait to be written: send less at once,"
                    " or try again in a moment."
                )
            self._queue.append(batch)
            self._records += len(batch.rows)
            self._bytes += batch.size
            lead, self._led = not self._led, True
            return lead

    def _lead(self) -> None:
        """Commit the oldest batches, the leader's own among them, and pass the lead on."""
        group: list[Batch] = []
        error: BaseException | None = None
        try:
            with self._lock:
                self._take(group)
            self._commit(group)
        except TrailsealError as failure:
            error = failure
        except BaseException as failure:
            error = failure
            raise
        finally:
            for batch in group:
                batch.error = error
                batch.done = True
                batch.settled.set()
            with self._lock:
                self._pass_on()

    def _take(self, group: list[Batch]) -> None:
        records = size = 0
        while self._queue:
            batch = self._queue[0]
            if group and (records + len(batch.rows) > COMMIT_RECORDS or size + batch.size > COMMIT_BYTES):
                return
            records += len(batch.rows)
            size += batch.size
            group.append(self._remove(batch))

    def _remove(self, batch: Batch) -> Batch:
        self._queue.remove(batch)
        self._records -= len(batch.rows)
        self._bytes -= batch.size
        return batch

    def _pass_on(self) -> None:
        if self._queue:
            self._queue[0].settled.set()
        else:
            self._led = False
            self._idle.notify_all()

    def _withdraw(self, batch: Batch) -> None:
        """Take back a batch whose thread was interrupted while it waited."""
        with self._lock:
            if batch in self._queue:
                leads = self._queue[0] is batch and batch.settled.is_set()
                self._remove(batch)
                if leads:
                    self._pass_on()


def _for_this_thread(error: BaseException) -> TrailsealError:
    """The same error as an object of its own: one raised in many threads would mix up their tracebacks."""
    if not isinstance(error, TrailsealError):
        return Unavailable("The append was interrupted before it was committed: try again.")
    own = type(error)(str(error))
    own.__cause__ = error.__cause__
    return own
