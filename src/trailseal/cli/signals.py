"""Signals answered by a thread: a handler itself may take no lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress


def answered_in_a_thread(stop: Callable[[], object]) -> Callable[..., None]:
    """A handler for signals that has ``stop`` called, once, by a thread of its own.

    A handler runs in the middle of whatever the main thread does, another signal's handler included, and would wait
    for ever for a lock that is held there: that of an event or of the start of a thread, for example. So it only
    writes to a pipe.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def wait() -> None:
        os.read(told, 1)
        stop()

    def tell_it(*_: object, **__: object) -> None:
        with suppress(BlockingIOError):
            os.write(tell, b"!")

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return tell_it
