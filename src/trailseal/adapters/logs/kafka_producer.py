"""Appending to the topic: one idempotent producer, every call waits for the acknowledgements of its own records."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from zlib import crc32

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from trailseal.adapters.logs.kafka_connection import KafkaOptions, translate, wrong_property
from trailseal.errors import Overloaded, Unavailable, UsageError
from trailseal.model.record import HEADER_ID, NewRecord

_POLL_S: Final = 0.2
_FULL_S: Final = 0.02
_CLOSING_S: Final = 10.0
_GRACE_S: Final = 10.0
_ANY: Final = -1


class _Call:
    """One append: its records' places, filled in as brokers acknowledge them."""

    def __init__(self, count: int) -> None:
        self.places: list[tuple[int, int]] = [(0, 0)] * count
        self.problem: KafkaError | None = None
        self.done = threading.Event()
        self._left = count
        self._lock = threading.Lock()

    def delivered(self, number: int, problem: KafkaError | None, message: Message) -> None:
        """Called by librdkafka's poll with a record's fate."""
        if problem is None:
            self.places[number] = (message.partition() or 0, message.offset() or 0)
        self.settle(1, problem)

    def settle(self, count: int, problem: KafkaError | None) -> None:
        """So many records have their fate."""
        with self._lock:
            self._left -= count
            self.problem = self.problem or problem
            if self._left <= 0:
                self.done.set()


class Appender:
    """Produces with ``acks=all`` and bounded memory. Safe to use from many threads."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._spread = frozenset(tenant.encode() for tenant in options.spread)
        self._lock = threading.Lock()
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._closing = False
        self._ended = threading.Event()
        self._producer = self._make()
        self._thread = threading.Thread(target=self._serve, name="kafka-acknowledgements", daemon=True)
        self._thread.start()

    def append(
        self, records: Sequence[NewRecord], partitions: Sequence[int], partition: int | None = None
    ) -> list[tuple[int, int]]:
        """Partition and offset of each record, all acknowledged.

        Args:
            records: what to append.
            partitions: those of the topic.
            partition: where all of them go; None = each where its key says.

        Raises:
            Unavailable: some were not acknowledged in time; they may be in the log all the same.
            Overloaded: too much waits already; nothing was taken.
            PipelineFault: the topic refuses a legal record.
            UsageError: a header's name holds NUL; nothing was taken.
        """
        if any("\0" in name for record in records for name, _ in record.headers):
            raise UsageError("A header's name holds NUL, where Kafka's client would end it.")
        size = sum(len(record.value or b"") + len(record.key or b"") + 100 for record in records)
        producer = self._admit(len(records), size)
        try:
            call = _Call(len(records))
            places = [self._partition(record, partitions) if partition is None else partition for record in records]
            self._produce(producer, records, places, call)
            if not call.done.wait(self._options.delivery_timeout_s + _GRACE_S):
                raise Unavailable("Kafka acknowledged nothing for too long; some records may be in the log.")
        finally:
            with self._lock:
                self._waiting_records -= len(records)
                self._waiting_bytes -= size
        if call.problem is not None:
            self._replace_if_broken(producer, call.problem)
            raise translate(call.problem, self._options, "take records in")
        return call.places

    def close(self) -> None:
        """Finish what is under way, refuse what comes later."""
        with self._lock:
            self._closing = True
            producer = self._producer
        if producer.flush(_CLOSING_S):
            producer.purge()
            producer.flush(1.0)
        self._ended.set()
        self._thread.join()

    def _admit(self, count: int, size: int) -> Producer:
        options = self._options
        with self._lock:
            if self._closing:
                raise Unavailable("This log is closed.")
            full = (
                self._waiting_records + count > options.waiting_records
                or self._waiting_bytes + size > options.waiting_bytes
            )
            if self._waiting_records and full:
                raise Overloaded(
                    f"{self._waiting_records} records already wait for Kafka's acknowledgement; nothing was taken."
                )
            self._waiting_records += count
            self._waiting_bytes += size
            return self._producer

    def _produce(
        self, producer: Producer, records: Sequence[NewRecord], places: Sequence[int], call: _Call
    ) -> None:
        topic = self._options.topic
        for number, (record, place) in enumerate(zip(records, places, strict=True)):
            given: dict[str, Any] = {
                "key": record.key,
                "partition": place,
                "on_delivery": partial(call.delivered, number),
            }
            if record.headers:
                given["headers"] = list(record.headers)
            while True:
                try:
                    producer.produce(topic, record.value, **given)
                except BufferError:
                    producer.poll(_FULL_S)
                    continue
                except KafkaException as error:
                    call.settle(len(records) - number, error.args[0])
                    return
                break

    def _partition(self, record: NewRecord, partitions: Sequence[int]) -> int:
        """Chosen here only where a tenant is spread over all partitions; else by the key, as Java's clients do."""
        if record.key not in self._spread:
            return _ANY
        for name, value in record.headers:
            if name == HEADER_ID and value:
                return partitions[crc32(value) % len(partitions)]
        return partitions[crc32(record.value or b"") % len(partitions)]

    def _make(self) -> Producer:
        options = self._options
        properties = options.properties(
            acks="all",
            enable_idempotence=True,
            partitioner="murmur2_random",
            compression_type="lz4",
            linger_ms=1,
            delivery_timeout_ms=int(options.delivery_timeout_s * 1000),
            message_max_bytes=4 << 20,
            queue_buffering_max_messages=0,
            queue_buffering_max_kbytes=2 * (options.waiting_bytes >> 10),
        )
        try:
            return Producer(properties)
        except KafkaException as error:
            raise wrong_property(error) from error

    def _replace_if_broken(self, broken: Producer, problem: KafkaError) -> None:
        """A fatal error ends a producer for good, so the next append gets another one."""
        if not problem.fatal():
            return
        with self._lock:
            if self._producer is broken:
                self._producer = self._make()

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(_POLL_S)
