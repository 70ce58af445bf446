"""`trailseal consume` as real processes on the real servers: who joins, leaves and dies, and what the books say."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from servers.deployment import Deployment, Process, deployment
from servers.load import Load, record
from servers.waiting import eventually
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.event_consumer.mirror import PREFIX
from trailseal.model.record import MAX_GAP, Record
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState

pytestmark = pytest.mark.timeout(300)


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
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ) * 200:  # Ctrl-C reaches a whole group, and its parent passes it on
        consumer.signal(number)
    assert consumer.exit_status() == 0, consumer.said()
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
    lost = 2 * MAX_GAP + 20
    for start in range(0, lost, 10_000):
        cluster.append([record("lost")] * min(10_000, lost - start))
    kept = cluster.append([record(f"e{n}") for n in range(10)])[0]
    for done in cluster.admin.delete_records([TopicPartition(cluster.topic, kept.partition, kept.offset)]).values():
        done.result(30)
    again = cluster.consume()
    cluster.wait_until_taken_in()
    assert cluster.indexed() == {"first": 1} | {f"e{n}": 1 for n in range(10)}
    result = cluster.check_books()
    assert sum(books.gaps for books in result.books) == lost
    rows = cluster.engines.ledger.outcomes(kept.log, kept.partition, 0, kept.offset, ("gap",))
    assert [row.count for row in rows] == [MAX_GAP, MAX_GAP, 20]
    assert "retention_overtook" in again.said()

    assert again.stop() == 0  # a long rest, during which retention removes all that there is: nothing is missing
    everything = [TopicPartition(cluster.topic, number, OFFSET_END) for number in range(cluster.partitions)]
    for done in cluster.admin.delete_records(everything).values():
        done.result(30)
    cluster.append([record("after-the-rest")])
    assert cluster.consume().alive
    cluster.wait_until_taken_in()
    assert cluster.indexed()["after-the-rest"] == 1
    assert sum(books.gaps for books in cluster.check_books().books) == lost


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
    old = [record(f"old{n}") for n in range(20)]
    at = cluster.append(old)
    cluster.wait_until_taken_in()
    cluster.delete_topic()
    cluster.make_topic()
    cluster.forget_engines()
    foreign = Producer({"bootstrap.servers": cluster.brokers})
    for again, place in zip(old[:5], at, strict=False):  # where they were: still no replay, for the log is another
        foreign.produce(cluster.topic, again.value, partition=place.partition)
    for n in range(60):
        foreign.produce(cluster.topic, record(f"new{n}").value, partition=n % cluster.partitions)
    foreign.flush()
    assert consumer.exit_status() == 2, consumer.said()
    assert "trailseal epoch new --reason" in consumer.said()
    assert set(cluster.indexed()) == {f"old{n}" for n in range(20)}

    second = cluster.consume(wait=False)
    assert second.exit_status() == 2
    assert "trailseal epoch new --reason" in second.said()

    done = cluster.run("epoch", "new", "--reason", "the topic was deleted by mistake")
    assert done.returncode == 0, done.stderr
    refused = cluster.run("epoch", "new", "--reason", "once more")
    assert refused.returncode == 2
    assert "no new epoch is needed" in refused.stderr

    cluster.forget_engines()
    after = cluster.consume()
    cluster.wait_until_taken_in()
    assert cluster.indexed() == {f"old{n}": 1 for n in range(20)} | {f"new{n}": 1 for n in range(60)}
    books = cluster.check_books().books
    assert {one.log for one in books} == {1, 2}
    assert sum(one.duplicates for one in books) == 5
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
    produce(json.dumps(plain | {"id": "same-key"}).encode(), key=b"\xff\x00")
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
    assert {"own-id", "same-key", "tx1", "tx3"} < set(found)
    assert "tx2" not in found
    assert len(found) == 6
    (books,) = [books for books in cluster.check_books().books if books.partition == 0]
    assert (books.taken_in, books.indexed, books.dead_letters, books.gaps) == (12, 6, 2, 4)
    letters = cluster.run("dead-letters", "list", "--form", "ndjson")
    codes = [json.loads(line)["code"] for line in letters.stdout.splitlines()]
    assert len(codes) == 2
    assert "null-value" in codes
    with closing(KafkaLog(KafkaOptions(cluster.brokers, mirror), log_number=lambda _: 1)) as log:
        copies = [copy for copy in log.read(0, 0, 10, 1 << 20) if isinstance(copy, Record)]
    assert [(copy.key, copy.value) for copy in copies] == [(None, b"no event at all \xff"), (b"tombstone", None)]
    assert [(copy.header(PREFIX + "code") or b"").decode() for copy in copies] == codes
    assert [copy.header(PREFIX + "position") for copy in copies] == [b"1/0/4", b"1/0/5"]
    cluster.admin.delete_topics([mirror], operation_timeout=30)[mirror].result(30)
