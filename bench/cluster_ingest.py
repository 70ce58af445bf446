"""Rows: our way into Elasticsearch against ready-made `_bulk` bodies of the same events as plain documents.

Each side is measured twice over: events a second while it has the machine to itself, and the processor time of an
event, node and our process together. The second says more where others use the machine too.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, TypeVar

import msgspec

from bench.cluster_servers import COMMAND, Elasticsearch, Servers, corner, processor_s, servers
from bench.row import Row
from bench.workload import events
from trailseal.bootstrap import Engines, open_engines
from trailseal.formats import decode_record
from trailseal.model.projection import Entry, entry
from trailseal.model.record import HEADER_SALT, NewRecord, Position, Record
from trailseal.settings import Settings

T = TypeVar("T")
EVENTS = 100_000
ROUNDS = 3
BULK = 5_000
CONNECTIONS = 2
ASKED = 0.9
APPENDED_MS = 1_798_761_600_000
_KEYWORD = {"type": "keyword"}
PLAIN: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "id": _KEYWORD,
        "timestamp": {"type": "date"},
        "tenant_id": _KEYWORD,
        "actor": {"properties": {"id": _KEYWORD, "type": _KEYWORD}},
        "action": _KEYWORD,
        "resource": {"properties": {"type": _KEYWORD, "id": _KEYWORD}},
        "context": {"properties": {"source_ip": _KEYWORD}},
        "metadata": {"type": "flattened"},
    },
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side took.

    Attributes:
        per_second: events.
        node_us: processor time of Elasticsearch for one event.
        ours_us: processor time of the process that feeds it.
    """

    per_second: float
    node_us: float
    ours_us: float

    @property
    def us(self) -> float:
        """Both together."""
        return self.node_us + self.ours_us

    def __str__(self) -> str:
        """As shown in a row."""
        return f"{self.per_second:,.0f}/s ({self.node_us:.1f} + {self.ours_us:.1f} us)"


def measure_bulk(size: float) -> list[Row]:
    """Our index adapter alone: entries ready in memory, until Elasticsearch has acknowledged them."""
    running = servers()
    count = int(EVENTS * size)
    entries = list(_entries(count))
    bodies = ready_bodies(count)
    return _compare(
        f"index adapter, {count:,} entries",
        lambda: _put(running, entries),
        lambda: feed(running, PLAIN, bodies, count),
    )


def measure_ingest(size: float) -> list[Row]:
    """`trailseal consume`, seals and all, from Kafka until the heads stand at the end of the topic."""
    running = servers()
    count = int(EVENTS * size)
    bodies = ready_bodies(count)
    return _compare(
        f"Kafka to index, everything on, {count:,} events",
        lambda: consume(running, count),
        lambda: feed(running, PLAIN, bodies, count),
    )


def _compare(what: str, ours: Callable[[], Cost], theirs: Callable[[], Cost]) -> list[Row]:
    """Both in turn after one round that warms the node; the best rate and the least time of each."""
    ours()
    theirs()
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    mine, other = best([pair[0] for pair in pairs]), best([pair[1] for pair in pairs])
    return [
        Row(f"{what}: events a second", str(mine), str(other), mine.per_second / other.per_second, ASKED),
        Row(f"{what}: processor time", f"{mine.us:.1f} us", f"{other.us:.1f} us", other.us / mine.us, ASKED),
    ]


def best(costs: Sequence[Cost]) -> Cost:
    """The fastest round's rate, and the cheapest round's times."""
    cheapest = min(costs, key=lambda cost: cost.us)
    return Cost(max(cost.per_second for cost in costs), cheapest.node_us, cheapest.ours_us)


def ready_bodies(count: int) -> list[bytes]:
    """`_bulk` bodies of the events as they are, under the ids that we give them."""
    bodies = []
    lines = events(count)
    while part := list(islice(lines, BULK)):
        pairs = [(msgspec.json.decode(line, type=_Named), line) for line in part]
        bodies.append(b"".join(b'{"create":{"_id":"%b"}}\n%b\n' % (name.document_id, line) for name, line in pairs))
    return bodies


class _Named(msgspec.Struct):
    id: str
    tenant_id: str

    @property
    def document_id(self) -> bytes:
        return f"{self.tenant_id}/{self.id}".encode()


