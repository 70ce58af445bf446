"""One member of a consumer group, in a thread of its own, so that a rebalance can wait until work is finished.

Kafka tells of a rebalance in a callback inside `consume`, and takes a partition away when the callback returns. The
pipeline wants to finish and commit first, and must not be called back; so this thread sits in the callback while
the poll thread drains. It reads one delivery ahead, and stops reading when nobody takes deliveries any more: then
the group finds out, as it should.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from trailseal.adapters.logs.kafka_connection import KafkaOptions, translate, translated, wrong_property
from trailseal.errors import PipelineFault, TrailsealError, Unavailable
from trailseal.ports.log import Assigned, Lost, Revoked

_SLICE_S: Final = 0.02
_AT_ONCE: Final = 5_000
_LOOK_S: Final = 5.0
_RETRY_S: Final = 0.5
_SILENT_S: Final = 120.0
"""Seconds without a poll after which this member stops showing signs of life."""
_MOST_S: Final = 300_000
_CLOSING_S: Final = 30.0
_END_S: Final = 2.0
_HARMLESS = (
    KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001 - a constant; it is followed by Lost
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Messages in log order per partition, fetched after so many commands were carried out."""

    messages: list[Message]
    after: int


Arrival = Fetched | Assigned | Revoked | Lost | TrailsealError


