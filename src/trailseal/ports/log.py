"""The ordered truth: exact records by partition and offset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from trailseal.model.record import Gap, NewRecord, Position, Record


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What a partition holds: offsets in [first, next)."""

    first: int
    next: int


class Records(msgspec.Struct, frozen=True):
    """Records and gaps in log order; per partition without holes and without repeats.

    A gap is at most `MAX_GAP` long: a longer hole comes piece by piece, one a delivery, so that nobody has to hold
    all of it.
    May hold several partitions; the order between partitions means nothing. Never empty.
    """

    items: tuple[Record | Gap, ...]


class Assigned(msgspec.Struct, frozen=True):
    """These partitions are ours from now on. Nothing of them is delivered before `Subscription.seek`."""

    partitions: tuple[int, ...]


class Revoked(msgspec.Struct, frozen=True):
    """These partitions go to another owner at the next `Subscription.poll`; finish and commit before it."""

    partitions: tuple[int, ...]


class Lost(msgspec.Struct, frozen=True):
    """These partitions already belong to another owner: drop what is in flight, commit nothing."""

    partitions: tuple[int, ...]


Delivery = Records | Assigned | Revoked | Lost


class Subscription(Protocol):
    """One reader's place in the log. Used by one thread only, but for `wake` and `close`."""

    def poll(self, max_records: int, wait_s: float) -> Delivery | None:
        """What comes next, or None after ``wait_s`` without anything.

        The first delivery is `Assigned`. Keep calling it, also while everything is paused: it is the sign of life.

        Raises:
            Unavailable: the log cannot be read now; call again.
            PipelineFault: the log is not the one we knew (made anew, truncated, an offset out of range).
        """

    def seek(self, partition: int, offset: int) -> None:
        """Deliver from this offset on.

        Raises:
            PipelineFault: the offset is not in the partition's bounds (its end included).
        """

    def pause(self, partitions: Iterable[int]) -> None:
        """Deliver nothing of these until `resume`; asking twice is harmless."""

    def resume(self, partitions: Iterable[int]) -> None:
        """Deliver again, without a record lost or repeated."""

    def commit(self, offsets: dict[int, int]) -> None:
        """Tell the log how far we are ({partition: next offset}), for dashboards only: nothing reads it back.

        Failing is not an error for the caller; a later commit repairs it.
        """

    def wake(self) -> None:
        """End a `poll` that waits, from any thread."""

    def close(self) -> None:
        """Leave. Closing twice is harmless."""


class RecordSource(Protocol):
    """What can hand out single records at random: a log, or what was kept of one."""

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """The record at each position, None where there is none (any more).

        Raises:
            Unavailable: it cannot be read now.
        """
        ...


class EventLog(RecordSource, Protocol):
    """The log. It never deduplicates, never changes a record, never reorders.

    ``origin`` names this very log for ever (embedded log id, or cluster and topic id, with the epoch): a topic
    made anew has another origin. Safe to use from many threads.
    """

    @property
    def origin(self) -> str:
        """The log's identity.

        Raises:
            Unavailable: it cannot be asked now.
        """

    def append(self, records: Sequence[NewRecord], partition: int | None = None) -> list[Position]:
        """Append all, in order per partition; durable on return, one position per record.

        ``partition`` says where, for what belongs to one partition; None = each by its key.

        All or nothing where the engine can (SQLite). Where it cannot (Kafka) an error means that some may be in
        the log all the same: the caller says so to its client, whose retry the event ids make harmless.

        Raises:
            Unavailable: not durable (disk full, no broker); nothing may be acknowledged.
            Overloaded: too much is waiting to be written; nothing was taken.
            UsageError: the log was opened for reading only.
        """

    def partitions(self) -> tuple[int, ...]:
        """Every partition, ascending."""

    def bounds(self, partition: int) -> Bounds:
        """What the partition holds now.

        Raises:
            Unavailable: it cannot be asked now.
        """

    def retention_s(self) -> float | None:
        """Seconds the log keeps a record, at least; None = for ever.

        Raises:
            Unavailable: it cannot be asked now.
        """

    def forgets_within_s(self) -> float | None:
        """Seconds after its append by which no byte of a record is in the log any more; None = never.

        Raises:
            Unavailable: it cannot be asked now.
        """

    def read(self, partition: int, start: int, max_records: int, max_bytes: int) -> list[Record | Gap]:
        """Records and gaps from ``start`` on without holes; at least one where ``start`` < next.

        Stops after ``max_records`` or when values pass ``max_bytes``. ``start`` below the first offset yields a
        `Gap` up to it; at or past the end: an empty list. A hole longer than `MAX_GAP` ends the answer with its
        first part.

        Raises:
            Unavailable: it cannot be read now.
        """

    def subscribe(self, group: str) -> Subscription:
        """Join the readers called ``group``; partitions are shared among a group's members."""

    def close(self) -> None:
        """Release files and connections; appends under way are finished or refused."""
