"""`trailseal erase --leftovers` on the real servers, while Kafka holds the records and after it forgot them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow import erasure_child
from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_attacks import ClusterAttacker
from servers.test_erasure import CANARY, SUBJECT, everything, forgotten, mine, ordered, record, verified
from servers.waiting import eventually
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.record import Position

pytestmark = pytest.mark.timeout(900)

WORDS = ("erase", "--leftovers", "--reason", "ticket 9", "--requested-by", "me")
REMOVED = 12
"""Records of the subject and of January, before anything came again."""
EXPIRE = ("expire", "--before", "2026-02", "--reason", "policy", "--requested-by", "me")


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=2) as made:
        yield made


def removed_once(cluster: Deployment) -> Process:
    """A subject was erased and January dropped, in both partitions; the consumer, which still runs."""
    consumer = cluster.consume()
    cluster.append([record(f"e{number}", month=f"2026-0{1 + number % 3}") for number in range(30)])
    cluster.append([mine("m1"), mine("m2", month="2026-04")])
    cluster.wait_until_taken_in()
    for words in (SUBJECT, EXPIRE):
        done = cluster.run(*words, "--yes")
        assert done.returncode == 0, done.stderr
    return consumer


def again_and_late(cluster: Deployment, number: int = 0) -> list[Position]:
    """Three retries, one of them in whichever partition, and two late events; and an event that is neither."""
    elsewhere = msgspec.structs.replace(mine("m1"), key=b"%d" % number)
    late = [record(f"late{number}-{one}", month="2026-01") for one in range(2)]
    made = cluster.append([mine("m1"), mine("m2", month="2026-04"), elsewhere, *late])
    cluster.append([record(f"good{number}")])
    cluster.wait_until_taken_in()
    return made


def unnamed(cluster: Deployment) -> set[Position]:
    """What a row says came late or again, and no order names."""
    ledger = cluster.engines.ledger
    rows = (row for head in ledger.heads(1) for row in ledger.outcomes(1, head.partition))
    return {row.position for row in rows if row.came_late or row.came_again}


def counted(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: sum(row[name] for row in found) for name in ("retries", "late", "forgotten", "contradicted")}


def forged(cluster: Deployment, event_id: str) -> OutcomeRow:
    """A row that says of a good event that it came late."""
    ledger, index = cluster.engines.ledger, cluster.engines.index
    index.refresh()
    (order,) = {row.of for head in ledger.heads(1) for row in ledger.outcomes(1, head.partition) if row.came_late}
    for head in ledger.heads(1):
        for kept in index.records(1, head.partition, 0, head.next):
            if json.loads(kept.value or b"{}").get("id") == event_id:
                return OutcomeRow(kept.position, "expired", of=order, tenant_id="acme", event_id=event_id)
    raise AssertionError(event_id)


def removed(logs: list[dict[str, Any]]) -> int:
    return sum(log["removed"] for log in logs)


def test_what_came_late_or_again_is_named_while_kafka_holds_it_and_verified_when_it_does_not(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    removed_once(cluster)
    came = again_and_late(cluster)
    assert unnamed(cluster) == set(came)
    told = cluster.run(*WORDS, "--form", "ndjson")
    assert told.returncode == 0, told.stderr
    assert counted(told) == {"retries": 3, "late": 2, "forgotten": 0, "contradicted": 0}
    assert unnamed(cluster) == set(came), "a look changes nothing"
    attacker = ClusterAttacker(cluster, raw)
    lie = forged(cluster, "good0")
    attacker.add_row(lie)
    done = cluster.run(*WORDS, "--form", "ndjson", "--yes")
    assert done.returncode == 0, done.stderr
    assert counted(done) == {"retries": 3, "late": 2, "forgotten": 0, "contradicted": 1}
    assert f"Not ordered: {lie.position}, it counts as late for 2026.01, and its event is of 2026.03" in done.stderr
    assert unnamed(cluster) == {lie.position}
    attacker.put_back()
    cluster.check_books()
    verified(cluster)
    again = cluster.run(*WORDS, "--form", "ndjson", "--yes")
    assert again.returncode == 1
    assert counted(again) == dict.fromkeys(("retries", "late", "forgotten", "contradicted"), 0)
    forgotten(cluster)
    logs = verified(cluster)
    assert removed(logs) == REMOVED + len(came)
    assert sum(log["unprovable"] for log in logs) == 0
    last = cluster.run(*WORDS, "--form", "ndjson")
    assert (last.returncode, counted(last)["forgotten"]) == (1, 0)
    again_and_late(cluster, 1)
    assert len(unnamed(cluster)) == 5
    cluster.check_books()


def test_what_kafka_has_forgotten_is_told_and_not_ordered_whatever_elasticsearch_has_of_it(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    removed_once(cluster)
    came = again_and_late(cluster)
    forgotten(cluster)
    attacker = ClusterAttacker(cluster, raw)
    attacker.add_row(forged(cluster, "good0"))
    told = cluster.run(*WORDS, "--form", "ndjson", "--yes")
    assert told.returncode == 1
    assert counted(told) == {"retries": 0, "late": 0, "forgotten": len(came) + 1, "contradicted": 0}
    assert "nobody can tell any more" in told.stderr
    attacker.put_back()
    assert unnamed(cluster) == set(came)


def test_an_erasure_and_an_expiry_reach_what_came_late_or_again_while_kafka_holds_it(cluster: Deployment) -> None:
    removed_once(cluster)
    late = mine("late", month="2026-01")
    cluster.append([mine("m1"), mine("m2", month="2026-04"), late, record("late", month="2026-01")])
    cluster.wait_until_taken_in()
    told = cluster.run(*SUBJECT, "--form", "ndjson", "--yes")
    assert told.returncode == 0, told.stderr
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert {name: sum(row[name] for row in found) for name in ("events", "retries", "late")} == {
        "events": 0,
        "retries": 2,
        "late": 1,
    }
    assert cluster.run(*SUBJECT).returncode == 1
    told = cluster.run(*EXPIRE, "--form", "ndjson", "--yes")
    assert told.returncode == 0, told.stderr
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(row["events"], row["late"]) for row in found] == [(0, 1)]
    assert cluster.run(*EXPIRE).returncode == 1
    assert unnamed(cluster) == set()
    cluster.check_books()
    verified(cluster)
    forgotten(cluster)
    verified(cluster)


@pytest.fixture
def one_partition(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path
) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=1) as made:
        yield made


def test_an_order_of_leftovers_killed_between_any_two_steps_ends_the_same(
    one_partition: Deployment, raw: RawElasticsearch
) -> None:
    """Kafka blanks nothing, so there are four steps; each consumer dies after one, the next goes on."""
    cluster = one_partition
    consumer = removed_once(cluster)
    for number, step in enumerate(("remove", "index_erase", "discard", "clear")):
        came = again_and_late(cluster, number)
        assert consumer.stop() == 0, consumer.said()
        running = cluster.start(str(COMMAND), *WORDS, "--yes")
        eventually(lambda running=running: ordered(cluster, running), 60)  # type: ignore[misc] # bound now
        doomed = cluster.start(sys.executable, erasure_child.__file__, step, "1")
        assert doomed.exit_status(PATIENCE_S) == -signal.SIGKILL, doomed.said()
        consumer = cluster.consume()
        assert running.exit_status() == 0, running.said()
        assert unnamed(cluster) == set(), step
        ledger = cluster.engines.ledger
        rows = {row.position: row for row in ledger.outcomes(1, 0, kinds=("erased",))}
        assert len({rows[position].of for position in came}) == 1, step
        assert all(rows[position].tombstone is not None for position in came), step
        cluster.check_books()
    assert CANARY not in everything(cluster, raw)
    verified(cluster)
    forgotten(cluster)
    assert removed(verified(cluster)) == REMOVED + 4 * 5
