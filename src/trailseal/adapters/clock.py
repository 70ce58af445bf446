"""The system's clock."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """Wall time and monotonic time of this machine."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep, or return at once after `interrupt`."""
        self._interrupted.wait(seconds)

    def interrupt(self) -> None:
        """End every `wait`, now and from now on."""
        self._interrupted.set()
