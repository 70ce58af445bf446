"""Reading stretches of a partition outside any group: a few consumers, each at the place where it stopped."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from trailseal.adapters.logs.kafka_connection import ANSWER_S, KafkaOptions, translate, translated, wrong_property
from trailseal.adapters.logs.kafka_messages import record_of
from trailseal.errors import Unavailable
from trailseal.model.record import Gap, Position, Record
from trailseal.ports.log import Bounds

_PATIENCE_S: Final = 30.0
_SLICE_S: Final = 0.1
_AT_ONCE: Final = 2_000
_KEPT: Final = 4
_FEW_BYTES: Final = 32 << 10
_FEW_WAIT_MS: Final = 10


Place = tuple[str, int, int]
"""The topic (`Topic.base`), the partition, the next offset."""


class Reader:
    """One consumer that is assigned by hand. Used by one thread at a time.

    Args:
        options: where.
        ahead: whether to fetch what comes after what was asked for. Whoever reads on and on wants it; whoever wants
            a record here and there would wait for megabytes that nobody reads.
    """

    def __init__(self, options: KafkaOptions, *, ahead: bool) -> None:
        self._options, self.ahead = options, ahead
        much = {"queued_min_messages": 2_000, "fetch_wait_max_ms": 100}
        little = {
            "queued_min_messages": 1,
            "fetch_wait_max_ms": _FEW_WAIT_MS,
            "fetch_message_max_bytes": _FEW_BYTES,
        }
        properties = options.properties(
            group_id="trailseal-readers",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            auto_offset_reset="error",
            isolation_level="read_committed",
            check_crcs=True,
            enable_partition_eof=True,
            queued_max_messages_kbytes=16 << 10,
            fetch_queue_backoff_ms=10,
            **(much if ahead else little),
        )
        try:
            self._consumer = Consumer(properties)
        except KafkaException as error:
            raise wrong_property(error) from error
        self._fetched: deque[Message] = deque()
        self.place: Place | None = None

    def bounds(self, partition: int) -> Bounds:
        """See `EventLog.bounds`; the end is that of finished transactions."""
        with translated(self._options, "tell a partition's bounds"):
            first, following = self._consumer.get_watermark_offsets(
                TopicPartition(self._options.topic, partition), timeout=ANSWER_S
            )
        return Bounds(first, following)

    def read(self, log: int, place: Place, end: int, most: int, max_bytes: int) -> list[Record | Gap]:
        """Records and gaps from the place on, at most ``most``, until ``end`` or ``max_bytes`` is passed."""
        base, partition, start = place
        if self.place != place:
            self._go_to(partition, start)
        items: list[Record | Gap] = []
        at, size = start, 0
        deadline = time.monotonic() + _PATIENCE_S
        while at < end and len(items) < most:
            message = self._next(deadline)
            deadline = time.monotonic() + _PATIENCE_S
            offset = message.offset()
            if offset is None or offset < at:
                continue
            if offset > at:
                hole = Gap.between(Position(log, partition, at), offset)
                items.append(hole)
                at = hole.end
                if message.error() is None or at < offset:
                    self._fetched.appendleft(message)
                if at < offset:
                    break
                continue
            if message.error() is not None:
                continue
            size += len(message.value() or b"")
            if items and size > max_bytes:
                self._fetched.appendleft(message)
                break
            items.append(record_of(message, log))
            at += 1
        self.place = (base, partition, at)
        if at >= end:
            self.rest()
        return items

    def rest(self) -> None:
        """Fetch nothing more until the next read."""
        self.place = None
        self._fetched.clear()
        with suppress(KafkaException):
            self._consumer.unassign()

    def close(self) -> None:
        """Release its connections."""
        self._consumer.close()

    def _go_to(self, partition: int, start: int) -> None:
        self.rest()
        with translated(self._options, "be read"):
            self._consumer.assign([TopicPartition(self._options.topic, partition, start)])

    def _next(self, deadline: float) -> Message:
        """The next record, or the sign that the partition ends here."""
        while not self._fetched:
            with translated(self._options, "be read"):
                self._fetched.extend(self._consumer.consume(_AT_ONCE, 0) or self._consumer.consume(1, _SLICE_S))
            if not self._fetched and time.monotonic() > deadline:
                raise Unavailable(f"Kafka at {self._options.brokers} sent no records in time.")
        message = self._fetched.popleft()
        problem = message.error()
        if problem is not None and problem.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - a constant
            raise translate(problem, self._options, "be read")
        return message


class Readers:
    """The readers of one log, made as they are needed. Any thread."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._free: list[Reader] = []
        self._closed = False

    @contextmanager
    def reader(self, place: Place | None = None, *, ahead: bool = False) -> Iterator[Reader]:
        """A reader of one's own for a while: one that stands at that place, else one of that kind."""
        reader = self._take(place, ahead=ahead)
        try:
            yield reader
        except BaseException:
            reader.rest()
            raise
        finally:
            self._give_back(reader)

    def close(self) -> None:
        """Close those that are free, and each other one when it is given back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for reader in free:
            reader.close()

    def _take(self, place: Place | None, *, ahead: bool) -> Reader:
        with self._lock:
            if self._closed:
                raise Unavailable("This log is closed.")
            alike = [one for one in self._free if one.ahead is ahead]
            best = next((one for one in self._free if place is not None and one.place == place), None)
            best = best or next((one for one in alike if one.place is None), None)
            best = best or (alike[0] if len(alike) >= _KEPT else None)
            if best is not None:
                self._free.remove(best)
                return best
        return Reader(self._options, ahead=ahead)

    def _give_back(self, reader: Reader) -> None:
        with self._lock:
            keep = not self._closed and sum(one.ahead is reader.ahead for one in self._free) < _KEPT
            if keep:
                self._free.append(reader)
        if not keep:
            reader.close()
