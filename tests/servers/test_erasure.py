"""`trailseal erase` on the real servers: what is erased is gone, the rest is as it was, nothing comes back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from servers.deployment import COMMAND, Deployment, Process, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually
from trailseal.model.query import Query
from trailseal.model.record import HEADER_SALT, NewRecord

pytestmark = pytest.mark.timeout(600)

CANARY = "4711canary"
SUBJECT = ("erase", "--tenant", "acme", "--actor", f"{CANARY}@x", "--reason", "ticket 7", "--requested-by", "me")


def record(event_id: str, actor: str = "bob", action: str = "document.read", month: str = "2026-03") -> NewRecord:
    body = {
        "id": event_id,
        "timestamp": f"{month}-04T05:06:07.000001Z",
        "tenant_id": "acme",
        "actor": actor,
        "action": action,
        "metadata": {"note": actor},
    }
    return NewRecord(json.dumps(body).encode(), event_id.encode(), ((HEADER_SALT, secrets.token_bytes(32)),))


def mine(event_id: str, action: str = "document.read", month: str = "2026-03") -> NewRecord:
    return record(event_id, f"{CANARY}@x", action, month)


def filled(cluster: Deployment) -> None:
    """Forty events of others, and of the subject events, a duplicate, a collision and a dead letter."""
    cluster.append([record(f"e{number}") for number in range(40)])
    cluster.append([mine("m1"), mine("m2", month="2026-04"), mine("m3")])
    cluster.append([mine("m1"), mine("m3", "document.changed"), NewRecord(b'broken "%b@x"' % CANARY.encode())])
    cluster.wait_until_taken_in()


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path, partitions=2) as made:
        yield made


def everything(cluster: Deployment, raw: RawElasticsearch) -> str:
    """All that a search of all indices of the deployment gives."""
    raw("POST", f"/{cluster.topic}-*/_refresh")
    found = raw("POST", f"/{cluster.topic}-*/_search?expand_wildcards=all", {"size": 10_000})
    return json.dumps(found["hits"]["hits"])


def erased(cluster: Deployment) -> int:
    return sum(books.erased for books in cluster.check_books().books)


def verified(cluster: Deployment) -> list[dict[str, Any]]:
    done = cluster.run("verify", "--form", "ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def named_and_forgotten(cluster: Deployment) -> None:
    """What came late or again is named by an order, and then everything is `forgotten`."""
    done = cluster.run("erase", "--leftovers", "--reason", "policy", "--requested-by", "me", "--yes")
    assert done.returncode == 0, done.stderr
    forgotten(cluster)


def forgotten(cluster: Deployment) -> None:
    """Kafka's retention has passed for all that is in the topic."""
    for number in range(cluster.partitions):
        cut = TopicPartition(cluster.topic, number, cluster.engines.log.bounds(number).next)
        for result in cluster.admin.delete_records([cut]).values():
            result.result(30)


def ordered(cluster: Deployment, running: Process) -> bool:
    """Whether the order is in the log already."""
    return cluster.pending() > 0 or not running.alive


def test_what_kafka_has_forgotten_is_erased_by_what_is_kept_of_it(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    """A duplicate is held against its leaf by its frame and its original's value, a dead letter by its copy."""
    cluster.consume()
    filled(cluster)
    forgotten(cluster)
    done = cluster.run(*SUBJECT, "--form", "ndjson", "--yes")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sum(row[name] for row in rows) for name in ("events", "duplicates", "dead_letters")] == [4, 1, 1]
    assert erased(cluster) == 6
    assert CANARY not in everything(cluster, raw)
    assert sum(log["removed"] for log in verified(cluster)) == 6


