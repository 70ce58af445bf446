"""Worker processes of `serve`: a dead one is replaced, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow.running import until
from flow.test_http_up import ask, children_of, free_port, ready

pytestmark = pytest.mark.crash
SERVED = Path(__file__).with_name("served.py")


@contextmanager
def served(port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, str(SERVED), str(port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: ready(port) or process.poll() is not None, "readiness")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """The worker processes; the resource tracker of `multiprocessing` is a child too."""
    return [int(pid) for pid in children_of(process.pid) if is_worker(pid)]


def is_worker(pid: str) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(number: signal.Signals) -> None:
    port = free_port()
    with served(port) as process:
        until(lambda: len(workers(process)) == 2, "two workers")
        pids = workers(process)
        process.send_signal(number)
        until(lambda: not any(alive(pid) for pid in pids), "the end of the workers")


def test_a_dead_worker_is_replaced() -> None:
    port = free_port()
    with served(port) as process:
        until(lambda: len(workers(process)) == 2, "two workers")
        victim = workers(process)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(set(workers(process)) - {victim}) == 2, "another worker")
        until(lambda: ready(port))
        assert ask(port, "GET", "/readyz")[1]["pid"] != victim
