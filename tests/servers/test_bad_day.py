"""One bad day: every server is paused, killed and restarted in turn while clients go on sending.

Real processes on an instance of the real servers of their own. Afterwards the books balance in every partition, and
every event whose acceptance was acknowledged is found exactly once through the API.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment, free_port
from servers.test_serve import ask, key_of
from servers.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "servers"
OUTAGE_S = float(os.environ.get("TRAILSEAL_TEST_OUTAGE_S", "4"))
"""How long each server is away: short in CI, as long as one likes elsewhere."""
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None and os.environ.get("CI") != "true",
    reason="redis-server is missing: apt-get install redis-server",
)


class OwnServers:
    """An instance that a test may break."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRAILSEAL_")}
        named = ("KAFKA", "KAFKA_CONTROLLER", "ELASTICSEARCH", "ELASTICSEARCH_TRANSPORT", "REDIS")
        ports = {f"TRAILSEAL_SERVERS_{name}_PORT": str(free_port()) for name in named}  # the same after a kill
        self._environment = kept | ports | {"TRAILSEAL_SERVERS_DIR": str(folder)}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [SCRIPT, *words], env=self._environment, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def address(self, name: str) -> str:
        exports = dict(line.removeprefix("export ").split("=", 1) for line in self.run("env").splitlines())
        return exports[f"TRAILSEAL_TEST_{name}"]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[OwnServers]:
    made = OwnServers(tmp_path / "servers")
    try:
        made.run("up")
        yield made
    finally:
        made.run("down", "--wipe")


@pytest.fixture
def cluster(servers: OwnServers, tmp_path: Path) -> Iterator[Deployment]:
    addresses = [servers.address(name) for name in ("KAFKA", "ELASTICSEARCH", "REDIS")]
    (tmp_path / "state").mkdir(mode=0o700)
    with deployment(*addresses, tmp_path / "state", partitions=3) as made:
        yield made


class Client:
    """Sends events until it is stopped, each again with the same id until it is acknowledged."""

    def __init__(self, number: int, served: Process, key: str) -> None:
        self._number, self._served, self._key = number, served, key
        self._stopping = threading.Event()
        self.acknowledged: set[str] = set()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        sent = 0
        while not self._stopping.is_set():
            ids = [f"c{self._number}-{sent + place}" for place in range(5)]
            if self._send(ids):
                self.acknowledged.update(ids)
                sent += 5
                self._stopping.wait(0.02)
            else:
                self._stopping.wait(0.3)

    def _send(self, ids: list[str]) -> bool:
        body: list[dict[str, Any]] = [
            {
                "id": event_id,
                "timestamp": "2026-03-04T05:06:07Z",
                "tenant_id": f"t{self._number}",
                "actor": "alice",
                "action": "document.read",
            }
            for event_id in ids
        ]
        try:
            status, answer = ask(self._served, "POST", "/events", self._key, body)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return False
        return status == 200 and answer["accepted"] == len(ids)


def _wait_for_more(clients: list[Client], otherwise: str) -> None:
    """Until events are accepted again."""

    def accepted() -> int:
        return sum(len(client.acknowledged) for client in clients)

    before = accepted()
    try:
        eventually(lambda: accepted() > before + 30, PATIENCE_S)
    except pytest.fail.Exception:
        pytest.fail(f"nothing is accepted {otherwise}")


def test_a_bad_day_loses_nothing_and_doubles_nothing(servers: OwnServers, cluster: Deployment) -> None:
    key = key_of(cluster, "admin", tenants=None)
    consumers = [cluster.consume() for _ in range(2)]
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    calm = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(number, served, key)) for number in range(3)]
        for breaking, mending in (
            (("pause", "elasticsearch"), ("resume", "elasticsearch")),
            (("kill", "redis"), ("restart", "redis")),
            (("pause", "kafka"), ("resume", "kafka")),
            (("kill", "elasticsearch"), ("restart", "elasticsearch")),
            (("restart", "kafka"), ("status",)),
        ):
            servers.run(*breaking)
            calm.wait(OUTAGE_S)
            consumers[0].kill()
            consumers = [*consumers[1:], cluster.consume()]
            servers.run(*mending)
            _wait_for_more(clients, f"after {' '.join(breaking)}:\n{served.said()[-2000:]}")
    acknowledged = {event_id for client in clients for event_id in client.acknowledged}

    cluster.forget_engines()
    cluster.wait_until_taken_in()
    cluster.check_books()
    found = cluster.indexed()
    assert set(found.values()) == {1}
    assert acknowledged <= set(found)

    eventually(lambda: ask(served, "GET", "/events/count", key)[0] == 200, PATIENCE_S)
    told: list[str] = []
    path = "/events?limit=1000"
    while path:
        _, page = ask(served, "GET", path, key)
        told += [event["id"] for event in page["events"]]
        path = f"/events?limit=1000&cursor={page['next_cursor']}" if page["has_more"] else ""
    assert sorted(told) == sorted(found)
    assert all(consumer.alive for consumer in consumers), "\n".join(consumer.said() for consumer in consumers)
