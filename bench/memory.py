"""Row: memory of the API and of a consumer while a million events pass through both, and questions are asked."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cluster_ingest import settings_of, taken_in
from bench.cluster_servers import COMMAND, corner, servers
from bench.load import Connection, get, post
from bench.row import Row
from bench.servers import free_port, started
from bench.workload import batched, events
from trailseal.bootstrap import Engines, open_engines

EVENTS = 1_000_000
BATCH = 1_000
CLIENTS = 2
_EVERY_S = 1.0
_AHEAD = 50_000
"""Records that may wait in Kafka: more would only show how far the one process is ahead of the other."""
_QUESTIONS = (
    "/events?limit=100",
    "/events?actor=user-7@example.com",
    "/events?action=invoice.*&limit=500",
    "/events?tenant_id=tenant-3&resource=document/doc-7&order=asc",
    "/events/count?outcome=success",
)


def measure(size: float) -> list[Row]:
    """The most that each held in the second half of the events, against the most in the first half."""
    count = int(EVENTS * size)
    with corner(servers()) as environment, ExitStack() as stack:
        engines = open_engines(settings_of(environment), "import")
        stack.callback(engines.close)
        ports = {"consume": free_port(), "serve": free_port()}
        pids = {
            name: stack.enter_context(
                started([COMMAND, name], port, "/healthz", environment | {"TRAILSEAL_PORT": str(port)})
            )
            for name, port in ports.items()
        }
        halves: list[dict[str, int]] = [dict.fromkeys(pids, 0) for _ in range(2)]
        flow = _Flow(ports["serve"], count, engines)
        with _beside(lambda: _ask(ports["serve"])), _beside(lambda: _sample(pids, halves[flow.half])):
            flow.run()
    return [
        Row(
            f"{name}, {count:,} events: most memory in the second half, against the first",
            f"{halves[1][name] >> 20} MB",
            f"{halves[0][name] >> 20} MB",
            halves[1][name] / halves[0][name],
            1.1,
            at_most=True,
        )
        for name in pids
    ]


class _Flow:
    """Posts the events, and lets the consumer keep up.

    Attributes:
        half: 0 while the first half of them is not taken in yet, then 1.
    """

    def __init__(self, port: int, count: int, engines: Engines) -> None:
        self._port, self._count, self._engines = port, count, engines
        self._bodies = batched(events(count), BATCH)
        self._lock = threading.Lock()
        self._sent = 0
        self.half = 0

    def run(self) -> None:
        """Until every event is taken in."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            calls = [clients.submit(self._post) for _ in range(CLIENTS)]
            while self._taken_in() < self._count and not any(call.done() and call.exception() for call in calls):
                time.sleep(_EVERY_S)
            for call in calls:
                call.result()

    def _taken_in(self) -> int:
        number = self._engines.ledger.log_number(self._engines.log.origin)
        found = 0 if number is None else taken_in(self._engines, number)
        self.half = int(2 * found >= self._count)
        return found

    def _post(self) -> None:
        connection = Connection(self._port)
        while body := self._next():
            connection.ask(post("/events", self._port, body, "application/x-ndjson"))
            while self._sent - self._taken_in() > _AHEAD:
                time.sleep(_EVERY_S / 5)

    def _next(self) -> bytes | None:
        with self._lock:
            self._sent += BATCH
            return next(self._bodies, None)


@contextmanager
def _beside(action: Callable[[], None]) -> Iterator[None]:
    """Do it again and again, in a thread of its own, until the block is left."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(_EVERY_S / len(_QUESTIONS)):
            action()

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(run)
        try:
            yield
        finally:
            over.set()
            call.result()


def _ask(port: int) -> None:
    connection = Connection(port)
    for path in _QUESTIONS:
        connection.ask(get(path, port))


def _sample(pids: dict[str, int], most: dict[str, int]) -> None:
    for name, pid in pids.items():
        most[name] = max(most[name], _resident(pid))


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return (int(found[1]) << 10 if found else 0) + sum(_resident(int(child)) for child in children)
