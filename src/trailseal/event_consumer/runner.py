"""The consumer: follows the log with the pipeline until it is told to stop, or our own fault stops it."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from trailseal.errors import PipelineFault, TrailsealError, Unavailable
from trailseal.event_consumer.backoff import full_jitter
from trailseal.event_consumer.gauges import PartitionGauges
from trailseal.event_consumer.mirror import DeadLetterMirror
from trailseal.event_consumer.notary import Notary
from trailseal.event_consumer.opening import open_partitions
from trailseal.event_consumer.options import ConsumerOptions
from trailseal.event_consumer.pipeline import Pipeline
from trailseal.event_consumer.rebuild import Rebuild
from trailseal.event_consumer.sinks import Sinks
from trailseal.event_consumer.state import PipelineState
from trailseal.event_consumer.storms import Storm
from trailseal.event_consumer.tokens import Freshness
from trailseal.event_consumer.troubles import Troubles
from trailseal.model.outcomes import Head
from trailseal.ports.cache import QueryCache
from trailseal.ports.clock import Clock
from trailseal.ports.erasure import Erasable
from trailseal.ports.index import EventIndex
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import Assigned, Delivery, EventLog, Lost, Records, Revoked, Subscription
from trailseal.telemetry import logger, place_of

_POLL_S = 0.5
_IDLE_S = 0.05
"""A log that was listened to and delivered nothing for so long is quiet; longer than the embedded log's rest
between deliveries."""
_ROOM_S = 0.5


@dataclass(slots=True, eq=False)
class _Opening:
    """Partitions that are ours but not read yet."""

    partitions: list[int]
    call: Future[list[Head]] | None = None
    not_before: float = 0.0
    failures: int = 0


class Consumer:
    """The pipeline on a log: one thread calls `run`, any thread may call `stop`.

    Attributes:
        state: what it is doing, for other threads.
        fault: why it stopped by itself, or None.
        turned_at: monotonic seconds of the poll loop's last turn.
    """

    def __init__(
        self,
        log: EventLog,
        index: EventIndex,
        ledger: Ledger,
        cache: QueryCache,
        clock: Clock,
        *,
        notary: Notary | None = None,
        dead_letter_log: EventLog | None = None,
        erasable: Erasable | None = None,
        state: PipelineState | None = None,
        options: ConsumerOptions | None = None,
    ) -> None:
        self._log, self._cache, self._clock = log, cache, clock
        self.state = state or PipelineState()
        self.fault: TrailsealError | None = None
        self.turned_at = clock.monotonic()
        self._options = options or ConsumerOptions()
        self._notary = notary
        seals = None if notary is None else notary.seals
        mirror = None if dead_letter_log is None else DeadLetterMirror(dead_letter_log)
        forgetful = not self._options.rebuilds
        self._sinks = Sinks(index, ledger, Freshness(cache), seals, mirror, erasable, forgetful)
        self._troubles = Troubles(self.state)
        self._storm = Storm()
        self._stopping = threading.Event()
        self._openings: list[_Opening] = []
        self._paused = False
        self._heard_at = 0.0
        self._gauges = PartitionGauges(log, clock)
        self._dead_letters = 0
        self._workers: ThreadPoolExecutor
        self._subscription: Subscription
        self._pipeline: Pipeline

    def stop(self) -> None:
        """Finish what was taken in, then let `run` return. Any thread; twice is harmless."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Follow the log until `stop`, or until our own fault: then `fault` and the state say what to do.

        A fault is not raised, because nothing of the events is lost and whoever runs this in a thread has to read
        the state anyway.
        """
        threads = self._options.in_flight + (1 if self._options.in_flight > 1 else 0)
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="pipeline")
        try:
            if self._connect():
                self._follow()
        except TrailsealError as fault:
            self._stopped_by(fault)
        except Exception as error:  # noqa: BLE001 - a fault of ours stops the pipeline, and nothing else
            logger("event_consumer").error("pipeline_broke", error=type(error).__name__, where=place_of(error))
            self._stopped_by(
                PipelineFault(f"The pipeline broke ({type(error).__name__}); the log says where. Report it.")
            )
        finally:
            self._close()

    def _stopped_by(self, fault: TrailsealError) -> None:
        self.fault = fault
        logger("event_consumer").error("pipeline_stopped", why=str(fault))

    def _connect(self) -> bool:
        """Subscribe; False when stopped before that worked."""
        failures = 0
        self.state.update(phase="waiting", detail=None, progress_at=self._clock.monotonic())
        while not self._stopping.is_set():
            self.turned_at = self._clock.monotonic()
            try:
                origin = self._log.origin
                self._subscription = self._log.subscribe(self._options.group)
            except Unavailable as error:
                self._troubles.begin("log", str(error))
                self._stopping.wait(full_jitter(failures, self._options.retry_first_s, self._options.retry_most_s))
                failures += 1
                continue
            self._troubles.over("log")
            self._pipeline = Pipeline(
                self._sinks,
                self._clock,
                self._options,
                origin=origin,
                workers=self._workers,
                wake=self._wake,
                troubles=self._troubles,
            )
            return True
        return False

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._turn()
        self._pipeline.drain(self._clock.monotonic() + self._options.drain_s)
        self._after_pump(self._clock.monotonic())
        if self._notary is not None:
            self._notary.finish(self._pipeline.heads())

    def _turn(self) -> None:
        now = self.turned_at = self._clock.monotonic()
        self._go_on_opening(now)
        quiet = not self._paused and now - self._heard_at >= _IDLE_S
        self._pipeline.pump(now, quiet=quiet)
        self._after_pump(now)
        self._throttle()
        delivery = self._poll(self._patience(now))
        if delivery is not None:
            self._deliver(delivery)

    def _patience(self, now: float) -> float:
        """How long the next poll may wait: until something is due, or shortly where a quiet log means a flush."""
        waiting = [opening.not_before - now for opening in self._openings if opening.call is None]
        most_s = _POLL_S if self._pipeline.idle or self._paused else _IDLE_S
        return max(0.0, min(*waiting, _POLL_S, self._pipeline.wait_s(now, most_s)))

    def _poll(self, wait_s: float) -> Delivery | None:
        try:
            delivery = self._subscription.poll(self._options.poll_records, wait_s)
        except Unavailable as error:
            self._troubles.begin("log", str(error))
            self._stopping.wait(min(1.0, error.retry_after_s))
            return None
        self._troubles.over("log")
        return delivery

    def _deliver(self, delivery: Delivery) -> None:
        now = self._clock.monotonic()
        match delivery:
            case Records(items):
                self._pipeline.take(items, now)
                self._heard_at = self._clock.monotonic()
            case Assigned(partitions):
                if self._paused:
                    self._subscription.pause(partitions)
                self._openings.append(_Opening(list(partitions)))
                logger("event_consumer").info("assigned", partitions=partitions)
            case Revoked(partitions):
                logger("event_consumer").info("revoked", partitions=partitions)
                self._pipeline.drain(now + self._options.drain_s)
                self._after_pump(now)
                self._forget(partitions)
            case Lost(partitions):
                logger("event_consumer").warning("lost", partitions=partitions)
                self._forget(partitions)
                self._sinks.freshness.renew_everything()

    def _forget(self, partitions: tuple[int, ...]) -> None:
        self._pipeline.drop(partitions)
        self._gauges.forget(partitions)
        if self._notary is not None:
            self._notary.forget(partitions)
        for opening in self._openings:
            opening.partitions = [number for number in opening.partitions if number not in partitions]
        if not self._pipeline.partitions and not any(opening.partitions for opening in self._openings):
            self._cache.writer_here(present=False)
            self.state.update(phase="waiting", detail=None)

    def _go_on_opening(self, now: float) -> None:
        for opening in list(self._openings):
            if not opening.partitions:
                if opening.call is None or opening.call.done():
                    self._openings.remove(opening)
            elif opening.call is None:
                if now >= opening.not_before:
                    self._begin_opening(opening)
            elif opening.call.done():
                self._end_opening(opening, opening.call, now)

    def _begin_opening(self, opening: _Opening) -> None:
        wanted = tuple(opening.partitions)

        def cancelled() -> bool:
            return self._stopping.is_set() or not set(wanted) <= set(opening.partitions)

        rebuild = Rebuild(self._log, self._sinks, self.state, cancelled) if self._options.rebuilds else None
        opening.call = self._workers.submit(open_partitions, self._log, self._sinks, wanted, rebuild)
        opening.call.add_done_callback(lambda _: self._wake())

    def _end_opening(self, opening: _Opening, call: Future[list[Head]], now: float) -> None:
        opening.call = None
        try:
            for head in call.result():
                if head.partition in opening.partitions:
                    self._subscription.seek(head.partition, head.next)
                    self._pipeline.open(head)
        except Unavailable as error:
            if not self._stopping.is_set():
                self._troubles.begin("engines", str(error))
            delay = full_jitter(opening.failures, self._options.retry_first_s, self._options.retry_most_s)
            opening.not_before = now + delay
            opening.failures += 1
            return
        self._openings.remove(opening)
        if not self._paused:
            self._subscription.resume(opening.partitions)
        self._troubles.over("engines")
        self._cache.writer_here(present=True)
        self.state.update(phase="running", detail=None, progress_at=now)

    def _after_pump(self, now: float) -> None:
        """Commit what the heads passed, start fenced partitions anew, tell the state."""
        pipeline = self._pipeline
        if pipeline.fenced:
            fenced, pipeline.fenced = pipeline.fenced, []
            logger("event_consumer").warning("fenced", partitions=fenced)
            pipeline.drop(fenced)
            self._subscription.pause(fenced)
            self._openings.append(_Opening(fenced, not_before=now + self._options.retry_first_s))
        if pipeline.moved:
            moved, pipeline.moved = pipeline.moved, {}
            self._subscription.commit(moved)
            self.state.update(progress_at=now)
        elif pipeline.idle and not self._openings and pipeline.partitions:
            self.state.update(progress_at=now)
        self._tell_dead_letters(now)
        if self._notary is not None:
            self._notary.tick(now, pipeline.heads())
        self._gauges.tell(now, pipeline.heads(), pipeline.oldest_ms())

    def _tell_dead_letters(self, now: float) -> None:
        taken, self._pipeline.taken_in = self._pipeline.taken_in, 0
        fresh = self._pipeline.dead_letters - self._dead_letters
        self._dead_letters = self._pipeline.dead_letters
        degraded = self._storm.note(now, taken, fresh)
        if fresh or degraded != self.state.snapshot.degraded:
            if degraded is not None and self.state.snapshot.degraded is None:
                logger("event_consumer").error("dead_letter_storm", why=degraded)
            self.state.update(dead_letters=self._dead_letters, degraded=degraded)

    def _throttle(self) -> None:
        """Read no more than there is room for; only a longer wait pauses the source, since pausing has a price.

        A log that nobody listened to meanwhile is not called quiet for it.
        """
        pipeline = self._pipeline
        if not pipeline.has_room and not self._paused:
            pipeline.wait(_ROOM_S)
            self._heard_at = self._clock.monotonic()
            pipeline.pump(self._heard_at)
            if not pipeline.has_room:
                self._subscription.pause(pipeline.partitions)
                self._paused = True
        elif pipeline.has_room and self._paused:
            self._subscription.resume(pipeline.partitions)
            self._paused = False
            self._heard_at = self._clock.monotonic()

    def _wake(self) -> None:
        subscription: Subscription | None = getattr(self, "_subscription", None)
        if subscription is not None:
            subscription.wake()

    def _close(self) -> None:
        self._stopping.set()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._gauges.close()
        if self._notary is not None:
            self._notary.close()
        subscription: Subscription | None = getattr(self, "_subscription", None)
        if subscription is not None:
            subscription.close()
        self._cache.writer_here(present=False)
        fault = self.fault
        self.state.update(phase="stopped", detail=None if fault is None else str(fault))
