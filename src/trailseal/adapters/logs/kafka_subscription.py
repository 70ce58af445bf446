"""Following the topic as a member of a group: every offset once, holes as gaps, from the place the ledger says."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from trailseal.adapters.logs.kafka_group import Fetched, GroupMember
from trailseal.adapters.logs.kafka_messages import record_of
from trailseal.errors import PipelineFault, TrailsealError
from trailseal.model.record import MAX_GAP, Gap, Position, Record
from trailseal.ports.log import Assigned, Bounds, Delivery, Lost, Records, Revoked
from trailseal.telemetry import logger

_MARKER = 1
"""Offsets that the end of a transaction takes up; holes of that size are nothing to wonder at."""


@dataclass(slots=True)
class _Place:
    """Where one partition of ours stands.

    Attributes:
        next: the offset to deliver next, or None before the first seek.
        since: what was fetched before this many commands is not from that place; None while nothing is fetched.
        paused: deliver nothing.
        sure: what is fetched is known to come from there.
    """

    next: int | None = None
    since: int | None = None
    paused: bool = False
    sure: bool = False


class KafkaSubscription:
    """The topic's `Subscription`.

    Args:
        name: the topic, for messages.
        log: the log's number.
        member: of the group.
        bounds: tells what a partition holds.
        look: reads the first record or gap of a partition from an offset on, by a client of its own.
    """

    def __init__(
        self,
        name: str,
        log: int,
        member: GroupMember,
        *,
        bounds: Callable[[int], Bounds],
        look: Callable[[int, int], Record | Gap | None],
    ) -> None:
        self._name, self._log, self._member = name, log, member
        self._bounds, self._look = bounds, look
        self._places: dict[int, _Place] = {}
        self._fetched: deque[Message] = deque()
        self._after = 0
        self._going: tuple[int, ...] = ()
        self._closed = False

    def poll(self, max_records: int, wait_s: float) -> Delivery | None:
        """See `Subscription.poll`."""
        if self._going:
            self._let_go()
        deadline = time.monotonic() + wait_s
        while not self._closed:
            items = self._items(max_records)
            if items:
                return Records(tuple(items))
            arrival = self._member.take(max(0.0, deadline - time.monotonic()))
            match arrival:
                case None:
                    return None
                case Fetched(messages, after):
                    self._fetched.extend(messages)
                    self._after = after
                case Assigned(partitions):
                    self._places.update({number: _Place() for number in partitions})
                    return arrival
                case Revoked(partitions):
                    self._going = partitions
                    self._forget(partitions)
                    return arrival
                case Lost(partitions):
                    self._forget(partitions)
                    return arrival
                case TrailsealError():
                    raise arrival
        return None

    def seek(self, partition: int, offset: int) -> None:
        """See `Subscription.seek`; what retention removed above ``offset`` is delivered as a gap."""
        place = self._places.get(partition)
        if place is None:
            raise PipelineFault(f"Partition {partition} of the topic {self._name} is not assigned to this reader.")
        self._refuse_beyond(partition, offset, self._bounds(partition))
        place.next, place.since = offset, None
        if not place.paused:
            self._start(partition, place)

    def pause(self, partitions: Iterable[int]) -> None:
        """See `Subscription.pause`; what was fetched of them is fetched again later."""
        for number in partitions:
            place = self._places.get(number)
            if place is not None and not place.paused:
                place.paused, place.since = True, None
                self._member.stop(number)

    def resume(self, partitions: Iterable[int]) -> None:
        """See `Subscription.resume`."""
        for number in partitions:
            place = self._places.get(number)
            if place is not None and place.paused:
                place.paused = False
                if place.next is not None:
                    self._start(number, place)

    def commit(self, offsets: dict[int, int]) -> None:
        """See `Subscription.commit`."""
        self._member.commit(offsets)

    def wake(self) -> None:
        """See `Subscription.wake`."""
        self._member.wake()

    def close(self) -> None:
        """See `Subscription.close`."""
        self._closed = True
        self._member.close()

    def _let_go(self) -> None:
        self._going = ()
        self._member.finished()

    def _forget(self, partitions: tuple[int, ...]) -> None:
        for number in partitions:
            self._places.pop(number, None)

    def _start(self, partition: int, place: _Place) -> None:
        if place.next is not None:
            place.since, place.sure = self._member.start(partition, place.next), False

    def _items(self, most: int) -> list[Record | Gap]:
        items: list[Record | Gap] = []
        fetched, places, after, log = self._fetched, self._places, self._after, self._log
        while fetched and len(items) < most:
            message = fetched.popleft()
            partition, offset = message.partition() or 0, message.offset() or 0
            place = places.get(partition)
            if place is None or place.next is None or place.since is None or after < place.since:
                continue
            problem = message.error()
            if problem is not None and problem.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - a constant
                fetched.appendleft(message)  # it stays until the broker has said what it holds
                if items:
                    return items
                items += self._out_of_range(partition, place)
                continue
            if offset > place.next:
                fetched.appendleft(message)  # it stays until it is known that nothing lies before it
                if not place.sure or offset - place.next > _MARKER:
                    if items:
                        return items
                    items += self._checked_gap(partition, place, offset)
                    continue
                items.append(Gap(Position(log, partition, place.next), offset - place.next))
                place.next = offset
            elif problem is None and offset == place.next:
                items.append(record_of(message, log))
                place.next, place.sure = offset + 1, True
        return items

    def _checked_gap(self, partition: int, place: _Place, stop: int) -> list[Record | Gap]:
        """The hole from the place on, if there is one before ``stop``; else fetching begins anew from the place.

        The client's word is not enough: one that stands elsewhere than it was told to tells of holes as well, and
        whatever is called a hole is lost.
        """
        start = place.next or 0
        found = self._look(partition, start)
        end = min(stop, found.end) if isinstance(found, Gap) else start
        longer = isinstance(found, Gap) and found.count == MAX_GAP
        place.next, place.sure = end, not longer
        if end < stop and not longer:
            logger("kafka").warning("fetched_elsewhere", partition=partition, wanted=end, got=stop)
            self._start(partition, place)
        return [Gap(Position(self._log, partition, start), end - start)] if end > start else []

    def _out_of_range(self, partition: int, place: _Place) -> list[Record | Gap]:
        """The broker does not have the offset: retention overtook us, or the log is shorter than it was.

        Its word stays in front until all that is gone was delivered.
        """
        expected = place.next or 0
        bounds = self._bounds(partition)
        self._refuse_beyond(partition, expected, bounds)
        lost = Gap.between(Position(self._log, partition, expected), max(expected, bounds.first))
        place.next = lost.end
        if lost.end >= bounds.first:
            self._fetched.popleft()
            self._start(partition, place)
        if not lost.count:
            return []
        logger("kafka").error("retention_overtook", partition=partition, first_lost=expected, records=lost.count)
        return [lost]

    def _refuse_beyond(self, partition: int, offset: int, bounds: Bounds) -> None:
        if offset > bounds.next:
            raise PipelineFault(
                f"Partition {partition} of the topic {self._name} ends at offset {bounds.next}, before the offset"
                f" {offset} that was reached: the topic was cut off, restored or made anew. If that was meant, run"
                " `trailseal epoch new --reason …`, then start again."
            )
