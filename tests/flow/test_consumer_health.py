"""The health port of a consumer: what it says while the poll loop turns, and once it does not turn any more."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.cli.server import listen
from trailseal.event_consumer.health import STUCK_S, HealthServer
from trailseal.event_consumer.runner import Consumer


@contextmanager
def answering(bench: Bench, consumer: Consumer) -> Iterator[int]:
    """Its port, until the block is left."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = HealthServer(listener, consumer, bench.clock)
    try:
        yield port
    finally:
        server.close()


def told(port: int, path: str) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_consumer_is_alive_and_ready_while_it_takes_events_in(bench: Bench) -> None:
    bench.log.append([record("a")])
    consumer = bench.consumer()
    with answering(bench, consumer) as port:
        assert told(port, "/readyz")[0] == 503
        with running(consumer):
            until(lambda: caught_up(bench.log, bench.ledger))
            until(lambda: told(port, "/readyz") == (200, {"status": "ready", "phase": "running"}))
            assert told(port, "/healthz") == (200, {"status": "alive"})
        assert told(port, "/readyz")[0] == 503


def test_a_poll_loop_that_hangs_is_not_alive(bench: Bench) -> None:
    consumer = bench.consumer()
    with answering(bench, consumer) as port:
        consumer.turned_at = bench.clock.monotonic() - STUCK_S / 2
        assert told(port, "/healthz")[0] == 200
        consumer.turned_at = bench.clock.monotonic() - STUCK_S - 1
        assert told(port, "/healthz") == (503, {"status": "stuck"})
