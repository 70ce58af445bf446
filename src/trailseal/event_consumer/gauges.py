"""What metrics say about our partitions: how far the heads are behind, and how long the log still has what waits.

Asked of the log in a thread of its own: a broker that does not answer must not hold the poll thread up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from prometheus_client import Gauge

from trailseal.errors import TrailsealError
from trailseal.model.outcomes import Head
from trailseal.ports.clock import Clock
from trailseal.ports.log import EventLog
from trailseal.telemetry import HEAD_AGE, PENDING, RETENTION_LEFT, logger

_EVERY_S: Final = 5.0
_OURS: Final = (PENDING, HEAD_AGE, RETENTION_LEFT)


class PartitionGauges:
    """The gauges of the partitions that are taken in here; another owner's process tells its own.

    Used by the poll thread.

    Args:
        log: asked for ends and retention.
        clock: for ages.
    """

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="gauges")
        self._asking: Future[None] | None = None
        self._due_at = 0.0
        self._gone: set[int] = set()

    def tell(self, now: float, heads: Mapping[int, Head], oldest_ms: Mapping[int, int]) -> None:
        """Bring them up to date if it is time; ``oldest_ms`` = append time of the oldest record past each head."""
        if now < self._due_at or (self._asking is not None and not self._asking.done()):
            return
        self._due_at = now + _EVERY_S
        for number in self._gone - set(heads):
            _remove(number)
        self._gone = set(heads)
        self._asking = self._worker.submit(self._ask, dict(heads), dict(oldest_ms))

    def forget(self, partitions: Iterable[int]) -> None:
        """These are told by another owner from now on."""
        for number in partitions:
            self._gone.add(number)
            _remove(number)

    def close(self) -> None:
        """Ask nothing more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _ask(self, heads: Mapping[int, Head], oldest_ms: Mapping[int, int]) -> None:
        try:
            self._tell_all(heads, oldest_ms)
        except TrailsealError as error:
            logger("event_consumer").debug("gauges_late", why=str(error))

    def _tell_all(self, heads: Mapping[int, Head], oldest_ms: Mapping[int, int]) -> None:
        now_s = self._clock.now_us() / 1e6
        for number in heads:
            stamp_ms = oldest_ms.get(number)
            HEAD_AGE.labels(str(number)).set(0.0 if stamp_ms is None else max(0.0, now_s - stamp_ms / 1e3))
        retention_s = self._log.retention_s()
        for number, head in heads.items():
            PENDING.labels(str(number)).set(self._log.bounds(number).next - head.next)
            if retention_s is not None:
                stamp_ms = oldest_ms.get(number)
                age_s = 0.0 if stamp_ms is None else now_s - stamp_ms / 1e3
                RETENTION_LEFT.labels(str(number)).set(retention_s - age_s)


def _remove(number: int) -> None:
    for gauge in _OURS:
        _forget(gauge, str(number))


def _forget(gauge: Gauge, label: str) -> None:
    with suppress(KeyError):
        gauge.remove(label)
