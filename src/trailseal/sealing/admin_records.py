"""Admin records: the records in which a log says, signed, that it removes others of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from trailseal.errors import IntegrityViolation
from trailseal.formats import Decoded, decode_admin
from trailseal.merkle.admin import (
    MAX_RUNS,
    AdminKind,
    AdminStatement,
    EndedTree,
    OffsetRun,
    open_admin,
    runs_of,
    sign_admin,
)
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError, UntrustedNote
from trailseal.merkle.notes import VerifierKey
from trailseal.model.event import RESERVED_TENANT
from trailseal.model.identity import uuid7
from trailseal.model.outcomes import Head
from trailseal.model.record import (
    HEADER_ADMIN,
    HEADER_FORMAT,
    HEADER_SALT,
    HEADER_TENANT,
    HEADER_TOMBSTONES,
    SALT_BYTES,
    NewRecord,
    Place,
    Position,
    Record,
    moved_from,
)
from trailseal.model.timestamps import format_rfc3339
from trailseal.ports.ledger import Ledger
from trailseal.sealing.checkpoints import published_keys
from trailseal.sealing.keys import KeyRing
from trailseal.sealing.leaves import LeafMaker
from trailseal.sealing.origin import SealedLog, predecessors
from trailseal.sealing.periods import PeriodSecrets
from trailseal.sealing.state import SealState
from trailseal.sealing.tombstones import TOMBSTONES_DETAIL, signed_tombstones, tombstones_header
from trailseal.sealing.tree import LogTree

ACTIONS = {AdminKind.ERASE: "trailseal.erased", AdminKind.EXPIRE: "trailseal.expired"}
"""The action of an admin record, by what it does."""


MONTH_DETAIL = "month"
"""Which of the details names the month that an expiry drops."""
_MOST_EXPIRED = 500_000
_MOST_ERASED = 50_000
"""Each has a tombstone in the record, which a megabyte has to hold."""


class Mandate(msgspec.Struct, frozen=True):
    """Who wants records removed, and why. It stays in the log for ever: no personal data of the subject.

    Attributes:
        requested_by: who asked for it; the event's actor.
        reason: why, for example a ticket.
        approved_by: who else agreed, or None.
        details: further metadata: what was counted.
    """

    requested_by: str
    reason: str
    approved_by: str | None = None
    details: dict[str, int | str] = {}


@dataclass(frozen=True, slots=True)
class Order:
    """A genuine admin record.

    Attributes:
        position: its own.
        statement: what it orders.
        details: what its event says besides (`Mandate.details`): of an expiry the ``month``.
    """

    position: Position
    statement: AdminStatement
    details: Mapping[str, object] = field(default_factory=dict)


def statement_of(record: Record, log: SealedLog, keys: Sequence[VerifierKey], ledger: Ledger) -> AdminStatement:
    """What a genuine admin record orders.

    Args:
        record: with the header ``trailseal-admin``.
        log: in which it stands.
        keys: that log's, known before.
        ledger: has the trees of logs that ended before.

    Raises:
        MerkleError: it is not genuine; see `merkle.admin.open_admin`.
        Unavailable: the ledger does not answer.
    """
    headers = [value for name, value in record.headers if name == HEADER_ADMIN]
    if len(headers) != 1 or headers[0] is None:
        raise UntrustedNote("an admin record has its header once")
    return open_admin(
        headers[0],
        record.value,
        origin=log.origin,
        base=log.genesis.base,
        offset=record.position.offset,
        keys=keys,
        ended=lambda origin: _ended_tree(ledger, log, origin),
    )


def event_of(record: Record) -> Decoded:
    """The event of a record whose statement is genuine.

    Raises:
        MerkleError: its header of tombstones is not the one that the event was signed with.
        InvalidEvent: it is no event of an order.
    """
    decoded = decode_admin(record)
    signed_tombstones(record, decoded.event.metadata)
    return decoded


def _ended_tree(ledger: Ledger, log: SealedLog, origin: str) -> EndedTree | None:
    ended = ended_before(ledger, log, origin)
    return None if ended is None else EndedTree(ended[0].genesis.base, ended[1].size)


def ended_before(ledger: Ledger, log: SealedLog, origin: str) -> tuple[SealedLog, LogTree] | None:
    """The log of that name and the tree with which it ended, if the chain of geneses before a log names them.

    Raises:
        Unavailable: the ledger does not answer.
    """
    numbers = (number for number in sorted(ledger.logs(), reverse=True) if number < log.log)
    for head in (head for number in numbers for head in ledger.heads(number)):
        with suppress(IntegrityViolation):  # what is damaged vouches for nothing
            sealed = _sealed(ledger, head.log, head.partition)
            if sealed is not None and sealed[0].origin == origin:
                known, tree = sealed
                genuine = tree.entry(0) == known.entry.encode() and is_named(ledger, log, known, tree)
                return sealed if genuine else None
    return None


def removes_from(ledger: Ledger, log: SealedLog, statement: AdminStatement) -> tuple[int, int]:
    """Number and partition of the log of which a genuine order names offsets.

    Args:
        ledger: has the logs that ended before.
        log: in which the order stands.
        statement: what it says.

    Raises:
        Unavailable: the ledger does not answer.
    """
    ended = None if statement.ended is None else ended_before(ledger, log, statement.ended)
    about = log if ended is None else ended[0]
    return about.log, about.partition


def inherited_statement(record: Record, ledger: Ledger, log: SealedLog) -> AdminStatement:
    """What an admin record ordered in an earlier epoch of the log, whose records were taken in anew, or moved in.

    It orders nothing any more: what it named was removed then. It counts as genuine only where that epoch's tree
    has this very record at this very offset, and only if that tree is the one that the log's genesis names, or that
    of one further back. So a copy of an order, which stands at another offset, stays what it is.

    Args:
        record: with the header ``trailseal-admin``.
        ledger: has the trees of earlier epochs.
        log: in which it stands now.

    Raises:
        MerkleError: it is not genuine.
        IntegrityViolation: an earlier tree is damaged.
        Unavailable: the ledger does not answer.
    """
    place = moved_from(record)
    if place is not None:
        return _moved_statement(record, place, ledger, log)
    for number in predecessors(ledger, log.log):
        sealed = _sealed(ledger, number, log.partition)
        if sealed is None or record.position.offset < sealed[0].genesis.base:
            continue
        earlier, tree = sealed
        if not is_named(ledger, log, earlier, tree):
            break
        index = earlier.index_of(record.position.offset)
        if index < tree.size and tree.entry(index) == entry_of(record, ledger, earlier):
            with suppress(MerkleError):
                return statement_of(record, earlier, known_keys(ledger, earlier), ledger)
    raise UntrustedNote("it is not an order of an earlier epoch either")


def _moved_statement(record: Record, place: Place, ledger: Ledger, log: SealedLog) -> AdminStatement:
    """The same of a record that says where it stood before a move: the tree of then has to have it there."""
    number = ledger.log_number(place.origin)
    sealed = None if number is None or number >= log.log else _sealed(ledger, number, place.partition)
    if number is None or sealed is None:
        raise UntrustedNote("it is not an order of a log that was moved in either")
    earlier, tree = sealed
    was = msgspec.structs.replace(
        record,
        position=Position(number, place.partition, place.offset),
        timestamp_ms=place.timestamp_ms,
        headers=record.headers[:-1],
    )
    index = earlier.index_of(place.offset)
    stood = 0 < index < tree.size and tree.entry(index) == entry_of(was, ledger, earlier)
    if not stood or not is_named(ledger, log, earlier, tree):
        raise UntrustedNote("it is not an order of the log that was moved either")
    try:
        return statement_of(was, earlier, known_keys(ledger, earlier), ledger)
    except MerkleError:
        return inherited_statement(was, ledger, earlier)


def _sealed(ledger: Ledger, number: int, partition: int) -> tuple[SealedLog, LogTree] | None:
    """A log of the ledger with its tree; None where nothing of it was sealed."""
    head, log = ledger.head(number, partition), SealedLog.stored(ledger, number, partition)
    if head is None or head.seal is None or log is None:
        return None
    return log, LogTree.of(head.seal, ledger.seals)


def entry_of(record: Record, ledger: Ledger, log: SealedLog) -> bytes | None:
    """The leaf's entry that a record gives in a log; None where the secret of its week is gone."""
    return LeafMaker(log.origin, PeriodSecrets(ledger, log.log)).entry(record)


