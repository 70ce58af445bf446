"""`trailseal verify` in the cluster when Kafka has forgotten: what is kept elsewhere is compared with the seals."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from servers.deployment import Deployment, deployment
from servers.raw_elasticsearch import RawElasticsearch
from trailseal.model.record import HEADER_SALT, NewRecord
from trailseal.verification.trust import Trust
from trailseal.verification.whole import verify_logs

pytestmark = pytest.mark.timeout(300)


def record(event_id: str, action: str = "document.read") -> NewRecord:
    body = {
        "id": event_id,
        "timestamp": "2026-03-04T05:06:07.000001Z",
        "tenant_id": "acme",
        "actor": "alice",
        "action": action,
    }
    return NewRecord(json.dumps(body).encode(), b"acme", ((HEADER_SALT, secrets.token_bytes(32)),))


@pytest.fixture(scope="module")
def cluster(
    kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Events, a duplicate, a collision and a dead letter, all of them forgotten by Kafka but the last ten."""
    folder = tmp_path_factory.mktemp("retention")
    with deployment(kafka_servers, elasticsearch_url, redis_url, folder, partitions=1) as made:
        consumer = made.consume()
        made.append([record(f"e{number}") for number in range(40)])
        made.append([record("e3"), record("e4", "document.changed"), NewRecord(b"no event", b"acme")])
        made.append([record(f"e{number}") for number in range(40, 50)])
        made.append([record("e5")])
        made.wait_until_taken_in()
        assert consumer.stop() == 0, consumer.said()
        cut = TopicPartition(made.topic, 0, 43)
        for done in made.admin.delete_records([cut]).values():
            done.result(30)
        yield made


def found(cluster: Deployment) -> list[tuple[str, int]]:
    """What is not as it was sealed."""
    engines = cluster.engines
    result = verify_logs(engines.log, engines.index, engines.ledger, Trust(), keeper=engines.keeper)
    return [(one.kind, one.position.offset) for one in result.suspicions]


def test_what_kafka_forgot_is_verified_from_what_is_kept(cluster: Deployment) -> None:
    done = cluster.run("verify", "--form", "ndjson")
    (log,) = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0, done.stderr
    assert (log["verified"], log["unopened"], log["unprovable"]) == (54, 0, 0)
    cluster.check_books()


@pytest.mark.parametrize(
    ("offset", "part", "kind"), [(7, "audit-2026.03", "missing"), (42, "trailseal-kept", None)]
)
def test_what_is_really_gone_is_named(
    cluster: Deployment, raw: RawElasticsearch, offset: int, part: str, kind: str | None
) -> None:
    index = f"{cluster.topic}-{part}"
    query = {"term": {"offset": offset}} if kind else {"ids": {"values": [f"1.0.{offset}"]}}
    raw("POST", f"/{index}/_refresh")
    (hit,) = raw("POST", f"/{index}/_search", {"query": query})["hits"]["hits"]
    name = f"/{hit['_index']}/_doc/{hit['_id'].replace('/', '%2F')}?refresh=true"
    raw("DELETE", name)
    assert ("deleted-record", offset) in found(cluster)
    edited = hit["_source"]["record"] if kind else hit["_source"]
    edited["timestamp"] += 1
    raw("PUT", name, hit["_source"])
    assert ("edited-record", offset) in found(cluster)
    edited["timestamp"] -= 1
    raw("PUT", name, hit["_source"])
    assert found(cluster) == []


def test_a_deletion_sold_as_a_duplicate_is_found_without_the_record(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    """Nobody but who holds the record can make the frame that gives its leaf with another event's value."""
    kept = f"/{cluster.topic}-trailseal-kept/_doc/1.0.40?refresh=true"
    frame = raw("GET", kept)["_source"]
    raw("DELETE", kept)
    assert ("deleted-record", 40) in found(cluster)
    raw("PUT", kept, frame | {"headers": []})
    assert ("edited-record", 40) in found(cluster)
    raw("PUT", kept, frame)
    assert found(cluster) == []
