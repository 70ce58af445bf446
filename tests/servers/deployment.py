"""A whole cluster deployment on the real servers: a topic, an index prefix and keys of its own, and real processes.

    with deployment(kafka, elasticsearch, redis, folder, partitions=3) as cluster:
        consumer = cluster.consume()
        positions = cluster.append([record("e1"), record("e2")])
        cluster.wait_until_taken_in()
        cluster.check_books()
        consumer.kill()

Every process gets its settings from the environment alone, as in production.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient

from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually
from trailseal.adapters.elasticsearch.options import options_from_url
from trailseal.adapters.indexes.elasticsearch import set_up_index
from trailseal.adapters.ledgers.elasticsearch import set_up_ledger
from trailseal.adapters.logs.kafka_topic_plan import TopicPlan
from trailseal.adapters.logs.kafka_topics import ensure_topic
from trailseal.api.credentials import create_key
from trailseal.bootstrap import Engines, Role, open_engines
from trailseal.cli.application import make_app
from trailseal.errors import Unavailable
from trailseal.event_consumer.books import Reconciliation, reconcile
from trailseal.model.record import NewRecord, Position
from trailseal.ports.index import EventIndex
from trailseal.settings import PREFIX, Settings

PATIENCE_S = 180.0
COMMAND = Path(sys.executable).with_name("trailseal")
SESSION_TIMEOUT_S = 6
"""The shortest that brokers allow by default: a killed member's partitions move on after this time."""


class Process:
    """One started command. Its output goes to a file that a failed test can show."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], port: int, output: Path) -> None:
        self.port, self.output = port, output
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [*arguments], env={**os.environ, **environment}, stdout=file, stderr=file
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """Everything it wrote so far."""
        return self.output.read_text("utf-8", "replace")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a request to its port; (0, why) where nothing answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)

    def readiness(self) -> dict[str, Any]:
        """What `/readyz` says; empty where it does not answer."""
        status, body = self.get("/readyz")
        return dict(json.loads(body)) if status else {}

    def wait_for_phase(self, *phases: str) -> None:
        """Until `/readyz` tells one of these phases."""
        eventually(lambda: self.readiness().get("phase") in phases or not self.alive, PATIENCE_S)
        assert self.alive, self.said()

    def kill(self) -> None:
        """Kill it without any warning."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        self._process.send_signal(number)

    def stop(self, patience_s: float = PATIENCE_S) -> int:
        """Ask it to stop; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        return self.exit_status(patience_s)

    def exit_status(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for its end."""
        return self._process.wait(patience_s)


