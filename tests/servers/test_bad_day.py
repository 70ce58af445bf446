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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from servers.deployment import COMMAND, PATIENCE_S, Deployment, Process, deployment, free_port, ids_in
from servers.raw_elasticsearch import RawElasticsearch
from servers.test_serve import ask
from servers.waiting import eventually
from trailseal.adapters.clock import SystemClock

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "servers"
OUTAGE_S = float(os.environ.get("TRAILSEAL_TEST_OUTAGE_S", "10"))
"""How long each server is away: longer than a session of the group; as long as one likes outside CI."""
LONG = ("paused", "without a log")
"""The others are over sooner, or take as long by themselves to come back."""
KILL_EVERY_S = 4.0
CANARY = "canary-7c1e"
"""Stands in every event, and in no line of our own log."""
pytestmark = [
    pytest.mark.skipif(
        shutil.which("redis-server") is None and os.environ.get("CI") != "true",
        reason="redis-server is missing: apt-get install redis-server",
    ),
    pytest.mark.timeout(900 + 8 * OUTAGE_S),
]


class OwnServers:
    """An instance that a test may break."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRAILSEAL_")}
        named = ("KAFKA", "KAFKA_CONTROLLER", "ELASTICSEARCH", "ELASTICSEARCH_TRANSPORT", "REDIS")
        ports = {f"TRAILSEAL_SERVERS_{name}_PORT": str(free_port()) for name in named}  # the same after a kill
        self._environment = kept | ports | {"TRAILSEAL_SERVERS_DIR": str(folder), "TRAILSEAL_SERVERS_WAIT": "300"}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [SCRIPT, *words], env=self._environment, capture_output=True, text=True, check=False, timeout=400
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
                "actor": CANARY,
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


class Shift:
    """Two consumers, of which the older one is killed every few seconds while something is broken."""

    def __init__(self, cluster: Deployment) -> None:
        self._cluster, self._clock = cluster, SystemClock()
        self.working = [cluster.consume() for _ in range(2)]

    def last(self, seconds: float) -> None:
        """Go on so for that long."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            self._clock.wait(min(left, KILL_EVERY_S))
            self.working.pop(0).kill()
            self.working.append(self._cluster.consume(wait=False))


def _read_only(servers: OwnServers, *, blocked: bool) -> None:
    """What Elasticsearch does to every index when its disk is nearly full, or takes back."""
    raw = RawElasticsearch(servers.address("ELASTICSEARCH"))
    told = raw("PUT", "/*/_settings", {"index.blocks.read_only_allow_delete": blocked or None})
    assert told == {"acknowledged": True}


def test_a_bad_day_loses_nothing_and_doubles_nothing(servers: OwnServers, cluster: Deployment) -> None:
    key = cluster.admin_key
    shift = Shift(cluster)
    served = cluster.start(str(COMMAND), "serve", wait=True, workers="2")
    day: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("paused", partial(servers.run, "pause", "elasticsearch"), partial(servers.run, "resume", "elasticsearch")),
        ("full", partial(_read_only, servers, blocked=True), partial(_read_only, servers, blocked=False)),
        ("without a cache", partial(servers.run, "kill", "redis"), partial(servers.run, "restart", "redis")),
        ("without a log", partial(servers.run, "pause", "kafka"), partial(servers.run, "resume", "kafka")),
        ("dead", partial(servers.run, "kill", "elasticsearch"), partial(servers.run, "restart", "elasticsearch")),
        ("restarted", partial(servers.run, "restart", "kafka"), partial(servers.run, "status")),
    ]
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(number, served, key)) for number in range(3)]
        for what, breaks, mends in day:
            breaks()
            shift.last(OUTAGE_S if what in LONG else KILL_EVERY_S)
            mends()
            _wait_for_more(clients, f"once it was {what}:\n{served.said()[-2000:]}")
    acknowledged = {event_id for client in clients for event_id in client.acknowledged}

    cluster.forget_engines()
    cluster.wait_until_taken_in()
    cluster.check_books()
    found = ids_in(cluster.engines.index, cluster.environment)
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
    assert all(consumer.alive for consumer in shift.working), "\n".join(one.said() for one in shift.working)
    assert [process.output for process in cluster.processes if CANARY in process.said()] == []
