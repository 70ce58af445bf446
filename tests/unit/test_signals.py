"""Answering signals without taking a lock in the handler."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from trailseal.cli.signals import answered_in_a_thread


@pytest.fixture
def lock() -> threading.Lock:
    return threading.Lock()


@pytest.fixture
def stopped(lock: threading.Lock) -> Iterator[threading.Event]:
    """Set when the answer to SIGUSR1, which needs the lock, is through."""
    done = threading.Event()

    def stop() -> None:
        with lock:
            done.set()

    before = signal.signal(signal.SIGUSR1, answered_in_a_thread(stop))
    yield done
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_in_the_middle_of_a_lock_is_answered_once_the_lock_is_free(
    lock: threading.Lock, stopped: threading.Event
) -> None:
    with lock:
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.sigpending()  # a call in which the handler has run at the latest
        assert not stopped.is_set()
    assert stopped.wait(30)


def test_signals_that_come_again_change_nothing(stopped: threading.Event) -> None:
    for _ in range(70_000):  # more than a pipe holds
        signal.raise_signal(signal.SIGUSR1)
    assert stopped.wait(30)
