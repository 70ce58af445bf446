"""The topic as the log: the contract on the real broker, and what only Kafka can get wrong."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import ClassVar

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from conformance.log_contract import MEGABYTES, Follower, LogContract, RecordSourceContract
from servers.deployment import free_port
from servers.raw_kafka import produce_with_header_name
from servers.waiting import eventually
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.adapters.logs.kafka_subscription import KafkaSubscription
from trailseal.adapters.logs.kafka_topic_plan import TopicPlan
from trailseal.adapters.logs.kafka_topics import ensure_topic
from trailseal.errors import InvalidEvent, Overloaded, PipelineFault, Unavailable
from trailseal.formats import decode_record
from trailseal.model.record import HEADER_ID, HEADER_UNREADABLE, Gap, NewRecord, Record
from trailseal.ports.log import Assigned, Records

PARTITIONS = 3


@pytest.fixture(scope="module")
def admin(kafka_servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_servers})


@pytest.fixture
def options(kafka_servers: str, admin: AdminClient) -> Iterator[KafkaOptions]:
    """A topic of its own."""
    name = f"t-{secrets.token_hex(6)}"
    ensure_topic({"bootstrap.servers": kafka_servers}, TopicPlan(name, partitions=PARTITIONS))
    yield KafkaOptions(kafka_servers, name)
    admin.delete_topics([name])[name].result(30)


def open_log(options: KafkaOptions) -> KafkaLog:
    """The topic, as log number 7."""
    return KafkaLog(options, log_number=lambda _origin: 7)


@pytest.fixture
def opened(options: KafkaOptions) -> Iterator[Callable[[], KafkaLog]]:
    """Opens handles that are closed when the test ends."""
    with ExitStack() as stack:

        def open_one() -> KafkaLog:
            log = open_log(options)
            stack.callback(log.close)
            return log

        yield open_one


@pytest.fixture
def log(opened: Callable[[], KafkaLog]) -> KafkaLog:
    return opened()


class TestContract(LogContract, RecordSourceContract):
    atomic_append: ClassVar[bool] = False
    retention_makes_gaps: ClassVar[bool] = True
    nul_in_names: ClassVar[bool] = False
    deadline_s: ClassVar[float] = 60.0
    examples: ClassVar[int] = 8

    @pytest.fixture
    def log(self, opened: Callable[[], KafkaLog]) -> KafkaLog:
        return opened()

    @pytest.fixture
    def second(self, opened: Callable[[], KafkaLog]) -> Callable[[], KafkaLog]:
        return opened

    @pytest.fixture
    def after_crash(self, opened: Callable[[], KafkaLog]) -> Callable[[], KafkaLog]:
        return opened

    @pytest.fixture
    def drop_before(self, admin: AdminClient, options: KafkaOptions) -> Callable[[int, int], None]:
        def drop(partition: int, offset: int) -> None:
            place = TopicPartition(options.topic, partition, offset)
            for done in admin.delete_records([place]).values():
                done.result(30)

        return drop


def test_a_tenants_records_go_where_javas_clients_send_them(log: KafkaLog) -> None:
    # Hashes from the tests of Kafka's own Utils.murmur2.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    positions = log.append([NewRecord(b"{}", key) for key in hashes])
    assert [at.partition for at in positions] == [(value & 0x7FFFFFFF) % PARTITIONS for value in hashes.values()]


def test_the_only_tenant_is_spread_by_id_and_a_retry_meets_itself(log: KafkaLog) -> None:
    records = [NewRecord(b"{}", b"default", ((HEADER_ID, b"e%d" % n),)) for n in range(60)]
    first, second = log.append(records), log.append(records)
    assert {at.partition for at in first} == set(range(PARTITIONS))
    assert [at.partition for at in first] == [at.partition for at in second]


def test_single_records_are_found_wherever_they_stand_and_what_is_gone_is_none(
    log: KafkaLog, options: KafkaOptions, admin: AdminClient
) -> None:
    places = log.append([NewRecord(b"x" * size, b"key") for size in (10, 900_000, 10)] * 60)
    partition = places[0].partition
    wanted = [places[at] for at in (170, 1, 5, 100, 4, 101)]
    found = log.fetch(wanted)
    assert [one and one.position for one in found] == wanted
    assert [len(one.value or b"") for one in found if one] == [10, 900_000, 10, 900_000, 900_000, 10]

    place = TopicPartition(options.topic, partition, places[100].offset)
    for done in admin.delete_records([place]).values():
        done.result(30)
    assert [one and one.position for one in log.fetch(wanted)] == [
        at if at.offset >= place.offset else None for at in wanted
    ]


def test_transactions_leave_gaps_also_at_the_end(log: KafkaLog, options: KafkaOptions) -> None:
    producer = Producer({"bootstrap.servers": options.brokers, "transactional.id": options.topic})
    producer.init_transactions()
    for value, commit in ((b"kept", True), (b"dropped", False)):
        producer.begin_transaction()
        producer.produce(options.topic, value, partition=0)
        producer.flush()
        assert log.bounds(0).next == (0 if commit else 2)  # what is under way is not part of the log yet
        (producer.commit_transaction if commit else producer.abort_transaction)()
    items = log.read(0, 0, 10, MEGABYTES)
    assert [item.value if isinstance(item, Record) else item.count for item in items] == [b"kept", 3]
    follower = Follower(log.subscribe("readers"), 60.0)
    follower.own(log)
    follower.seek(dict.fromkeys(range(PARTITIONS), 0))
    follower.until(lambda: sum(item.count for item in follower.items[0] if isinstance(item, Gap)) == 3)
    assert follower.items == {0: items}


def test_headers_that_no_client_can_read_are_said_to_be_so(log: KafkaLog, options: KafkaOptions) -> None:
    produce_with_header_name(options.brokers, options.topic, b"{}", b"\xff\xfe")
    (found,) = log.read(0, 0, 10, MEGABYTES)
    assert isinstance(found, Record)
    assert (found.value, found.headers) == (b"{}", ((HEADER_UNREADABLE, None),))
    with pytest.raises(InvalidEvent) as refusal:
        decode_record(found, log.origin)
    assert refusal.value.problem.code == "unreadable-headers"


def test_a_topic_made_anew_is_another_log_and_its_records_are_never_delivered_as_the_old_ones(
    log: KafkaLog, options: KafkaOptions, admin: AdminClient
) -> None:
    before = log.origin
    log.append([NewRecord(b"old", b"key", ()) for _ in range(5)])
    follower = Follower(log.subscribe("readers"), 60.0)
    follower.own(log)
    follower.seek(dict.fromkeys(range(PARTITIONS), 0))
    follower.collect(5)
    admin.delete_topics([options.topic], operation_timeout=30)[options.topic].result(30)
    ensure_topic({"bootstrap.servers": options.brokers}, TopicPlan(options.topic, partitions=PARTITIONS))
    producer = Producer({"bootstrap.servers": options.brokers})
    for n in range(60):
        producer.produce(options.topic, b"new", partition=n % PARTITIONS)
    producer.flush()

    def poll_on() -> bool:
        with suppress(Unavailable):  # between the two topics there is none
            follower.step()
        return False

    with pytest.raises(PipelineFault, match="epoch new"):
        eventually(poll_on, 60)
    assert {record.value for record in follower.records()} == {b"old"}
    eventually(lambda: log.origin != before)
    (at,) = log.append([NewRecord(b"later", b"key")])
    assert log.read(at.partition, at.offset, 1, MEGABYTES)[0].position == at


def test_more_than_may_wait_is_refused_as_a_whole(options: KafkaOptions) -> None:
    small = replace(options, waiting_records=10)
    with closing(open_log(small)) as log, ThreadPoolExecutor(8) as threads:

        def append(_: int) -> bool:
            try:
                log.append([NewRecord(b"v" * 1000, b"k")] * 8)
            except Overloaded:
                return False
            return True

        taken = list(threads.map(append, range(200)))
        assert log.append([NewRecord(b"v", b"k")] * 100)  # one call alone is never too much
        found = sum(len(log.read(partition, 0, 10_000, MEGABYTES)) for partition in range(PARTITIONS))
    assert not all(taken)
    assert found == 8 * sum(taken) + 100


def test_no_broker_is_unavailable_and_so_said(options: KafkaOptions) -> None:
    away = replace(options, brokers=f"127.0.0.1:{free_port()}")
    with closing(open_log(away)) as log, pytest.raises(Unavailable, match=away.brokers):
        log.append([NewRecord(b"v", b"k")])


def test_appending_waits_for_no_ledger_once_it_was_asked(options: KafkaOptions) -> None:
    asked, answer = threading.Event(), threading.Event()
    epochs = iter([3])

    def epoch(_: str) -> int:
        known = next(epochs, None)
        if known is None:
            asked.set()
            answer.wait(60)
        return known or 4

    with closing(KafkaLog(options, log_number=lambda _: 7, epoch=epoch)) as log:
        log.append([NewRecord(b"before", b"key")])
        log._identity._known_at = float("-inf")
        log.append([NewRecord(b"meanwhile", b"key")])
        assert asked.wait(60)
        log._identity._known_at = float("-inf")
        log.append([NewRecord(b"still", b"key")])
        assert log.origin.endswith("/3")
        answer.set()
        eventually(lambda: log.origin.endswith("/4"))


def _assigned(subscription: KafkaSubscription) -> None:
    eventually(lambda: isinstance(subscription.poll(100, 0.5), Assigned), 60)


def _delivered(subscription: KafkaSubscription, count: int) -> list[Record | Gap]:
    """The first so many items."""
    items: list[Record | Gap] = []

    def more() -> bool:
        delivery = subscription.poll(100, 0.5)
        items.extend(delivery.items if isinstance(delivery, Records) else ())
        return len(items) >= count

    eventually(more, 60)
    return items


@pytest.mark.parametrize("start", [0, 4])
def test_a_client_that_stands_elsewhere_makes_no_gap_of_records(log: KafkaLog, start: int) -> None:
    """It was seen to begin at the end, although it was told to begin before."""
    log.append([NewRecord(b"%d" % number) for number in range(10)], 1)
    subscription = log.subscribe("astray")
    _assigned(subscription)
    subscription.seek(1, start)
    subscription._member.start(1, 10)
    items = _delivered(subscription, 10 - start)
    assert [(type(item), item.position.offset) for item in items] == [(Record, at) for at in range(start, 10)]


def test_a_client_that_goes_astray_on_its_way_makes_no_gap_of_records(log: KafkaLog) -> None:
    log.append([NewRecord(b"%d" % number) for number in range(10)], 1)
    subscription = log.subscribe("astray")
    _assigned(subscription)
    subscription.seek(1, 0)
    assert len(_delivered(subscription, 10)) == 10
    subscription._member.start(1, 13)
    log.append([NewRecord(b"%d" % number) for number in range(10, 15)], 1)
    items = _delivered(subscription, 5)
    assert [(type(item), item.position.offset) for item in items] == [(Record, at) for at in range(10, 15)]


def test_where_partitions_are_taken_up_at_once_each_begins_where_it_was_told_to(options: KafkaOptions) -> None:
    """Several at a time, and again: the first answer of the client's own must not overtake the seek."""
    with closing(open_log(options)) as writing:
        for number in range(PARTITIONS):
            writing.append([NewRecord(b"x")] * 20, number)
    for turn in range(8):
        with closing(open_log(options)) as log:
            subscription = log.subscribe(f"turn-{turn}")
            delivery = subscription.poll(100, 60)
            while not isinstance(delivery, Assigned):
                delivery = subscription.poll(100, 60)
            for number in delivery.partitions:
                subscription.seek(number, 5 + number)
            items = _delivered(subscription, sum(15 - number for number in range(PARTITIONS)))
            assert not any(isinstance(item, Gap) for item in items)
