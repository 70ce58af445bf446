"""`trailseal months`, `reproject` and `rebuild` as an operator runs them, beside real consumers."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import TopicPartition

from servers.deployment import COMMAND, Deployment, Process, deployment
from servers.raw_elasticsearch import RawElasticsearch
from servers.waiting import eventually
from trailseal.event_consumer.books import reconcile
from trailseal.model.record import HEADER_SALT, NewRecord

pytestmark = pytest.mark.timeout(300)


def record(event_id: str, month: str = "2026-03") -> NewRecord:
    body = {
        "id": event_id,
        "timestamp": f"{month}-04T05:06:07.000001Z",
        "tenant_id": f"t{sum(event_id.encode()) % 11}",
        "actor": "alice",
        "action": "document.read",
    }
    return NewRecord(json.dumps(body).encode(), b"key", ((HEADER_SALT, secrets.token_bytes(32)),))


@pytest.fixture
def cluster(kafka_servers: str, elasticsearch_url: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(kafka_servers, elasticsearch_url, redis_url, tmp_path) as made:
        yield made


class Load:
    """Appends events without pause until told to stop; what was acknowledged is known."""

    def __init__(self, cluster: Deployment) -> None:
        self.acknowledged: list[str] = []
        self._cluster = cluster
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._call = self._threads.submit(self._run)

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            at = len(self.acknowledged)
            names = [f"load-{number}" for number in range(at, at + 50)]
            self._cluster.append([record(name) for name in names])
            self.acknowledged += names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._call.result(60)
        self._threads.shutdown()


def _months(cluster: Deployment) -> dict[str, dict[str, Any]]:
    shown = cluster.run("months", "--form", "ndjson")
    return {row["month"]: row for row in map(json.loads, shown.stdout.splitlines())}


def _begun_or_over(cluster: Deployment, running: Process) -> bool:
    return _months(cluster)["2026.03"]["reprojecting"] or not running.alive


def _prefix(cluster: Deployment) -> str:
    return f"{cluster.topic}-"


def test_a_month_is_re_projected_under_load_though_the_command_is_killed(cluster: Deployment) -> None:
    for _ in range(2):
        cluster.consume()
    cluster.append([record(f"e{number}") for number in range(5_000)])
    cluster.wait_until_taken_in()

    with Load(cluster) as load:
        for _ in range(2):
            running = cluster.start(str(COMMAND), "reproject", "--all")
            eventually(partial(_begun_or_over, cluster, running), 60)
            running.kill()
        done = cluster.run("reproject", "--month", "2026-03", "--form", "ndjson")
        assert done.returncode == 0, done.stderr
        seen = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > seen + 100, 60)

    cluster.wait_until_taken_in()
    row = json.loads(done.stdout)
    assert row["documents"] >= 5_000
    assert row["unchanged"] == 0
    assert _months(cluster)["2026.03"]["index"] == row["index"]
    assert not _months(cluster)["2026.03"]["reprojecting"]
    expected = {f"e{number}": 1 for number in range(5_000)} | dict.fromkeys(load.acknowledged, 1)
    assert cluster.indexed() == expected
    cluster.check_books()


def test_a_lost_month_stops_the_consumer_and_comes_back_from_the_log(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    consumer = cluster.consume()
    march = [record(f"m{number}") for number in range(500)]
    cluster.append([*march, *march[:100], record("m0", "2026-04"), NewRecord(b"no event")])
    clash = record("m1")
    cluster.append([NewRecord((clash.value or b"").replace(b"alice", b"mallory"), clash.key, clash.headers)])
    cluster.wait_until_taken_in()
    books = cluster.check_books()
    documents = cluster.indexed()
    raw("DELETE", f"/{_prefix(cluster)}audit-2026.03-v1-000001")

    cluster.append([record("late")])
    assert consumer.exit_status() == 2
    assert "audit-2026.03 is registered but missing" in consumer.said()
    shown = cluster.run("months", "--form", "ndjson")
    assert shown.returncode == 1
    assert _months(cluster)["2026.03"]["state"] == "missing"
    assert cluster.run("search", "--actor", "alice").returncode == 3

    back = cluster.run("rebuild", "--form", "ndjson")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout) == {
        "months": ["2026.03"],
        "documents": 501,
        "lost": [],
        "finished": True,
    }
    assert cluster.run("rebuild").stderr == "No month is missing.\n"
    cluster.consume()
    cluster.wait_until_taken_in()
    assert cluster.indexed() == documents | {"late": 1}
    assert [(one.indexed, one.duplicates, one.id_collisions) for one in cluster.check_books().books] == [
        (one.indexed + (one.partition == _of("late", cluster)), one.duplicates, one.id_collisions)
        for one in books.books
    ]


def _of(event_id: str, cluster: Deployment) -> int:
    """The partition that holds the event."""
    log = cluster.engines.log
    for partition in log.partitions():
        bounds = log.bounds(partition)
        for item in log.read(partition, bounds.first, 10_000, 1 << 30):
            if f'"{event_id}"'.encode() in (getattr(item, "value", None) or b""):
                return partition
    raise AssertionError(event_id)


def test_what_kafka_holds_no_more_is_named_and_not_passed_over_in_silence(
    cluster: Deployment, raw: RawElasticsearch
) -> None:
    consumer = cluster.consume()
    positions = cluster.append([record(f"m{number}") for number in range(300)])
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0
    gone = positions[0].partition
    cut = sorted(position.offset for position in positions if position.partition == gone)[10]
    cluster.admin.delete_records([TopicPartition(cluster.topic, gone, cut)])[
        TopicPartition(cluster.topic, gone, cut)
    ].result(30)
    raw("DELETE", f"/{_prefix(cluster)}audit-2026.03-v1-000001")

    told = cluster.run("rebuild")
    assert told.returncode == 1
    assert f"Partition 1/{gone}: 10 documents cannot be put back; the log begins at offset {cut}." in told.stderr
    assert "not in use" in told.stderr
    assert _months(cluster)["2026.03"]["state"] == "missing"

    told = cluster.run("rebuild", "--accept-lost")
    assert told.returncode == 1
    assert "290 documents are back" in told.stderr
    assert _months(cluster)["2026.03"]["documents"] == 290
    engines = cluster.engines
    findings = reconcile(engines.log, engines.index, engines.ledger).findings
    assert sum(finding.count for finding in findings) == 10
    assert {(finding.kind, finding.position.partition) for finding in findings} == {("missing", gone)}
