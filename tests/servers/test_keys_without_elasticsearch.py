"""API keys while the real Elasticsearch that holds them is stopped: events are taken in, nothing else is opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servers.deployment import PATIENCE_S, Deployment, deployment
from servers.test_bad_day import OwnServers
from servers.test_serve import EVENT, key_of
from servers.waiting import eventually
from trailseal.adapters.clock import SystemClock
from trailseal.api.credentials import GRACE_S, TRUST_S, list_keys, revoke_key
from trailseal.cli.application import make_app

pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="no Java, so no Elasticsearch can be stopped")


class AheadClock(SystemClock):
    """The system's time, some seconds ahead: an outage lasts as long as the test says."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnServers]:
    made = OwnServers(tmp_path / "servers")
    try:
        made.run("up", "elasticsearch")
        yield made
    finally:
        made.run("down", "--wipe", "elasticsearch")


@pytest.fixture
def cluster(kafka_servers: str, redis_url: str, own: OwnServers, tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "state").mkdir(mode=0o700)
    address = own.address("ELASTICSEARCH")
    with deployment(kafka_servers, address, redis_url, tmp_path / "state", partitions=1) as made:
        yield made
        own.run("up", "elasticsearch")


def test_keys_known_before_it_stopped_append_for_the_grace_and_a_revoked_one_never_again(
    cluster: Deployment, own: OwnServers
) -> None:
    clock = AheadClock()
    engines = replace(cluster.open("serve"), clock=clock)
    client = make_app(cluster.settings(), engines).test_client()

    def ask(path: str, key: str, body: Any = None) -> int:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        return client.open(path, method="GET" if body is None else "POST", headers=headers, data=data).status_code

    good, bad = (key_of(cluster, "events:read", "events:write", tenants=["acme"]) for _ in range(2))
    assert [ask("/events", key, EVENT) for key in (good, bad)] == [200, 200]
    prefix = next(key.prefix for key in list_keys(engines.ledger) if bad.startswith(f"ts_{key.prefix}_"))
    revoke_key(engines.ledger, clock, prefix)
    eventually(lambda: ask("/events", bad, EVENT) == 401, PATIENCE_S)

    own.run("kill", "elasticsearch")
    assert ask("/events", good, EVENT) == 200
    clock.ahead_s = TRUST_S + 5
    assert [ask("/events", good, EVENT), ask("/events", bad, EVENT), ask("/events", good)] == [200, 503, 503]
    told = client.get("/readyz", headers={"Host": "127.0.0.1"})
    assert told.status_code == 503
    assert "go on appending" in (told.json or {})["detail"]
    assert client.get("/healthz").status_code == 200
    clock.ahead_s = GRACE_S + 5
    assert ask("/events", good, EVENT) == 503

    own.run("up", "elasticsearch")
    eventually(lambda: ask("/events", good) == 200, PATIENCE_S)
    assert [ask("/events", good, EVENT), ask("/events", bad, EVENT)] == [200, 401]
    engines.close()
