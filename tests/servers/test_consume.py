"""`trailseal consume` as real processes on the real servers: who joins, leaves and dies, and what the books say."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from servers.deployment import Deployment, Process, deployment
from servers.waiting import eventually
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.event_consumer.mirror import PREFIX
from trailseal.model.record import HEADER_SALT, NewRecord, Record
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState

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


def _gauge(process: Process, name: str) -> list[float]:
    """The values of a metric, one a label."""
    text = process.get("/metrics")[1]
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + "{")]


def test_events_are_taken_in_and_a_stop_is_clean(cluster: Deployment) -> None:
    cluster.append([record(f"e{n}", f"t{n % 5}") for n in range(300)])
    consumer = cluster.consume()
    cluster.wait_until_taken_in()
    consumer.wait_for_phase("running")
    assert consumer.readiness()["status"] == "ready"
    eventually(lambda: _gauge(consumer, "trailseal_pending_records") == [0.0] * 3, 30)
    assert _gauge(consumer, "trailseal_head_age_seconds") == [0.0] * 3
    assert _gauge(consumer, "trailseal_retention_left_seconds") == [14 * 86_400.0] * 3
    cluster.append([record("late")])
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0, consumer.said()
    assert cluster.indexed() == {f"e{n}": 1 for n in range(300)} | {"late": 1}
    cluster.check_books()
    assert committed(cluster) == [cluster.engines.log.bounds(number).next for number in range(cluster.partitions)]


def committed(cluster: Deployment) -> list[int]:
    """What Kafka's own tools say about the group: the next offset of each partition."""
    with closing(Consumer({"bootstrap.servers": cluster.brokers, "group.id": cluster.topic})) as group:
        places = [TopicPartition(cluster.topic, number) for number in range(cluster.partitions)]
        return [place.offset for place in group.committed(places, timeout=30)]


def test_a_frozen_consumer_that_wakes_after_others_took_over_moves_nothing(cluster: Deployment) -> None:
    frozen = cluster.consume()
    frozen.wait_for_phase("running")
    with Load(cluster) as load:
        load.more(300)
        heir = cluster.consume()
        frozen.signal(signal.SIGSTOP)
        eventually(lambda: len(owned(heir)) == cluster.partitions, 60)
        load.more(500)
        frozen.signal(signal.SIGCONT)
        load.more(500)
    cluster.wait_until_taken_in()
    assert cluster.indexed() == dict.fromkeys(load.acknowledged, 1)
    cluster.check_books()
    assert frozen.stop() == heir.stop() == 0


def owned(process: Process) -> list[float]:
    """One pending gauge for each partition it has."""
    return _gauge(process, "trailseal_pending_records")


def test_what_retention_removed_before_it_was_taken_in_is_counted_as_gaps(cluster: Deployment) -> None:
    consumer = cluster.consume()
    cluster.append([record("first")])
    cluster.wait_until_taken_in()
    assert consumer.stop() == 0
    positions = cluster.append([record(f"e{n}") for n in range(30)])
    cut = TopicPartition(cluster.topic, positions[20].partition, positions[20].offset)
    for done in cluster.admin.delete_records([cut]).values():
        done.result(30)
    again = cluster.consume()
    cluster.wait_until_taken_in()
    assert cluster.indexed() == {"first": 1} | {f"e{n}": 1 for n in range(20, 30)}
    result = cluster.check_books()
    assert sum(books.gaps for books in result.books) == 20
    assert "retention_overtook" in again.said()


class Load:
    """Appends events in a thread of its own until it is told to stop; what was acknowledged is known."""

    def __init__(self, cluster: Deployment, batch: int = 50, pause_s: float = 0.02) -> None:
        self._cluster, self._batch, self._pause_s = cluster, batch, pause_s
        self.acknowledged: list[str] = []
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._call = self._threads.submit(self._run)

    def _run(self) -> None:
        at = 0
        while not self._stopping.wait(self._pause_s):
            names = [f"load-{n}" for n in range(at, at + self._batch)]
            self._cluster.append([record(name, f"t{hash(name) % 11}") for name in names])
            self.acknowledged += names
            at += self._batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._call.result(60)
        self._threads.shutdown()

    def more(self, count: int) -> None:
        """Wait until that many more are acknowledged."""
        goal = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= goal or self._call.done(), 60)


def test_consumers_join_leave_and_are_killed_under_load_and_every_event_is_there_once(cluster: Deployment) -> None:
    first = cluster.consume()
    first.wait_for_phase("running")
    with Load(cluster) as load:
        load.more(500)
        second = cluster.consume()
        second.wait_for_phase("running")
        load.more(500)
        first.kill()
        load.more(500)
        third = cluster.consume()
        third.wait_for_phase("running", "waiting")
        load.more(500)
        assert second.stop() == 0, second.said()
        load.more(500)
        fourth = cluster.consume()
        load.more(300)
        third.kill()
        load.more(300)
    cluster.wait_until_taken_in()
    assert cluster.indexed() == dict.fromkeys(load.acknowledged, 1)
    result = cluster.check_books()
    assert sum(books.indexed for books in result.books) == sum(books.taken_in for books in result.books)
    assert fourth.stop() == 0, fourth.said()


