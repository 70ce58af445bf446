"""Consumers whose requests meet everything that Elasticsearch and what stands before it may answer."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import Deployment, deployment
from servers.fault_proxy import (
    Fault,
    FaultProxy,
    Guard,
    altered,
    cut_off,
    cut_off_politely,
    fault_proxy,
    items_fail,
    larger_than,
    page,
    reset,
    silent,
    status,
)
from servers.load import record
from servers.waiting import eventually
from trailseal.model.record import NewRecord

pytestmark = pytest.mark.timeout(300)
STORM: list[Fault] = [
    items_fail(429, "es_rejected_execution_exception", 0, 7, 11),
    items_fail(503, "unavailable_shards_exception", 1, 2, 3),
    items_fail(500, "circuit_breaking_exception", *range(30)),
    items_fail(403, "cluster_block_exception", 5),
    status(429, "es_rejected_execution_exception"),
    status(503, "master_not_discovered_exception"),
    status(500, "illegal_state_exception"),
    status(403, "cluster_block_exception"),
    page(502, "<h1>Bad gateway</h1>"),
    page(200, "<h1>Welcome</h1>"),
    cut_off,
    cut_off_politely,
    reset,
    silent,
    altered(lambda tree: tree["items"].pop()),
    larger_than(9_000),
    larger_than(9_000),
]
LEDGER_STORM: dict[str, list[Fault]] = {
    "/_bulk": [
        items_fail(429, "es_rejected_execution_exception", 0),
        status(503, "unavailable_shards_exception"),
        reset,
        status(403, "cluster_block_exception"),
        cut_off,
    ],
    "/_doc/head.": [
        status(429, "es_rejected_execution_exception"),
        cut_off,
        page(502, "<h1>Bad gateway</h1>"),
        silent,
        status(403, "cluster_block_exception"),
        reset,
    ],
}
"""Of both: what reaches nothing, and what is done though nobody hears of it."""


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(elasticsearch_url) as running:
        yield running


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, bulk_records="40") as made:
        yield made


def _counter(text: str, name: str, *labels: str) -> float:
    """The sum of a counter over its series that have these labels."""
    lines = [line for line in text.splitlines() if line.startswith(name) and all(label in line for label in labels)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_whatever_bulk_requests_are_answered_every_event_is_indexed_once_and_counted_once(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    rng = random.Random(20)
    faults = [*STORM, *rng.choices(STORM, k=8)]
    rng.shuffle(faults)
    proxy.script("/_bulk?require_alias=true", *faults)
    tenants = [f"t{number}" for number in range(5)]
    good = [record(f"e{number}", tenants[number % 5]) for number in range(1_500)]
    giant = record("giant", "t0", metadata={"much": "y" * 20_000})
    junk = [NewRecord(b"no event %d" % number, b"t1") for number in range(7)]
    records = [*good, *good[:40], *junk, giant]
    rng.shuffle(records)
    positions = cluster.append(records)

    consumer = cluster.consume(index=f"{proxy.url}?prefix={cluster.topic}-")
    eventually(lambda: not any(proxy.faults.values()), 120)
    cluster.wait_until_taken_in(150)

    assert consumer.alive, consumer.said()
    books = cluster.check_books().books
    refused = 1 - cluster.indexed().get("giant", 0)  # alone larger than what the storm lets through, or after it
    assert cluster.indexed() == {f"e{number}": 1 for number in range(1_500)} | ({} if refused else {"giant": 1})
    assert sum(one.duplicates for one in books) == 40
    assert sum(one.dead_letters for one in books) == 7 + refused
    values = {position: record.value for position, record in zip(positions, records, strict=True)}
    ledger = cluster.engines.ledger
    letters = [row for number in range(3) for row in ledger.outcomes(1, number, kinds=("dead_letter",))]
    kept = {letter.position: ledger.kept(letter.position) for letter in letters}
    assert {position: one.value if one else None for position, one in kept.items()} == {
        position: values[position] for position in kept
    }
    text = consumer.get("/metrics")[1]
    assert _counter(text, "trailseal_records_taken_in_total") == len(records)
    assert _counter(text, "trailseal_outcomes_total", 'kind="duplicate"') == 40
    assert _counter(text, "trailseal_dead_letters_total") == 7 + refused
    said = consumer.said()
    assert not [name for name in ("no event", "alice", "document.read") if name in said]
    kinds = Counter(letter.code for letter in letters)
    assert set(kinds) <= {"not-json", "malformed-json", "too-large"}, kinds


def test_whatever_the_ledger_is_answered_no_dead_letter_is_lost_and_no_head_passes_it(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    consumer = cluster.consume(ledger=f"{proxy.url}?prefix={cluster.topic}-")
    consumer.wait_for_phase("running")
    for part, faults in LEDGER_STORM.items():
        proxy.script(part, *faults)
    good = [record(f"e{number}", f"t{number % 5}") for number in range(400)]
    junk = [NewRecord(b"no event %d" % number, b"t%d" % (number % 5)) for number in range(40)]
    for at in range(0, 400, 50):
        cluster.append([*good[at : at + 50], *good[at : at + 5], *junk[at // 10 : at // 10 + 5]])
        cluster.wait_until_taken_in(150)

    assert not any(proxy.faults.values())
    assert consumer.alive, consumer.said()
    assert cluster.indexed() == {f"e{number}": 1 for number in range(400)}
    books = cluster.check_books().books
    assert sum(one.duplicates for one in books) == 40
    ledger = cluster.engines.ledger
    letters = [row for number in range(3) for row in ledger.outcomes(1, number, kinds=("dead_letter",))]
    kept = [ledger.kept(letter.position) for letter in letters]
    assert sorted(one.value or b"" for one in kept if one) == sorted(one.value or b"" for one in junk)


def test_a_wrong_password_is_waited_for_without_moving_on(cluster: Deployment, proxy: FaultProxy) -> None:
    proxy.script("/_bulk?require_alias=true", *[status(401, "security_exception")] * 3)
    cluster.append([record(f"e{number}") for number in range(100)])

    consumer = cluster.consume(index=f"{proxy.url}?prefix={cluster.topic}-")
    eventually(lambda: not any(proxy.faults.values()), 60)
    assert cluster.pending() == 100
    cluster.wait_until_taken_in()

    assert consumer.alive
    assert "refuses our credentials" in consumer.said()
    assert cluster.indexed() == {f"e{number}": 1 for number in range(100)}
    cluster.check_books()


def test_events_that_a_role_may_not_write_wait_for_it_and_none_becomes_a_dead_letter(
    cluster: Deployment, proxy: FaultProxy
) -> None:
    reason = (
        "action [indices:data/write/index] is unauthorized for user [u] with effective roles [r] on indices"
        " [audit-2026.03], this action is granted by the index privileges [create_doc,create,write,all]"
    )
    denied = items_fail(403, "security_exception", 0, reason=reason)
    proxy.script("/_bulk?require_alias=true", denied, status(403, "security_exception", reason), denied)
    cluster.append([record(f"e{number}") for number in range(100)])

    consumer = cluster.consume(index=f"{proxy.url}?prefix={cluster.topic}-")
    eventually(lambda: not any(proxy.faults.values()), 60)
    cluster.wait_until_taken_in()

    assert consumer.alive
    assert "privilege create_doc or create or write on audit-2026.03" in consumer.said()
    assert cluster.indexed() == {f"e{number}": 1 for number in range(100)}
    assert sum(one.dead_letters for one in cluster.check_books().books) == 0


def test_a_wrong_password_then_the_right_one_loses_nothing(cluster: Deployment, proxy: FaultProxy) -> None:
    guard = Guard("Basic " + base64.b64encode(b"trailseal:the right one").decode())
    proxy.script("/", *[guard] * 100_000)
    password = cluster.folder / "elasticsearch.password"
    password.write_text("canary-wrong")
    url = f"{proxy.url}?prefix={cluster.topic}-"
    secured = {
        "index": url,
        "ledger": url,
        "elasticsearch_username": "trailseal",
        "elasticsearch_password_file": str(password),
    }
    cluster.append([record(f"e{number}") for number in range(100)])

    refused = cluster.consume(**secured)
    eventually(lambda: guard.refused > 4 or not refused.alive, 60)
    assert refused.readiness()["status"] == "degraded"
    assert cluster.pending() == 100
    assert "refuses our credentials" in refused.said()
    assert "canary" not in refused.said()
    assert refused.stop() == 0
    password.write_text("the right one")
    cluster.consume(**secured)
    cluster.wait_until_taken_in()

    assert cluster.indexed() == {f"e{number}": 1 for number in range(100)}
    cluster.check_books()
