"""A batch: what goes into the index in one call, and everything needed to put it again."""

from __future__ import annotations

from dataclasses import dataclass, field

from trailseal.errors import PipelineFault
from trailseal.event_consumer.outcomes import DECODER_FAULT
from trailseal.event_consumer.partitions import Slice, Stage
from trailseal.model.freshness import DAY_US, touched
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.projection import Entry
from trailseal.model.record import Position, Record
from trailseal.sealing.admin_records import Order


@dataclass(slots=True, eq=False)
class Batch:
    """Decoded records of one or more partitions on their way through the pipeline.

    The poll thread fills it; while an attempt is under way only that attempt touches it.

    Attributes:
        slices: the part of each partition.
        entries: everything to index; kept until the index is flushed, since only then is it safe there.
        decoded_rows: rows known before any attempt: gaps and dead letters.
        decoded_dead: the records of those dead letters.
        admin: records that may be admin records; judged with the first attempt.
        orders: those that are, judged since the last `reset`.
        judged: whether ``admin`` was judged since then.
        pending: entries that no verdict has settled yet, in log order.
        rows: one row per position that is not simply indexed, as far as known.
        dead: records to keep before their rows count.
        kept: how many of ``dead`` are kept.
        frames: what duplicates are without their value, to be kept too where the log forgets.
        records: how many records it holds, and offsets of gaps.
        size: bytes of their values.
        tokens: names of the cache tokens it touches.
        names: the document ids it touches, where several batches may be in flight.
        not_before: monotonic seconds before which it is not tried again.
        failures: attempts that failed so far.
        losses: the index's losses when its first entry was put; None before that.
        late: its records waited longer than the refresh interval before they got here.
    """

    slices: dict[int, Slice] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    decoded_rows: list[OutcomeRow] = field(default_factory=list)
    decoded_dead: list[Record] = field(default_factory=list)
    admin: list[Record] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    judged: bool = False
    pending: list[Entry] = field(default_factory=list)
    rows: dict[Position, OutcomeRow] = field(default_factory=dict)
    dead: list[Record] = field(default_factory=list)
    kept: int = 0
    frames: list[Record] = field(default_factory=list)
    records: int = 0
    size: int = 0
    tokens: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    not_before: float = 0.0
    failures: int = 0
    losses: int | None = None
    late: bool = False

    def close(self, alike: int) -> None:
        """No more records: make it ready for its first attempt.

        Args:
            alike: from how many records on a batch of which none can be decoded is our own fault.

        Raises:
            PipelineFault: decoding broke on every record, without naming a rule.
        """
        faults = sum(row.code == DECODER_FAULT for row in self.decoded_rows)
        if faults >= alike and faults == self.records:
            raise PipelineFault(
                f"Decoding broke on all of {faults} records: this version is at fault, not the events. Nothing of"
                " them was taken in; run a repaired version."
            )
        days = {(entry.projection.tenant_id, entry.projection.timestamp_us // DAY_US) for entry in self.entries}
        self.tokens = touched(days)
        self.names = frozenset([entry.document_id for entry in self.entries])
        self.reset()

    def reset(self) -> None:
        """Forget every verdict: all of it has to be put again."""
        self.losses = None
        self.pending = self.entries.copy()
        self.rows = {row.position: row for row in self.decoded_rows}
        self.dead = self.decoded_dead.copy()
        self.kept = 0
        self.frames = []
        self.orders = []
        self.judged = False
        for piece in self.slices.values():
            piece.stage = Stage.PENDING
            piece.rows = []
            piece.orders = []

    def settle(self) -> None:
        """Every entry has its verdict: hand each partition its rows."""
        for piece in self.slices.values():
            piece.rows = []
            piece.orders = []
            piece.stage = Stage.SETTLED
        for position in sorted(self.rows):
            self.slices[position.partition].rows.append(self.rows[position])
        for order in self.orders:
            self.slices[order.position.partition].orders.append(order)

    def drop(self, partition: int) -> None:
        """Forget everything of a partition that is not ours any more."""
        if self.slices.pop(partition, None) is None:
            return
        self.entries = [entry for entry in self.entries if entry.projection.position.partition != partition]
        self.admin = [record for record in self.admin if record.position.partition != partition]
        self.orders = [order for order in self.orders if order.position.partition != partition]
        self.pending = [entry for entry in self.pending if entry.projection.position.partition != partition]
        self.decoded_rows = [row for row in self.decoded_rows if row.position.partition != partition]
        self.decoded_dead = [record for record in self.decoded_dead if record.position.partition != partition]
        self.rows = {position: row for position, row in self.rows.items() if position.partition != partition}
        self.frames = [record for record in self.frames if record.position.partition != partition]
        kept, unkept = self.dead[: self.kept], self.dead[self.kept :]
        self.dead = kept + [record for record in unkept if record.position.partition != partition]