def is_named(ledger: Ledger, log: SealedLog, earlier: SealedLog, tree: LogTree) -> bool:
    """Whether an earlier log's tree is the one that the chain of geneses before this log names."""
    final = Checkpoint(earlier.origin, tree.size, tree.edge.root())
    logs = [log]
    while logs:
        if any(final in one.genesis.previous for one in logs):
            return True
        before = {known.origin: known for one in logs for known in _before(ledger, one)}
        logs = [one for one in before.values() if one.log > earlier.log]
    return False


def _before(ledger: Ledger, log: SealedLog) -> Iterator[SealedLog]:
    """The logs right before whose trees the genesis names, and whose own genesis is that tree's first leaf."""
    named = {one.origin: one for one in log.genesis.previous}
    for head in ledger.heads(log.log - 1) if named else ():
        before = SealedLog.stored(ledger, head.log, head.partition)
        if before is not None and before.origin in named:
            tree = LogTree.of(head.seal, ledger.seals)
            same = named[before.origin] == Checkpoint(before.origin, tree.size, tree.edge.root())
            if same and tree.entry(0) == before.entry.encode():
                yield before


def known_keys(ledger: Ledger, log: SealedLog) -> list[VerifierKey]:
    """The keys that vouch for a log's admin records: those of its genesis and those it published since."""
    return published_keys(ledger, log)


