"""Answers through `serve` with two workers and Redis: how often Elasticsearch is asked, and what may be hidden."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from redis import Redis

from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment
from servers.fault_proxy import FaultProxy, Held, fault_proxy
from servers.load import record
from servers.test_serve import ask, workers_of
from servers.waiting import eventually
from trailseal.query.flights import JOINABLE_S

WORKERS = 2
CLIENTS = 500
PAST = "/events/count?time_from=2026-03-01&time_to=2026-04-01"
"""A window that is over: its answer may be kept for minutes."""


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=1) as made:
        yield made


def _stampede(served: Process, path: str, key: str) -> tuple[list[bytes], float]:
    """What that many clients are told who ask at once, and how long the last one waited, in seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), PATIENCE_S))
            for _ in range(CLIENTS)
        ]
        began = time.monotonic()
        for client in clients:
            client.sendall(request.encode())
        answers = [b"".join(iter(lambda client=client: client.recv(65_536), b"")) for client in clients]  # type: ignore[misc] # bound now
        return answers, time.monotonic() - began


def test_a_lease_whose_holder_was_killed_keeps_nobody_from_a_fresh_answer(
    cluster: Deployment, proxy: FaultProxy, redis_url: str
) -> None:
    consumer = cluster.consume()
    cluster.append([record(f"e{number}") for number in range(20)])
    cluster.wait_until_taken_in()
    key = cluster.admin_key
    plain = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    held_up = cluster.start(
        str(COMMAND), "serve", wait=True, workers="1", index=f"{proxy.url}?prefix={cluster.topic}-"
    )
    eventually(lambda: ask(plain, "GET", PAST, key) == (200, {"count": 20, "exact": True}), PATIENCE_S)
    cluster.append([record("late")])
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0  # from now on nobody renews a token, which would end the lease
    cluster.engines.index.refresh()

    held = Held()
    proxy.script("/_search", held)
    with closing(Redis.from_url(redis_url)) as redis, ThreadPoolExecutor(8) as pool:
        asking = pool.submit(ask, held_up, "GET", PAST, key)
        assert held.arrived.wait(PATIENCE_S)
        (lease,) = redis.scan_iter(match=f"{cluster.topic}*lease:*")
        (worker,) = workers_of(held_up)
        os.kill(worker, signal.SIGKILL)
        held_up.kill()
        assert redis.persist(lease)  # whoever waits for its end now waits for ever
        left = redis.get(lease)

        others = [pool.submit(ask, plain, "GET", PAST, key) for _ in range(6)]
        assert [one.result(PATIENCE_S) for one in others] == [(200, {"count": 21, "exact": True})] * 6
        assert redis.get(lease) == left
        assert isinstance(asking.exception(PATIENCE_S), OSError | http.client.HTTPException)
        held.let_go()


def test_many_who_ask_at_once_cost_one_search_and_a_late_event_is_not_hidden_by_its_answer(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    consumer = cluster.consume()
    cluster.append([record(f"e{number}") for number in range(20)])
    cluster.wait_until_taken_in()
    key = cluster.admin_key
    served = cluster.start(
        str(COMMAND), "serve", wait=True, workers=str(WORKERS), index=f"{proxy.url}?prefix={cluster.topic}-"
    )
    eventually(lambda: ask(served, "GET", "/events/count", key)[1].get("count") == 20, PATIENCE_S)

    proxy.seen.clear()
    answers, took_s = _stampede(served, PAST, key)
    assert {(answer[:15], json.loads(answer.partition(b"\r\n\r\n")[2])["count"]) for answer in answers} == {
        (b"HTTP/1.1 200 OK", 20)
    }
    searches = sum("_search" in seen for seen in proxy.seen)
    assert 1 <= searches <= WORKERS * (1 + took_s / JOINABLE_S)  # a search is joined for so long

    cluster.append([record("late")])
    cluster.wait_until_taken_in()
    eventually(lambda: ask(served, "GET", PAST, key)[1].get("count") == 21, PATIENCE_S)
    assert cluster.indexed()["late"] == 1
    cluster.check_books()
    assert consumer.stop() == served.stop() == 0