def test_what_is_erased_is_gone_and_does_not_come_back(cluster: Deployment, raw: RawElasticsearch) -> None:
    """Dry run, erasure with killed consumers, retries, a re-projection, a lost month put back from Kafka."""
    consumer = cluster.consume()
    filled(cluster)
    checkpoints = {head.partition: head.seal for head in cluster.engines.ledger.heads(1)}
    assert CANARY in everything(cluster, raw)
    told = cluster.run(*SUBJECT, "--form", "ndjson")
    assert told.returncode == 0, told.stderr
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    sums = {name: sum(row[name] for row in rows) for name in ("events", "duplicates", "dead_letters", "retries")}
    assert sums == {"events": 4, "duplicates": 1, "dead_letters": 1, "retries": 0}
    assert "Kafka's retention" in told.stderr

    consumer.kill()
    running = cluster.start(str(COMMAND), *SUBJECT, "--approved-by", "counsel", "--yes")
    eventually(lambda: ordered(cluster, running), 60)
    for _ in range(2):  # killed while it opens or carries the order out, at whatever step that is
        doomed = cluster.consume(wait=False)
        eventually(lambda doomed=doomed: "assigned" in doomed.said(), 60)  # type: ignore[misc] # bound now
        doomed.kill()
    cluster.consume()
    assert running.exit_status() == 0, running.said()
    cluster.wait_until_taken_in()
    assert erased(cluster) == 6
    assert CANARY not in everything(cluster, raw)
    assert cluster.indexed().keys() >= {f"e{number}" for number in range(40)}
    heads = {head.partition: head.seal for head in cluster.engines.ledger.heads(1)}
    assert any(heads[number] != seal for number, seal in checkpoints.items())
    (said, *_) = cluster.engines.index.search(Query(tenants=("_trailseal",)), None, 10)
    assert b"counsel" in (said.record.value or b"")

    cluster.append([mine("m1"), mine("m2", month="2026-04"), mine("m3", "document.changed"), record("late")])
    cluster.wait_until_taken_in()
    assert erased(cluster) == 9
    done = cluster.run("reproject", "--month", "2026-03")
    assert done.returncode == 0, done.stderr
    assert erased(cluster) == 9
    raw("DELETE", f"/{cluster.topic}-audit-2026.04-v1-000001")
    done = cluster.run("rebuild")
    assert done.returncode == 0, done.stderr
    assert erased(cluster) == 9
    assert CANARY not in everything(cluster, raw)
    verified(cluster)

    named_and_forgotten(cluster)
    assert sum(log["removed"] for log in verified(cluster) if "removed" in log) == 9
    again = cluster.run(*SUBJECT)
    assert again.returncode == 1, again.stdout
    assert "Nothing was found" in again.stderr


def test_a_topic_without_retention_is_refused(cluster: Deployment) -> None:
    forever = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, cluster.topic, incremental_configs=[forever])
    for done in cluster.admin.incremental_alter_configs([resource]).values():
        done.result(30)
    refused = cluster.run(*SUBJECT, "--yes")
    assert refused.returncode == 2
    assert "for ever" in refused.stderr


def expired_though_a_consumer_is_killed(cluster: Deployment, words: tuple[str, ...]) -> None:
    """Give the order while nobody consumes, kill the first who would carry it out; then events come late."""
    running = cluster.start(str(COMMAND), *words, "--yes")
    eventually(lambda: ordered(cluster, running), 60)
    doomed = cluster.consume(wait=False)
    eventually(lambda: "assigned" in doomed.said(), 60)
    doomed.kill()
    cluster.consume()
    assert running.exit_status() == 0, running.said()
    cluster.append([record("late", month="2026-02"), record("now"), record("e3", month="2026-01")])


def test_months_are_dropped_though_consumers_are_killed_and_late_events_are_expired(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    words = ("expire", "--before", "2026-03", "--reason", "policy", "--requested-by", "me")
    consumer = cluster.consume()
    cluster.append([record(f"e{number}", month=f"2026-0{1 + number % 3}") for number in range(60)])
    cluster.append([record("e0", month="2026-01"), NewRecord(b"no event")])
    cluster.wait_until_taken_in()
    consumer.kill()
    expired_though_a_consumer_is_killed(cluster, words)
    cluster.wait_until_taken_in()
    assert sum(books.expired for books in cluster.check_books().books) == 43
    kept = {f"e{number}": 1 for number in range(2, 60, 3)} | {"now": 1}
    assert {name: count for name, count in cluster.indexed().items() if len(name) < 36} == kept
    assert not [name for name in raw.indices(f"{cluster.topic}-audit-") if "2026.01" in name or "2026.02" in name]
    told = cluster.run("months", "--form", "ndjson").stdout.splitlines()
    states = {row["month"]: row["state"] for row in map(json.loads, told)}
    assert [states[month] for month in ("2026.01", "2026.02", "2026.03")] == ["dropped", "dropped", "open"]
    verified(cluster)
    named_and_forgotten(cluster)
    assert sum(log["removed"] for log in verified(cluster)) == 43