@dataclass(frozen=True, slots=True)
class Clerk:
    """Writes the admin records about one partition.

    Attributes:
        log: in which they will stand.
        head: of the partition whose offsets are named, all of them below it.
        ring: the keys that sign.
        mandate: who wants it, and why.
        now_us: the time, microseconds since 1970 UTC.
        ended: the log that the head is of, where that is one that has ended before ``log``; else None.
    """

    log: SealedLog
    head: Head
    ring: KeyRing
    mandate: Mandate
    now_us: int
    ended: SealedLog | None = None

    def erasures(self, tombstones: Mapping[int, bytes | None]) -> Iterator[NewRecord]:
        """The records to append so that these offsets are erased; each is carried out as one.

        Args:
            tombstones: of the event at each offset; None where the record is no event.
        """
        for runs in _portions(tombstones, _MOST_ERASED):
            named = (tombstones[offset] for run in runs for offset in range(run.first, run.last + 1))
            header = tombstones_header(one for one in named if one is not None)
            yield self._record(AdminKind.ERASE, runs, header)

    def expiries(self, offsets: Iterable[int]) -> Iterator[NewRecord]:
        """The records to append so that these offsets are dropped with their month; each is carried out as one."""
        for runs in _portions(offsets, _MOST_EXPIRED):
            yield self._record(AdminKind.EXPIRE, runs)

    def _record(self, kind: AdminKind, runs: tuple[OffsetRun, ...], tombstones: bytes | None = None) -> NewRecord:
        log, mandate = self.log, self.mandate
        metadata: dict[str, int | str] = {"reason": mandate.reason, "records": sum(run.count for run in runs)}
        if mandate.approved_by is not None:
            metadata["approved_by"] = mandate.approved_by
        if tombstones is not None:
            metadata[TOMBSTONES_DETAIL] = sha256(tombstones).hexdigest()
        value = msgspec.json.encode(
            {
                "schema_version": 1,
                "id": uuid7(self.now_us // 1_000),
                "timestamp": format_rfc3339(self.now_us),
                "tenant_id": RESERVED_TENANT,
                "actor": {"id": mandate.requested_by},
                "action": ACTIONS[kind],
                "resource": {"type": "log", "id": f"{self.head.log}.{self.head.partition}"},
                "metadata": metadata | mandate.details,
            }
        )
        size = SealState.of(self.head.seal).edge.size
        ended = None if self.ended is None else self.ended.origin
        statement = AdminStatement(log.origin, kind, size, runs, sha256(value).digest(), ended)
        note = sign_admin(statement, self.ring.signers(log.origin), self.now_us // 1_000_000)
        headers = (
            (HEADER_TENANT, RESERVED_TENANT.encode()),
            (HEADER_FORMAT, b"native"),
            (HEADER_ADMIN, note),
            *(() if tombstones is None else ((HEADER_TOMBSTONES, tombstones),)),
            (HEADER_SALT, os.urandom(SALT_BYTES)),
        )
        return NewRecord(value, RESERVED_TENANT.encode(), headers)


def _portions(offsets: Iterable[int], most: int) -> Iterator[tuple[OffsetRun, ...]]:
    """Offsets, in any order, as runs for one order after the other, none with more of either than it may name."""
    portion: list[OffsetRun] = []
    room = most
    for run in runs_of(offsets):
        first = run.first
        while first <= run.last:
            last = min(run.last, first + room - 1)
            portion.append(OffsetRun(first, last))
            room -= last - first + 1
            first = last + 1
            if not room or len(portion) == MAX_RUNS:
                yield tuple(portion)
                portion, room = [], most
    if portion:
        yield tuple(portion)