def feed(running: Servers, mapping: dict[str, Any], bodies: Sequence[bytes], count: int) -> Cost:
    """Send the bodies over two connections."""
    node = Elasticsearch(running.elasticsearch)
    name = f"bench{secrets.token_hex(4)}"
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}
    node("PUT", f"/{name}", json.dumps({"settings": settings, "mappings": mapping}).encode())
    waiting = iter(bodies)
    lock = threading.Lock()

    def send() -> None:
        connection = Elasticsearch(running.elasticsearch)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            answer = connection("POST", f"/{name}/_bulk?filter_path=errors", body, "application/x-ndjson")
            assert answer == b'{"errors":false}', answer  # noqa: S101 - an error is no speed

    with timed(running, os.getpid(), count) as watch:
        threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    node("DELETE", f"/{name}")
    return watch.cost


class timed:  # noqa: N801 - reads as what it does
    """Time and processor time of a block."""

    def __init__(self, running: Servers, pid: int, count: int) -> None:
        self._running, self._pid, self._count = running, pid, count
        self.cost = Cost(0, 0, 0)

    def _state(self) -> tuple[float, float, float]:
        return time.perf_counter(), self._running.processor_s("Elasticsearch"), processor_s(self._pid)

    def __enter__(self) -> Self:
        self._before = self._state()
        return self

    def __exit__(self, *_: object) -> None:
        took, node, ours = (now - then for now, then in zip(self._state(), self._before, strict=True))
        self.cost = Cost(self._count / took, node / self._count * 1e6, ours / self._count * 1e6)


def _entries(count: int) -> Iterator[Entry]:
    for offset, value in enumerate(events(count)):
        record = Record(Position(1, 0, offset), APPENDED_MS, None, value, ())
        decoded = decode_record(record, "bench")
        yield entry(record, decoded.event, decoded.format, decoded.words)


def _put(running: Servers, entries: Sequence[Entry]) -> Cost:
    with corner(running) as environment:
        engines = open_engines(settings_of(environment), "import")
        try:
            engines.index.put(entries[:1])  # makes the month
            with timed(running, os.getpid(), len(entries)) as watch:
                engines.index.put(entries)
        finally:
            engines.close()
    return watch.cost


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment has."""
    return Settings(**{name.removeprefix("TRAILSEAL_").lower(): value for name, value in environment.items()})


def consume(running: Servers, count: int) -> Cost:
    """Fill a topic, then run one consumer over it.

    Its rate is taken from its first to its last advance, for joining the group takes a second; its processor time
    from its first answer on, for it decodes far ahead of the first advance.
    """
    with corner(running) as environment:
        engines = open_engines(settings_of(environment), "import")
        try:
            fill(engines.log.append, count)
            process = subprocess.Popen(
                [COMMAND, "consume"], env=os.environ | environment, stderr=subprocess.DEVNULL
            )
            try:
                until(lambda: _answers(int(environment["TRAILSEAL_PORT"])), process)
                with timed(running, process.pid, count) as whole:
                    number = until(lambda: engines.ledger.log_number(engines.log.origin), process)
                    first = until(lambda: taken_in(engines, number), process)
                    with timed(running, process.pid, count - first) as steady:
                        until(lambda: taken_in(engines, number) >= count, process)
            finally:
                process.terminate()
                process.wait(30)
        finally:
            engines.close()
    return Cost(steady.cost.per_second, whole.cost.node_us, whole.cost.ours_us)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def consumed(environment: dict[str, str], count: int) -> Iterator[tuple[Engines, int, subprocess.Popen[bytes]]]:
    """That many events, taken in: the engines, the log's number and the consumer, which runs until the end."""
    engines = open_engines(settings_of(environment), "import")
    try:
        fill(engines.log.append, count)
        process = subprocess.Popen([COMMAND, "consume"], env=os.environ | environment, stderr=subprocess.DEVNULL)
        try:
            number = until(lambda: engines.ledger.log_number(engines.log.origin), process)
            until(lambda: taken_in(engines, number) >= count, process)
            yield engines, number, process
        finally:
            process.terminate()
            process.wait(30)
    finally:
        engines.close()


def taken_in(engines: Engines, number: int | None) -> int:
    """How many records the heads of that log have passed."""
    return sum(head.taken_in for head in engines.ledger.heads(number or 1))


def fill(append: Callable[[list[NewRecord]], object], count: int) -> None:
    """Append that many events, each with a salt, keyed so that they spread over the partitions."""
    lines = events(count)
    while part := list(islice(lines, BULK)):
        append(
            [
                NewRecord(line, b"%d" % number, ((HEADER_SALT, secrets.token_bytes(32)),))
                for number, line in enumerate(part)
            ]
        )


def until(ask: Callable[[], T], process: subprocess.Popen[bytes]) -> T:
    """The first answer that is not empty or false, while the process lives."""
    while not (found := ask()):
        if process.poll() is not None:
            raise RuntimeError(f"the consumer ended with status {process.returncode}")
        time.sleep(0.05)
    return found
