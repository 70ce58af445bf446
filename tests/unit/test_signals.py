"""Answering signals whatever the main thread does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from trailseal.cli.signals import answer_in_a_thread


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

    before = signal.getsignal(signal.SIGUSR1)
    answer_in_a_thread(stop, (signal.SIGUSR1,))
    yield done
    signal.signal(signal.SIGUSR1, before)
    signal.set_wakeup_fd(-1)


def test_a_signal_in_the_middle_of_a_lock_is_answered_once_the_lock_is_free(
    lock: threading.Lock, stopped: threading.Event
) -> None:
    with lock:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not stopped.is_set()
    assert stopped.wait(30)


def test_a_signal_is_answered_though_another_thread_gets_it_and_the_main_thread_waits(
    stopped: threading.Event,
) -> None:
    """Python's own handlers wait for the main thread here, which waits for them."""
    begun = threading.Event()

    def get_it() -> None:
        begun.wait(30)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    threading.Thread(target=get_it).start()
    begun.set()
    assert stopped.wait(30)


def test_signals_that_come_again_and_others_change_nothing(stopped: threading.Event) -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    signal.raise_signal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, before)
    assert not stopped.is_set()
    for _ in range(70_000):  # more than a pipe holds
        signal.raise_signal(signal.SIGUSR1)
    assert stopped.wait(30)
