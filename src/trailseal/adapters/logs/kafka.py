"""The log of the cluster profile: one Kafka topic."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from trailseal.adapters.logs.kafka_connection import KafkaOptions
from trailseal.adapters.logs.kafka_group import GroupMember
from trailseal.adapters.logs.kafka_identity import Identity, Topic
from trailseal.adapters.logs.kafka_producer import Appender
from trailseal.adapters.logs.kafka_reading import Place, Reader, Readers
from trailseal.adapters.logs.kafka_subscription import KafkaSubscription
from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.model.record import Gap, NewRecord, Position, Record
from trailseal.ports.log import Bounds

_FIRST_EPOCH = 1
_FEW: Final = 100
"""Records up to which a read is taken for one of a kind: nothing is fetched ahead for the next."""
_NEAR: Final = 64
"""Offsets between two wanted records that are read past rather than jumped over."""
_RUN_BYTES: Final = 4 << 20


class KafkaLog:
    """`EventLog` on a topic that `kafka_topics.ensure_topic` made or checked.

    Nothing is asked of Kafka before it is needed: processes start, and say what is wrong, while it is down.

    Args:
        options: where, and how much at once.
        log_number: the ledger's number of an origin.
        epoch: the epoch of the log, by cluster and topic id (`kafka/CLUSTER/TOPIC`).
        read_only: whether appending and following are refused.
    """

    def __init__(
        self,
        options: KafkaOptions,
        *,
        log_number: Callable[[str], int],
        epoch: Callable[[str], int] = lambda _: _FIRST_EPOCH,
        read_only: bool = False,
    ) -> None:
        self._options, self._log_number, self._read_only = options, log_number, read_only
        self._identity = Identity(options, epoch)
        self._numbers: dict[str, int] = {}
        self._readers = Readers(options)
        self._lock = threading.Lock()
        self._appender: Appender | None = None
        self._subscriptions: list[KafkaSubscription] = []
        self._closed = False

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        return self._identity.topic().origin

    def append(self, records: Sequence[NewRecord], partition: int | None = None) -> list[Position]:
        """See `EventLog.append`; not all or nothing."""
        self._refuse_writes()
        if not records:
            return []
        topic = self._identity.topic()
        log = self._number(topic)
        return [Position(log, *place) for place in self._writer().append(records, topic.partitions, partition)]

    def partitions(self) -> tuple[int, ...]:
        """See `EventLog.partitions`."""
        return self._identity.topic().partitions

    def bounds(self, partition: int) -> Bounds:
        """See `EventLog.bounds`; a transaction under way is not part of the log yet."""
        with self._readers.reader() as reader:
            return reader.bounds(partition)

    def retention_s(self) -> float | None:
        """See `EventLog.retention_s`: the topic's ``retention.ms``."""
        return self._identity.retention().kept_s

    def forgets_within_s(self) -> float | None:
        """See `EventLog.forgets_within_s`: retention drops whole segments, the newest record's age decides."""
        return self._identity.retention().gone_s

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """See `EventLog.read`."""
        topic = self._identity.topic()
        log = self._number(topic)
        with self._readers.reader((topic.base, partition, start), ahead=max_records > _FEW) as reader:
            bounds = reader.bounds(partition)
            if start >= bounds.next or max_records < 1:
                return []
            items: list[Record | Gap] = []
            if start < bounds.first:
                items.append(Gap.between(Position(log, partition, start), bounds.first))
                start = items[0].end
            if start >= bounds.first:
                place = (topic.base, partition, start)
                items += reader.read(log, place, bounds.next, max_records - len(items), max_bytes)
            self._still(topic)
        return items

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `RecordSource.fetch`; costs about a millisecond for each run of neighbours."""
        topic = self._identity.topic()
        if not {position.partition for position in positions} <= set(topic.partitions):
            topic = self._identity.ask()
        log = self._number(topic)
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for position in positions:
            if position.log == log and position.partition in topic.partitions:
                wanted[position.partition].add(position.offset)
        found: dict[Position, Record] = {}
        if wanted:
            with self._readers.reader() as reader:
                for partition, offsets in wanted.items():
                    bounds = reader.bounds(partition)
                    for run in _runs(sorted(one for one in offsets if bounds.first <= one < bounds.next)):
                        for record in _read_run(reader, log, (topic.base, partition, run[0]), bounds.next, run[-1]):
                            if record.position.offset in offsets:
                                found[record.position] = record
                reader.rest()
                self._still(topic)
        return [found.get(position) for position in positions]

    def _look(self, partition: int, start: int) -> Record | Gap | None:
        """The first thing from an offset on."""
        return next(iter(self.read(partition, start, 1, _RUN_BYTES)), None)

    def _still(self, topic: Topic) -> None:
        """Make sure, after records were fetched, that they are this topic's."""
        try:
            self._identity.check(topic)
        except PipelineFault as error:
            raise Unavailable("The topic was made anew while it was read.") from error

    def subscribe(self, group: str) -> KafkaSubscription:
        """See `EventLog.subscribe`."""
        self._refuse_writes()
        topic = self._identity.ask()
        member = GroupMember(self._options, group, lambda: self._identity.check(topic))
        subscription = KafkaSubscription(
            self._options.topic, self._number(topic), member, bounds=self.bounds, look=self._look
        )
        self._subscriptions.append(subscription)
        return subscription

    def close(self) -> None:
        """See `EventLog.close`."""
        with self._lock:
            self._closed = True
            appender = self._appender
        for subscription in self._subscriptions:
            subscription.close()
        if appender is not None:
            appender.close()
        self._readers.close()

    def _number(self, topic: Topic) -> int:
        origin = topic.origin
        number = self._numbers.get(origin)
        if number is None:
            number = self._numbers[origin] = self._log_number(origin)
        return number

    def _writer(self) -> Appender:
        with self._lock:
            if self._closed:
                raise Unavailable("This log is closed.")
            if self._appender is None:
                self._appender = Appender(self._options)
            return self._appender

    def _refuse_writes(self) -> None:
        if self._read_only:
            raise UsageError("This log was opened for reading only.")


def _runs(offsets: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ascending offsets in runs of near neighbours."""
    begin = 0
    for place in range(1, len(offsets) + 1):
        if place == len(offsets) or offsets[place] - offsets[place - 1] > _NEAR:
            yield offsets[begin:place]
            begin = place


def _read_run(reader: Reader, log: int, place: Place, end: int, last: int) -> Iterator[Record]:
    """The records from a place up to an offset, that one included."""
    base, partition, at = place
    while at <= last:
        for item in reader.read(log, (base, partition, at), end, last + 1 - at, _RUN_BYTES):
            at = item.end
            if isinstance(item, Record):
                yield item
