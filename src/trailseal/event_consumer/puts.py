"""Batches on their way into the index: waiting, in flight, or put back for another attempt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from trailseal.event_consumer.backoff import full_jitter
from trailseal.event_consumer.batch import Batch
from trailseal.event_consumer.index import Attempt, attempt
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.sinks import Sinks
from trailseal.event_consumer.troubles import Troubles
from trailseal.telemetry import RETRIES


class Puts:
    """The batches that wait for the index or are in flight. Used by the poll thread only."""

    def __init__(
        self,
        sinks: Sinks,
        options: ConsumerOptions,
        workers: ThreadPoolExecutor,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        self._sinks, self._options = sinks, options
        self._workers, self._wake, self._troubles = workers, wake, troubles
        self._waiting: deque[Batch] = deque()
        self._flying: dict[Future[Attempt], Batch] = {}
        self._dropped: dict[Batch, set[int]] = {}

    @property
    def has_room(self) -> bool:
        """Whether more may be decoded: what waits for its first or next attempt is less than may wait."""
        options = self._options
        return (
            sum(batch.records for batch in self._waiting) < options.ahead_records
            and sum(batch.size for batch in self._waiting) < options.ahead_bytes
        )

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not self._waiting and not self._flying

    @property
    def resting(self) -> bool:
        """Nothing is in flight."""
        return not self._flying

    @property
    def calls(self) -> list[Future[Attempt]]:
        """The calls in flight."""
        return list(self._flying)

    def next_due(self, now: float) -> float:
        """Monotonic seconds when the next waiting batch may be tried; ``now`` where none waits for its time."""
        return min((batch.not_before for batch in self._waiting if batch.not_before > now), default=now)

    def add(self, batch: Batch) -> None:
        """Let a closed batch wait behind the others."""
        self._waiting.append(batch)

    def put_again(self, batches: list[Batch], not_before: float) -> None:
        """These were put but may be gone: they go first again, in their order."""
        for batch in reversed(batches):
            batch.reset()
            batch.not_before = not_before
            self._waiting.appendleft(batch)

    def drop(self, partition: int) -> None:
        """Forget the partition; what is in flight forgets it when it comes back."""
        for batch in self._flying.values():
            self._dropped.setdefault(batch, set()).add(partition)
        for batch in self._waiting:
            batch.drop(partition)

    def collect(self, now: float) -> tuple[list[Batch], bool]:
        """The batches that are settled now, and whether a whole call failed: what is not flushed may be gone.

        Raises:
            PipelineFault: the index is set up wrongly.
        """
        settled: list[Batch] = []
        lost = False
        for future in [future for future in self._flying if future.done()]:
            batch = self._flying.pop(future)
            result = future.result()
            for partition in self._dropped.pop(batch, ()):
                batch.drop(partition)
            if result.settled:
                self._troubles.over("index")
                batch.failures = 0
                batch.settle()
                settled.append(batch)
            else:
                self._retry(batch, result, now)
                lost = lost or result.index_lost
        return settled, lost

    def submit(self, now: float) -> None:
        """Start what may be tried; two batches that share a document id never fly together, nor change places."""
        held: set[str] = set()
        for batch in tuple(self._waiting):
            if len(self._flying) >= self._options.in_flight or any(other.admin for other in self._flying.values()):
                return
            if batch.admin and self._flying:
                return
            apart = held.isdisjoint(batch.names) and all(
                other.names.isdisjoint(batch.names) for other in self._flying.values()
            )
            if now >= batch.not_before and apart:
                self._waiting.remove(batch)
                self._start(batch)
            elif self._options.in_flight == 1:
                return
            else:
                held |= batch.names

    def _start(self, batch: Batch) -> None:
        future = self._workers.submit(attempt, self._sinks, batch, self._options.alike)
        self._flying[future] = batch
        future.add_done_callback(lambda _: self._wake())

    def _retry(self, batch: Batch, result: Attempt, now: float) -> None:
        engine = result.engine or "index"
        RETRIES.labels(engine).inc()
        self._troubles.begin(engine, result.why or "")
        options = self._options
        batch.not_before = now + full_jitter(batch.failures, options.retry_first_s, options.retry_most_s)
        batch.failures += 1
        self._waiting.appendleft(batch)
