"""Time, as a port, so that tests own it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time for data, monotonic time for durations."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def wait(self, seconds: float) -> None:
        """Return after that time, or earlier once `interrupt` was called."""

    def interrupt(self) -> None:
        """End every `wait`, now and from now on, from any thread."""