def test_a_topic_made_anew_stops_the_consumer_until_a_new_epoch_begins(cluster: Deployment) -> None:
    consumer = cluster.consume()
    cluster.append([record(f"old{n}") for n in range(20)])
    cluster.wait_until_taken_in()
    cluster.delete_topic()
    cluster.make_topic()
    cluster.forget_engines()
    foreign = Producer({"bootstrap.servers": cluster.brokers})
    for n in range(60):
        foreign.produce(cluster.topic, record(f"new{n}").value, partition=n % cluster.partitions)
    foreign.flush()
    assert consumer.exit_status() == 2, consumer.said()
    assert "trailseal epoch new --reason" in consumer.said()
    assert set(cluster.indexed()) == {f"old{n}" for n in range(20)}

    again = cluster.consume(wait=False)
    assert again.exit_status() == 2
    assert "trailseal epoch new --reason" in again.said()

    done = cluster.run("epoch", "new", "--reason", "the topic was deleted by mistake")
    assert done.returncode == 0, done.stderr
    refused = cluster.run("epoch", "new", "--reason", "once more")
    assert refused.returncode == 2
    assert "no new epoch is needed" in refused.stderr

    cluster.forget_engines()
    after = cluster.consume()
    cluster.wait_until_taken_in()
    assert cluster.indexed() == {f"old{n}": 1 for n in range(20)} | {f"new{n}": 1 for n in range(60)}
    assert {books.log for books in cluster.check_books().books} == {2}
    ledger = cluster.engines.ledger
    begun = [log for log in (SealedLog.stored(ledger, 2, number) for number in range(cluster.partitions)) if log]
    assert len(begun) == cluster.partitions
    assert {log.genesis.reason for log in begun} == {"the topic was deleted by mistake"}
    old = [ledger.head(1, number) for number in range(cluster.partitions)]
    sizes = [SealState.of(head.seal).edge.size for head in old if head is not None]
    assert [log.genesis.previous[0].size for log in begun if log.genesis.previous] == [
        size for size in sizes if size
    ]
    assert after.stop() == 0


def test_records_of_any_producer_are_taken_in(cluster: Deployment) -> None:
    plain = {"timestamp": "2026-03-04T05:06:07Z", "actor": "bob", "action": "door.opened"}
    producer = Producer({"bootstrap.servers": cluster.brokers, "compression.type": "gzip"})
    produce = partial(producer.produce, cluster.topic, partition=0)
    produce(json.dumps(plain).encode())
    produce(
        json.dumps(plain | {"id": "own-id"}).encode(), key=b"\xff\x00", headers=[("größe", b"\xff"), ("x", None)]
    )
    produce(
        b'{"door":"7"}',
        headers=[
            ("ce_specversion", b"1.0"),
            ("ce_id", b"c1"),
            ("ce_source", b"/doors"),
            ("ce_type", b"door.closed"),
            ("ce_subject", b"door-7"),
            ("ce_time", b"2026-03-04T05:06:08Z"),
            ("content-type", b"application/json"),
        ],
    )
    produce(b"no event at all \xff")
    produce(None, key=b"tombstone")
    producer.flush()
    transaction = Producer({"bootstrap.servers": cluster.brokers, "transactional.id": cluster.topic})
    transaction.init_transactions()
    for number, commit in ((1, True), (2, False), (3, True)):
        transaction.begin_transaction()
        transaction.produce(cluster.topic, json.dumps(plain | {"id": f"tx{number}"}).encode(), partition=0)
        transaction.flush()
        (transaction.commit_transaction if commit else transaction.abort_transaction)()
    mirror = f"{cluster.topic}-dead"
    cluster.admin.create_topics([NewTopic(mirror, 1, 1)], operation_timeout=30)[mirror].result(30)
    cluster.consume(dead_letter_topic=mirror)
    cluster.wait_until_taken_in()
    found = cluster.indexed()
    assert {"own-id", "tx1", "tx3"} < set(found)
    assert "tx2" not in found
    assert len(found) == 5
    (books,) = [books for books in cluster.check_books().books if books.partition == 0]
    assert (books.taken_in, books.indexed, books.dead_letters, books.gaps) == (11, 5, 2, 4)
    letters = cluster.run("dead-letters", "list", "--form", "ndjson")
    codes = [json.loads(line)["code"] for line in letters.stdout.splitlines()]
    assert len(codes) == 2
    assert "null-value" in codes
    with closing(KafkaLog(KafkaOptions(cluster.brokers, mirror), log_number=lambda _: 1)) as log:
        copies = [copy for copy in log.read(0, 0, 10, 1 << 20) if isinstance(copy, Record)]
    assert [(copy.key, copy.value) for copy in copies] == [(None, b"no event at all \xff"), (b"tombstone", None)]
    assert [(copy.header(PREFIX + "code") or b"").decode() for copy in copies] == codes
    assert [copy.header(PREFIX + "position") for copy in copies] == [b"1/0/3", b"1/0/4"]
    cluster.admin.delete_topics([mirror], operation_timeout=30)[mirror].result(30)