class Deployment:
    """See the module."""

    def __init__(self, environment: dict[str, str], folder: Path, topic: str, partitions: int) -> None:
        self.environment, self.folder = environment, folder
        self.topic, self.partitions = topic, partitions
        self.processes: list[Process] = []
        self._engines: Engines | None = None

    @property
    def brokers(self) -> str:
        """Where Kafka is."""
        return urlsplit(self.environment["TRAILSEAL_LOG"]).netloc

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers})

    def settings(self, **changes: Any) -> Settings:
        """The settings as its processes get them."""
        given = {name.removeprefix(PREFIX).lower(): value for name, value in self.environment.items()}
        return Settings(**(given | changes))

    def open(self, role: Role = "import") -> Engines:
        """Engines in this process; the caller closes them."""
        return open_engines(self.settings(), role)

    @property
    def engines(self) -> Engines:
        """Engines of the test itself, closed with the deployment."""
        if self._engines is None:
            self._engines = self.open()
        return self._engines

    def forget_engines(self) -> None:
        """Close the test's own engines; the next use opens them anew."""
        if self._engines is not None:
            self._engines.close()
            self._engines = None

    def make_topic(self) -> None:
        """Make the topic, or check it."""
        ensure_topic({"bootstrap.servers": self.brokers}, TopicPlan(self.topic, partitions=self.partitions))

    def delete_topic(self) -> None:
        """Delete the topic and wait until it is gone."""
        admin = self.admin
        admin.delete_topics([self.topic], operation_timeout=30)[self.topic].result(30)
        eventually(lambda: self.topic not in admin.list_topics(timeout=30).topics, PATIENCE_S)

    def consume(self, *, wait: bool = True, **settings: str) -> Process:
        """Start one `trailseal consume`; with ``wait`` it answers when this returns.

        Args:
            wait: until its health port answers.
            settings: more of its environment, without the prefix.
        """
        return self.start(sys.executable, "-m", "trailseal.event_consumer", wait=wait, **settings)

    def start(self, *arguments: str, wait: bool = False, **settings: str) -> Process:
        """Start a command with this deployment's environment and a port of its own."""
        port = free_port()
        more = {f"{PREFIX}{name.upper()}": value for name, value in ({"port": str(port)} | settings).items()}
        output = self.folder / f"process-{len(self.processes)}.log"
        process = Process(arguments, self.environment | more, port, output)
        self.processes.append(process)
        if wait:
            eventually(lambda: process.get("/healthz")[0] == 200 or not process.alive, PATIENCE_S)
        return process

    def run(self, *arguments: str, patience_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Run a command of `trailseal` to its end."""
        return subprocess.run(
            [str(COMMAND), *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )

    def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Append through the product's own log, acknowledged."""
        return self.engines.log.append(records)

    def pending(self) -> int:
        """Records that no head has passed yet."""
        engines = self.engines
        number = engines.ledger.log_number(engines.log.origin)
        heads = {} if number is None else {head.partition: head.next for head in engines.ledger.heads(number)}
        bounds = {partition: engines.log.bounds(partition) for partition in engines.log.partitions()}
        return sum(held.next - heads.get(partition, held.first) for partition, held in bounds.items())

    def wait_until_taken_in(self, patience_s: float = PATIENCE_S) -> None:
        """Until every head stands at the end of its partition; engines that are away meanwhile are waited for."""

        def done() -> bool:
            try:
                return self.pending() == 0
            except Unavailable:
                return False

        try:
            eventually(done, patience_s)
        except pytest.fail.Exception:
            said = "\n".join(f"== {process.output.name}\n{process.said()[-3000:]}" for process in self.processes)
            pytest.fail(f"not everything was taken in:\n{said}")

    def check_books(self) -> Reconciliation:
        """The books balance, offset by offset, those of ended logs too, and nothing is pending."""
        engines = self.engines
        result = reconcile(engines.log, engines.index, engines.ledger, ended=engines.ended_logs())
        assert result.balanced, result
        newest = engines.ledger.log_number(engines.log.origin)
        assert sum(books.log == newest for books in result.books) == self.partitions
        return result

    def indexed(self) -> dict[str, int]:
        """How many documents each event id has, read from the months themselves; the API shows the same."""
        stored = ids_in(self.engines.index, self.environment)
        assert self.shown() == stored
        return stored

    def shown(self) -> dict[str, int]:
        """How often the API shows each event id, page by page."""
        client = make_app(self.settings(), self.engines).test_client()
        counts: Counter[str] = Counter()
        path = "/events?limit=1000"
        while path:
            answer = client.get(path, headers={"Authorization": f"Bearer {self.admin_key}"})
            assert answer.status_code == 200, answer.text
            page = answer.get_json()
            counts.update(event["id"] for event in page["events"])
            path = f"/events?limit=1000&cursor={page['next_cursor']}" if page["has_more"] else ""
        return dict(counts)

    @cached_property
    def admin_key(self) -> str:
        """A key that may ask for everything; from now on nobody is answered without one."""
        ledger, clock = self.engines.ledger, self.engines.clock
        return create_key(ledger, clock, scopes=["admin"], tenants=None)[1]

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.alive:
                process.kill()
        self.forget_engines()


def ids_in(index: EventIndex, environment: Mapping[str, str]) -> dict[str, int]:
    """Documents by event id, straight from Elasticsearch."""
    index.refresh()
    raw = RawElasticsearch(_plain(environment["TRAILSEAL_INDEX"]))
    prefix = options_from_url(environment["TRAILSEAL_INDEX"]).prefix
    in_use: dict[str, Any] = raw("GET", f"/_alias/{prefix}audit-*")  # not what a re-projection left behind
    counts: dict[str, int] = {}
    after: list[Any] | None = None
    while True:
        body: dict[str, Any] = {
            "size": 10_000,
            "_source": ["id"],
            "query": {"bool": {"must_not": [{"term": {"erased": True}}]}},
            "sort": [{"log": "asc"}, {"partition": "asc"}, {"offset": "asc"}],
        }
        if after is not None:
            body["search_after"] = after
        hits = raw("POST", f"/{','.join(in_use)}/_search", body)["hits"]["hits"] if in_use else []
        for hit in hits:
            event_id = hit["_source"]["id"]
            counts[event_id] = counts.get(event_id, 0) + 1
        if len(hits) < body["size"]:
            return counts
        after = hits[-1]["sort"]


def _plain(url: str) -> str:
    return "http://" + urlsplit(url).netloc


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def deployment(
    kafka: str, elasticsearch: str, redis: str, folder: Path, *, partitions: int = 3, **settings: str
) -> Iterator[Deployment]:
    """A deployment that goes with everything it made when the block is left.

    Args:
        kafka: brokers.
        elasticsearch: URL.
        redis: URL.
        folder: for keys and output.
        partitions: of its topic.
        settings: more settings for all its processes, by name.
    """
    name = f"t{secrets.token_hex(5)}"
    at = urlsplit(elasticsearch).netloc
    environment = {
        "TRAILSEAL_LOG": f"kafka://{kafka}/{name}",
        "TRAILSEAL_INDEX": f"elasticsearch://{at}?prefix={name}-",
        "TRAILSEAL_LEDGER": f"elasticsearch://{at}?prefix={name}-",
        "TRAILSEAL_CACHE": f"{redis}?prefix={name}",
        "TRAILSEAL_DATA": str(folder),
        "TRAILSEAL_SECRET_FILE": str(folder / "secret"),
        "TRAILSEAL_SEAL_KEY_FILE": str(folder / "seal.key"),
        "TRAILSEAL_CONSUMER_GROUP": name,
        "TRAILSEAL_KAFKA_SESSION_TIMEOUT": str(SESSION_TIMEOUT_S),
    } | {f"{PREFIX}{key.upper()}": value for key, value in settings.items()}
    (folder / "secret").write_bytes(secrets.token_bytes(32))
    made = Deployment(environment, folder, name, partitions)
    raw = RawElasticsearch(elasticsearch)
    with ExitStack() as stack:
        options = options_from_url(environment["TRAILSEAL_INDEX"])
        stack.callback(raw.forget, options.prefix)
        set_up_index(options, replicas=0)
        set_up_ledger(options, replicas=0)
        made.make_topic()
        stack.callback(_delete_topic, made)
        stack.callback(made.close)
        keys = made.run("keys", "make")
        assert keys.returncode == 0, keys.stderr
        yield made


def _delete_topic(made: Deployment) -> None:
    if made.topic in made.admin.list_topics(timeout=30).topics:
        made.delete_topic()
