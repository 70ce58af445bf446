"""One computes, others wait: equal questions of one moment share one search."""

from __future__ import annotations

import threading
from collections.abc import Callable

JOINABLE_S = 1.0
"""A search older than this is not joined: who asks now would get an answer from too far back."""
_PATIENCE_S = 10.0


class _Flight:
    __slots__ = ("answer", "error", "landed", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.landed = threading.Event()
        self.answer: bytes | None = None
        self.error: BaseException | None = None


class SingleFlight:
    """Computations under way in this process, by key."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._under_way: dict[str, _Flight] = {}

    def run(self, key: str, compute: Callable[[], bytes]) -> bytes:
        """The result of ``compute``, or that of an equal computation that began less than `JOINABLE_S` ago.

        Raises:
            BaseException: whatever ``compute`` raised, in the thread that ran it and in those that waited.
        """
        now = self._monotonic()
        with self._lock:
            flight = self._under_way.get(key)
            leads = flight is None or now - flight.started >= JOINABLE_S
            if flight is None or leads:
                flight = self._under_way[key] = _Flight(now)
        return self._lead(key, flight, compute) if leads else self._follow(flight, compute)

    def _lead(self, key: str, flight: _Flight, compute: Callable[[], bytes]) -> bytes:
        try:
            flight.answer = compute()
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                if self._under_way.get(key) is flight:
                    del self._under_way[key]
            flight.landed.set()
        return flight.answer

    @staticmethod
    def _follow(flight: _Flight, compute: Callable[[], bytes]) -> bytes:
        flight.landed.wait(_PATIENCE_S)
        if flight.error is not None:
            raise flight.error
        return compute() if flight.answer is None else flight.answer
