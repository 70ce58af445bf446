"""The topic as the log: the contract on the real broker, and what only Kafka can get wrong."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import ClassVar

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from conformance.log_contract import LogContract
from trailseal.adapters.logs.kafka import KafkaLog
from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.adapters.logs.kafka_topic_plan import TopicPlan
from trailseal.adapters.logs.kafka_topics import ensure_topic

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


class TestContract(LogContract):
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
