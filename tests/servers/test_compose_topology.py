"""The topology of docker-compose.yml as local processes: its commands, its environment, its health checks.

No Docker engine runs where this is tested. What compose would do is done from the file itself: names of services
become addresses of the real servers, the state volume a folder, published ports free ones.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from servers.deployment import COMMAND, PATIENCE_S, free_port
from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text("utf-8"))
STATE = "/var/lib/trailseal"
KEYS = "/var/lib/trailseal-keys"
GRACE = {"s": 1, "m": 60}


@dataclass
class Composed:
    """The services of ours, started one by one.

    Attributes:
        places: what compose's names stand for here.
        ports: of each service.
    """

    places: dict[str, str]
    ports: dict[str, int]
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = COMPOSE["services"][name]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, in this machine's terms."""
        given = {key: self._here(str(value)) for key, value in self.service(name)["environment"].items()}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TRAILSEAL_")}
        if name in self.ports:
            given["TRAILSEAL_PORT"] = str(self.ports[name])
        return kept | given

    def command(self, name: str) -> list[str]:
        """The service's command behind the image's entry point."""
        words = [self._here(word) for word in self.service(name)["command"]]
        if "--port" in words:
            words[words.index("--port") + 1] = str(self.ports[name])
        return [str(COMMAND), *words]

    def start(self, name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(name),
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running[name] = process
        return process

    def healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *test = self.service(name)["healthcheck"]["test"]
        assert kind == "CMD"
        words = [sys.executable if word == "python" else word for word in test]
        return subprocess.run(words, env=self.environment(name), capture_output=True, check=False).returncode == 0

    def grace_s(self, name: str) -> int:
        text = str(self.service(name)["stop_grace_period"])
        return int(text[:-1]) * GRACE[text[-1]]

    def _here(self, text: str) -> str:
        for name, place in self.places.items():
            text = text.replace(name, place)
        return text


@pytest.fixture
def composed(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Composed]:
    name = f"t{secrets.token_hex(5)}"
    at = urlsplit(elasticsearch_url).netloc
    made = Composed(
        places={
            "kafka://kafka:9092/audit-events": f"kafka://{kafka_servers}/{name}",
            "elasticsearch://elasticsearch:9200": f"elasticsearch://{at}?prefix={name}-",
            "redis://redis:6379/0": f"{redis_url}?prefix={name}",
            KEYS: str(tmp_path / "keys"),
            STATE: str(tmp_path),
        },
        ports={"api": free_port(), "event_consumer": free_port()},
    )
    yield made
    for process in made.running.values():
        process.kill()
        process.communicate()
    admin = AdminClient({"bootstrap.servers": kafka_servers})
    admin.delete_topics([name])[name].result(30)
    RawElasticsearch(elasticsearch_url).forget(f"{name}-")


def test_kafkas_health_check_is_passed_by_a_broker_that_answers_and_by_nothing_else(kafka_servers: str) -> None:
    kind, *words = COMPOSE["services"]["kafka"]["healthcheck"]["test"]
    assert kind == "CMD"

    def passed(place: str) -> bool:
        host, _, port = place.rpartition(":")
        here = [word.replace("$$", "$").replace("/dev/tcp/kafka/9092", f"/dev/tcp/{host}/{port}") for word in words]
        return subprocess.run(here, capture_output=True, check=False, timeout=30).returncode == 0

    assert passed(kafka_servers)
    assert not passed(f"127.0.0.1:{free_port()}")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert not passed(f"127.0.0.1:{mute.getsockname()[1]}"), "an open port is not yet a broker"


def ask(port: int, path: str, key: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=30) as answer:
        return json.loads(answer.read())


def test_what_the_file_describes_sets_up_gets_healthy_works_and_stops_in_time(composed: Composed) -> None:
    setup = composed.start("setup")
    key, told = setup.communicate(timeout=PATIENCE_S)
    assert setup.returncode == 0, told
    key = key.strip()
    assert key.startswith("ts_"), "the first key is in the log of the service `setup`"
    again = composed.start("setup")
    assert again.communicate(timeout=PATIENCE_S)[0] == "", "a second `up` makes no second key"

    for name in ("api", "event_consumer"):
        composed.start(name)
    for name in ("api", "event_consumer"):
        eventually(lambda name=name: composed.healthy(name), PATIENCE_S)  # type: ignore[misc] # bound now

    port = composed.ports["api"]
    event = {"id": "e1", "timestamp": "2026-03-04T05:06:07Z", "actor": "alice", "action": "document.read"}
    assert ask(port, "/events", key, event)["accepted"] == 1
    eventually(lambda: ask(port, "/events?actor=alice", key)["events"] != [], PATIENCE_S)

    for name in ("event_consumer", "api"):
        process = composed.running[name]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=composed.grace_s(name))
        assert process.returncode == 0, name
