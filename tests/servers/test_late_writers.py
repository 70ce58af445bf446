"""Consumers whose calls come back late: after another one took over, or after the session would have ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import PATIENCE_S, SESSION_TIMEOUT_S, Deployment, deployment
from servers.fault_proxy import FaultProxy, Held, fault_proxy
from servers.load import record
from servers.waiting import eventually
from trailseal.adapters.clock import SystemClock
from trailseal.model.record import NewRecord

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=1) as made:
        yield made


def test_a_zombie_that_indexed_and_then_lost_the_compare_and_set_changes_nothing(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    zombie = cluster.consume(ledger=f"{proxy.url}?prefix={cluster.topic}-")
    cluster.append([record("before")])
    cluster.wait_until_taken_in()
    advance = Held()
    proxy.script("/_doc/head.1.0?", advance)
    events = [record(f"e{number}") for number in range(200)]
    cluster.append([*events, events[0], NewRecord(b"no event"), record("e1", action="something.else")])
    assert advance.arrived.wait(PATIENCE_S), zombie.said()
    zombie.signal(signal.SIGSTOP)
    stored = {"before": 1} | {f"e{number}": 1 for number in range(200)} | {"e1": 2}
    assert cluster.pending() == 203
    assert len(cluster.indexed()) > 1  # all of it, or as much as the zombie's first batch held

    heir = cluster.consume()
    cluster.wait_until_taken_in()
    cluster.append([record("after")])
    cluster.wait_until_taken_in()
    advance.let_go()
    eventually(lambda: advance.status != 0)
    zombie.signal(signal.SIGCONT)
    assert heir.stop() == 0
    cluster.append([record("last")])
    cluster.wait_until_taken_in()

    assert advance.status == 409
    assert zombie.alive
    assert cluster.indexed() == stored | {"after": 1, "last": 1}
    (books,) = cluster.check_books().books
    assert (books.taken_in, books.indexed, books.duplicates, books.dead_letters, books.id_collisions) == (
        206,
        204,
        1,
        1,
        1,
    )
    verified = cluster.run("verify")
    assert verified.returncode in {0, 2}, verified.stdout + verified.stderr  # 2: not signed to the very end yet
    assert zombie.stop() == 0


def test_a_bulk_that_takes_longer_than_the_session_costs_no_partition(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    slow = Held()
    consumer = cluster.consume(index=f"{proxy.url}?prefix={cluster.topic}-")
    cluster.append([record("before")])
    cluster.wait_until_taken_in()
    proxy.script("/_bulk?require_alias=true", slow)
    cluster.append([record(f"e{number}") for number in range(100)])
    assert slow.arrived.wait(PATIENCE_S), consumer.said()
    SystemClock().wait(SESSION_TIMEOUT_S * 1.3)
    assert consumer.get("/healthz")[0] == 200
    slow.let_go()
    cluster.wait_until_taken_in()

    assert cluster.indexed() == {"before": 1} | {f"e{number}": 1 for number in range(100)}
    assert [name for name in ("revoked", "lost") if f"event={name}" in consumer.said()] == []
    assert consumer.said().count("assigned") == 1
    cluster.check_books()