class GroupMember:
    """See the module. The poll thread calls it; `wake` and `close` may come from any thread.

    Args:
        options: where the topic is.
        group: the group's name.
        check: raises `PipelineFault` where the topic is not the one it was, `Unavailable` where nobody knows.
    """

    def __init__(self, options: KafkaOptions, group: str, check: Callable[[], None]) -> None:
        self._options, self._check = options, check
        self._changed = threading.Condition()
        self._arrivals: deque[Arrival] = deque()
        self._commits: dict[int, int] = {}
        self._commands: deque[tuple[int, int, int | None]] = deque()
        self._given = 0
        self._done = 0
        self._assigned: set[int] = set()
        self._stuck: set[int] = set()
        self._finishing = False
        self._closing = False
        self._woken = False
        self._polled_at = time.monotonic()
        self._checked_at = float("-inf")
        self._consumer = self._make(group)
        self._thread = threading.Thread(target=self._run, name="kafka-group", daemon=True)
        self._thread.start()

    def take(self, wait_s: float) -> Arrival | None:
        """The next arrival, or None after that time, a `wake` or a `close`.

        Raises:
            PipelineFault: nothing will arrive any more.
        """
        with self._changed:
            self._polled_at = time.monotonic()
            self._changed.wait_for(lambda: self._arrivals or self._woken or self._closing, wait_s)
            self._polled_at = time.monotonic()
            if not self._arrivals or self._closing:
                self._woken = False
                if self._thread.is_alive() or self._closing:
                    return None
                raise PipelineFault("Following Kafka ended by itself. Start again, and report it.")
            arrival = self._arrivals.popleft()
            self._changed.notify_all()
        return arrival

    def finished(self) -> None:
        """What was to be finished before partitions go is finished."""
        with self._changed:
            self._finishing = False
            self._changed.notify_all()

    def start(self, partition: int, offset: int) -> int:
        """Fetch from that offset on; `Fetched.after` of what comes from there is at least the answer."""
        return self._command(partition, offset)

    def stop(self, partition: int) -> None:
        """Fetch nothing of it."""
        self._command(partition, None)

    def commit(self, offsets: dict[int, int]) -> None:
        """Store the group's offsets soon; at the latest before partitions go."""
        with self._changed:
            self._commits.update(offsets)

    def wake(self) -> None:
        """End a `take` that waits, or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Leave the group. Twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSING_S)

    def _make(self, group: str) -> Consumer:
        options = self._options
        properties = options.properties(
            group_id=group,
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            auto_offset_reset="error",
            isolation_level="read_committed",
            check_crcs=True,
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=int(options.session_timeout_s * 1000),
            heartbeat_interval_ms=max(500, min(3000, int(options.session_timeout_s * 300))),
            max_poll_interval_ms=_MOST_S,
            enable_partition_eof=True,
            queued_min_messages=20_000,
            queued_max_messages_kbytes=32 << 10,
            fetch_queue_backoff_ms=10,
            topic_metadata_refresh_interval_ms=30_000,
        )
        try:
            return Consumer(properties)
        except KafkaException as error:
            raise wrong_property(error) from error

    def _command(self, partition: int, offset: int | None) -> int:
        with self._changed:
            self._given += 1
            self._commands.append((self._given, partition, offset))
            self._changed.notify_all()
            return self._given

    # -- the member's own thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_trying(self._subscribe)
            while not self._closing:
                self._keep_trying(self._turn)
        except TrailsealError as error:
            self._arrive(error)
        except Exception as error:  # noqa: BLE001 - the poll thread has to hear of it, whatever it is
            self._arrive(PipelineFault(f"Following Kafka broke: {type(error).__name__}: {error}. Report it."))
        finally:
            self._store_commits()
            self._consumer.close()

    def _keep_trying(self, step: Callable[[], None]) -> None:
        """Do it; what passes by itself is told and waited out."""
        while not self._closing:
            try:
                step()
            except Unavailable as error:
                self._arrive(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _RETRY_S)
                continue
            return

    def _subscribe(self) -> None:
        with translated(self._options, "be followed"):
            self._consumer.subscribe(
                [self._options.topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )

    def _turn(self) -> None:
        with self._changed:
            self._changed.wait_for(self._may_read, _LOOK_S)
            if not self._may_read() or self._closing:
                return
        self._carry_out()
        self._store_commits()
        after = self._done
        with translated(self._options, "be followed"):
            messages = self._consumer.consume(_AT_ONCE, 0) or self._consumer.consume(1, _SLICE_S)
        now = time.monotonic()
        if messages or now - self._checked_at >= _LOOK_S:
            self._make_sure()
        placed = [message for message in messages if self._concerns_a_partition(message)]
        if placed:
            self._arrive(Fetched(placed, after))

    def _may_read(self) -> bool:
        """Nothing waits to be taken, and somebody takes."""
        ahead = any(isinstance(arrival, Fetched) for arrival in self._arrivals)
        return self._closing or not (ahead or time.monotonic() - self._polled_at > _SILENT_S)

    def _make_sure(self) -> None:
        """What was fetched is of the topic we knew; where nobody can say, it waits."""
        self._keep_trying(self._check)
        self._checked_at = time.monotonic()

    def _concerns_a_partition(self, message: Message) -> bool:
        problem = message.error()
        if problem is None or problem.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a constant
            return True
        if problem.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the same
            self._stuck.add(message.partition() or 0)
            return True
        if problem.fatal():
            raise PipelineFault(f"Kafka's client cannot go on ({problem.name()}): {problem.str()}. Start again.")
        if problem.code() not in _HARMLESS:
            self._arrive(translate(problem, self._options, "be followed"))
        return False

    def _carry_out(self) -> None:
        while self._commands:
            number, partition, offset = self._commands[0]
            if partition in self._assigned and not self._placed(partition, offset):
                return
            with self._changed:
                self._commands.popleft()
                self._done = number

    def _store_commits(self) -> None:
        """Not waiting for the answer; in this thread, since the client lets no other commit while it consumes."""
        with self._changed:
            commits, self._commits = self._commits, {}
        topic = self._options.topic
        places = [TopicPartition(topic, partition, offset) for partition, offset in commits.items()]
        if places:
            with suppress(KafkaException):
                self._consumer.commit(offsets=places, asynchronous=True)

    def _placed(self, partition: int, offset: int | None) -> bool:
        """Whether the client did it; just after an assignment it may not be able to yet."""
        topic = self._options.topic
        try:
            if offset is None:
                self._consumer.pause([TopicPartition(topic, partition)])
            elif partition in self._stuck:
                # After an offset out of range the client has given the partition up, and a seek revives nothing.
                self._consumer.incremental_unassign([TopicPartition(topic, partition)])
                self._consumer.incremental_assign([TopicPartition(topic, partition, offset)])
                self._stuck.discard(partition)
            else:
                self._consumer.seek(TopicPartition(topic, partition, offset))
                self._consumer.resume([TopicPartition(topic, partition)])
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - a constant
                raise translate(error.args[0], self._options, "be followed") from error
            return False
        return True

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Take them, paused: where to begin is the ledger's to say, and no offset of the group's."""
        _wait_at_the_end(consumer, places)
        consumer.incremental_assign(places)
        if not places:
            return
        consumer.pause(places)
        numbers = _numbers(places)
        self._assigned.update(numbers)
        self._stuck.difference_update(numbers)
        self._arrive(Assigned(numbers))

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        numbers = _numbers(places)
        if numbers:
            with self._changed:
                self._finishing = True
                self._arrivals.append(Revoked(numbers))
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closing or not self._finishing, _SILENT_S)
            self._assigned.difference_update(numbers)
            self._store_commits()
        consumer.incremental_unassign(places)

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        numbers = _numbers(places)
        self._assigned.difference_update(numbers)
        consumer.incremental_unassign(places)
        if numbers:
            self._arrive(Lost(numbers))

    def _arrive(self, arrival: Arrival) -> None:
        with self._changed:
            last = self._arrivals[-1] if self._arrivals else None
            if not (isinstance(arrival, Unavailable) and isinstance(last, Unavailable)):
                self._arrivals.append(arrival)
            self._changed.notify_all()


def _wait_at_the_end(consumer: Consumer, places: list[TopicPartition]) -> None:
    """Have the client begin where nothing is, until it is told where to begin.

    By a number: for a name like "the end" it asks the broker beside everything else, and an answer that comes after
    our seek undoes it. Where no broker tells, the first offset does.
    """
    for place in places:
        place.offset = 0
    with suppress(KafkaException):
        for place in places:
            _, end = consumer.get_watermark_offsets(place, timeout=_END_S)
            place.offset = max(int(end), 0)


def _numbers(places: Iterable[Any]) -> tuple[int, ...]:
    return tuple(sorted(place.partition for place in places))
