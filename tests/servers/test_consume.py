"""`trailseal consume` as real processes on the real servers: who joins, leaves and dies, and what the books say."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.deployment import Deployment, deployment
from trailseal.model.record import HEADER_SALT, NewRecord

pytestmark = pytest.mark.timeout(300)


def record(event_id: str, tenant: str = "acme") -> NewRecord:
    """A native event that was received at the door."""
    body = {
        "id": event_id,
        "timestamp": "2026-03-04T05:06:07.000001Z",
        "tenant_id": tenant,
        "actor": "alice",
        "action": "document.read",
    }
    return NewRecord(json.dumps(body).encode(), tenant.encode(), ((HEADER_SALT, secrets.token_bytes(32)),))


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path) as made:
        yield made


def test_events_are_taken_in_and_a_stop_is_clean(cluster: Deployment) -> None:
    cluster.append([record(f"e{n}", f"t{n % 5}") for n in range(300)])
    consumer = cluster.consume()
    cluster.wait_until_taken_in()
    consumer.wait_for_phase("running")
    assert consumer.readiness()["status"] == "ready"
    assert "trailseal_pending_records" in consumer.get("/metrics")[1]
    cluster.append([record("late")])
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0, consumer.said()
    assert cluster.indexed() == {f"e{n}": 1 for n in range(300)} | {"late": 1}
    cluster.check_books()
