"""The pipeline between the log's deliveries and the heads: batches, flushes and advances.

Everything here runs in the poll thread, which never waits for an engine: the calls run in worker threads, and
`Pipeline.pump` collects what they achieved and starts what is due. An index with one writing thread has one worker,
so that its puts and flushes follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from trailseal.event_consumer.advance import Advanced, Step, advance
from trailseal.event_consumer.backoff import full_jitter
from trailseal.event_consumer.batch import Batch
from trailseal.event_consumer.decode import decode_into
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.partitions import Partition, Slice, Stage, moves
from trailseal.event_consumer.puts import Puts
from trailseal.event_consumer.sinks import Sinks
from trailseal.event_consumer.troubles import Troubles
from trailseal.model.outcomes import Head
from trailseal.model.record import Gap, Record
from trailseal.ports.clock import Clock
from trailseal.telemetry import RETRIES

_GRACE_S = 0.25
_REST = 0.2
"""Share of the flush interval between two flushes that only a quiet log asks for."""


class Pipeline:
    """Takes deliveries in at one end and moves heads at the other.

    Args:
        sinks: the engines to write to.
        clock: for deadlines, and to see how long records have waited.
        options: how much at once, how often.
        origin: the log's identity.
        workers: runs the engine calls; one thread where the index has one writing thread.
        wake: called from a worker when a call has ended.
        troubles: told which engines do not answer.

    Attributes:
        dead_letters: how many count since the start.
        taken_in: offsets the heads moved since the runner last took it out.
        fenced: partitions whose head another process moved; the runner takes them out.
        moved: where heads are now, by partition, since the runner last took it out.
    """

    def __init__(
        self,
        sinks: Sinks,
        clock: Clock,
        options: ConsumerOptions,
        *,
        origin: str,
        workers: ThreadPoolExecutor,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        self._sinks, self._clock, self._options, self._origin = sinks, clock, options, origin
        self._workers, self._wake, self._troubles = workers, wake, troubles
        self._flush_s = sinks.index.refresh_interval_s if options.flush_s is None else options.flush_s
        self._partitions: dict[int, Partition] = {}
        self._epoch = 0
        self._filling: Batch | None = None
        self._puts = Puts(sinks, options, workers, wake, troubles)
        self._unflushed: list[Batch] = []
        self._advancing: list[Batch] = []
        self._advance: Future[Advanced] | None = None
        self._advance_failures = 0
        self._advance_not_before = 0.0
        self._advanced_at = float("-inf")
        self._tokens: set[str] = set()
        self.dead_letters = 0
        self.taken_in = 0
        self.fenced: list[int] = []
        self.moved: dict[int, int] = {}

    def open(self, head: Head) -> None:
        """Take this partition in from its head on; whatever was known of it before is dropped."""
        self.drop((head.partition,))
        self._epoch += 1
        self._partitions[head.partition] = Partition(head.partition, self._epoch, head, head.next)

    def drop(self, partitions: Iterable[int]) -> None:
        """These partitions are not ours any more: forget what is under way, ignore what comes back late."""
        for number in partitions:
            if self._partitions.pop(number, None) is None:
                continue
            self._puts.drop(number)
            for batch in (*self._unflushed, *([self._filling] if self._filling else ())):
                batch.drop(number)

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions that are taken in."""
        return tuple(self._partitions)

    def heads(self) -> dict[int, Head]:
        """The head of every partition that is taken in."""
        return {number: partition.head for number, partition in self._partitions.items()}

    @property
    def idle(self) -> bool:
        """Everything delivered is below the heads."""
        return not any(partition.slices for partition in self._partitions.values())

    @property
    def has_room(self) -> bool:
        """Whether more may be read; else the source has to be paused.

        An index with one writing thread works in this process, call by call: decoding beside its puts would gain
        nothing and make both wait for the interpreter at every document (docs/decisions/0361). A flush lets go of
        the interpreter, so decoding goes on beside it, for as much as a flush may hold (docs/decisions/0500).
        """
        rows = sum(len(piece.rows) for partition in self._partitions.values() for piece in partition.slices)
        if self._options.in_flight == 1 and self._puts.calls and self._advance is None:
            return False
        return self._puts.has_room and rows < self._options.rows_held

    def oldest_ms(self) -> dict[int, int]:
        """By partition, the append time of the oldest record that is not below its head yet, where there is one."""
        firsts = {number: partition.slices[0] for number, partition in self._partitions.items() if partition.slices}
        return {number: piece.oldest_ms for number, piece in firsts.items() if piece.oldest_ms is not None}

    def take(self, items: Sequence[Record | Gap], now: float) -> None:
        """Decode a delivery into batches; items of partitions that are not open are ignored.

        Raises:
            PipelineFault: the log delivered another offset than the next one.
        """
        by_partition: dict[int, list[Record | Gap]] = {}
        for item in items:
            by_partition.setdefault(item.position.partition, []).append(item)
        for number, run in by_partition.items():
            partition = self._partitions.get(number)
            if partition is not None:
                self._take_run(partition, run, now)

    def _take_run(self, partition: Partition, run: list[Record | Gap], now: float) -> None:
        options = self._options
        at = 0
        while at < len(run):
            batch = self._filling = self._filling or Batch()
            piece = batch.slices.get(partition.number) or self._begin_slice(batch, partition, run[at], now)
            at = decode_into(
                batch,
                piece,
                run,
                at,
                self._origin,
                maker=None if self._sinks.seals is None else self._sinks.seals.maker(partition.number),
                most_records=options.batch_records,
                most_bytes=options.batch_bytes,
            )
            partition.expected = piece.next
            if (
                at < len(run)
                or batch.admin
                or batch.records >= options.batch_records
                or batch.size >= options.batch_bytes
            ):
                self._close_filling()

    def _begin_slice(self, batch: Batch, partition: Partition, first: Record | Gap, now: float) -> Slice:
        piece = batch.slices[partition.number] = partition.begin_slice(now)
        if isinstance(first, Record):
            piece.oldest_ms = first.timestamp_ms
            waited_s = self._clock.now_us() / 1e6 - first.timestamp_ms / 1e3
            batch.late = batch.late or waited_s > self._flush_s + _GRACE_S
        return piece

    def _close_filling(self) -> None:
        if self._filling is not None:
            self._filling.close(self._options.alike)
            self._puts.add(self._filling)
            self._filling = None

    def pump(self, now: float, *, quiet: bool = False, finish: bool = False) -> None:
        """Collect what has ended and start what is due.

        Args:
            now: monotonic seconds.
            quiet: the log has nothing more right now: no need to wait for more before a flush.
            finish: flush as soon as nothing else is under way.

        Raises:
            PipelineFault: our own set-up is broken.
        """
        settled, lost = self._puts.collect(now)
        for batch in settled:
            self._tokens.update(batch.tokens)
        self._unflushed += settled
        if lost:
            self._puts.put_again(self._unflushed, now)
            self._unflushed = []
        self._collect_advance(now)
        if not self._ordered and sum(batch.records for batch in self._unflushed) < 2 * self._options.flush_records:
            if self._filling is not None and self._puts.idle:
                self._close_filling()
            self._puts.submit(now)
        may = self._advance is None and now >= self._advance_not_before
        if may and self._advance_due(now, quiet=quiet, finish=finish):
            self._submit_advance()

    def wait_s(self, now: float, most_s: float) -> float:
        """Seconds until `pump`, called just now, has something more to start by time alone, at most ``most_s``.

        What is due already waits for a call under way, whose end wakes the poll.
        """
        dues = [self._puts.next_due(now), self._advance_not_before]
        if not self.idle:
            taken = self._oldest_taken(now)
            dues += [taken + self._flush_s, taken + self._options.backlog_flush_s]
        return min([most_s, *(due - now for due in dues if due > now)])

    def wait(self, seconds: float) -> None:
        """Return when a call under way has ended, at the latest after that time."""
        calls: list[Future[Any]] = [*self._puts.calls, *([self._advance] if self._advance else [])]
        if calls:
            wait(calls, timeout=seconds, return_when=FIRST_COMPLETED)
        else:
            self._clock.wait(min(seconds, 0.05))

    def drain(self, deadline: float) -> None:
        """Finish what is under way: settle, flush, advance; give up at ``deadline`` (monotonic seconds).

        Raises:
            PipelineFault: as `pump`.
        """
        while (now := self._clock.monotonic()) < deadline:
            self.pump(now, finish=True)
            if self.idle and self._advance is None:
                return
            self.wait(min(0.5, deadline - now))

    def _oldest_taken(self, now: float) -> float:
        taken = (partition.slices[0].taken_at for partition in self._partitions.values() if partition.slices)
        return min(taken, default=now)

    def _advance_due(self, now: float, *, quiet: bool, finish: bool) -> bool:
        options = self._options
        unflushed = self._unflushed
        ready = [piece for partition in self._partitions.values() for piece in self._finished(partition)]
        if not unflushed and not ready:
            return False
        rested = now - self._advanced_at >= _REST * self._flush_s
        if self._ordered:
            return self._puts.resting
        if (finish or (quiet and rested)) and self._puts.idle and self._filling is None:
            return True
        late = any(batch.late for batch in unflushed)
        return (
            sum(batch.records for batch in unflushed) >= options.flush_records
            or sum(batch.size for batch in unflushed) >= options.flush_bytes
            or sum(len(piece.rows) for piece in ready) >= options.advance_rows
            or now - self._oldest_taken(now) >= (options.backlog_flush_s if late else self._flush_s)
        )

    @property
    def _ordered(self) -> bool:
        """Whether a removal has to be carried out before anything behind it is put."""
        return any(piece.orders for partition in self._partitions.values() for piece in partition.slices)

    def _finished(self, partition: Partition) -> list[Slice]:
        settled = {id(piece) for batch in self._unflushed for piece in batch.slices.values()}
        return partition.finished(settled)

    def _submit_advance(self) -> None:
        steps = []
        for partition in self._partitions.values():
            prefix = self._finished(partition)
            if prefix:
                steps.append(Step(partition.epoch, partition.head, list(moves(prefix, self._options.advance_rows))))
        self._advancing, self._unflushed = self._unflushed, []
        self._advance = self._workers.submit(
            advance,
            self._sinks,
            steps,
            tuple(sorted(self._tokens)),
            min((batch.losses for batch in self._advancing if batch.losses is not None), default=None),
            refresh=self._options.refresh_after_flush,
        )
        self._advance.add_done_callback(lambda _: self._wake())

    def _collect_advance(self, now: float) -> None:
        if self._advance is None or not self._advance.done():
            return
        done = self._advance.result()
        self._advance = None
        self._advanced_at = now
        batches, self._advancing = self._advancing, []
        if done.flushed:
            for piece in (piece for batch in batches for piece in batch.slices.values()):
                piece.stage = Stage.FLUSHED
        else:
            self._puts.put_again([*batches, *self._unflushed], now)
            self._unflushed = []
        if done.renewed:
            self._tokens = {name for batch in self._unflushed for name in batch.tokens}
        self._apply_heads(done)
        self._note_trouble(done, now)

    def _apply_heads(self, done: Advanced) -> None:
        self.dead_letters += done.dead_letters
        for number, (epoch, head) in done.heads.items():
            partition = self._partitions.get(number)
            if partition is not None and partition.epoch == epoch:
                self.taken_in += partition.advanced(head)
                self.moved[number] = head.next
        self.fenced += [number for number in done.fenced if number in self._partitions]

    def _note_trouble(self, done: Advanced, now: float) -> None:
        if done.engine is None:
            self._advance_failures = 0
            self._troubles.over("index", "cache", "ledger")
            return
        RETRIES.labels(done.engine).inc()
        self._troubles.begin(done.engine, done.why or "")
        options = self._options
        delay = full_jitter(self._advance_failures, options.retry_first_s, options.retry_most_s)
        self._advance_failures += 1
        self._advance_not_before = now + delay
