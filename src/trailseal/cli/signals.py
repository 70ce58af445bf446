"""Signals answered by a thread: whatever the main thread does, and without a lock that it may hold."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def answer_in_a_thread(stop: Callable[[], object], numbers: tuple[int, ...] = STOPPING) -> None:
    """Have ``stop`` called, once, by a thread of its own when one of these signals has come. Main thread only.

    Python runs a handler in the main thread, between two of its steps: in the middle of another handler or with a
    lock in its hands, for which ``stop`` would wait for ever; or not at all, where the signal came just before that
    thread began to wait, or went to another one. What `signal.set_wakeup_fd` is for comes in every case.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(told, 1)[0] not in numbers:
            pass
        stop()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, ignore)


def ignore(*_: object, **__: object) -> None:
    """A handler that leaves everything to the thread."""
