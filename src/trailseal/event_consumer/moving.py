"""From an embedded log into a cluster: records into the topic, books and seals of the old log into the new ledger.

The old log keeps its number and its proofs there; the topic becomes the log after it, whose first leaves name the
old log's final checkpoint. A record is appended as it was, key, headers and salt included, with one
header more that says where it stood. That header makes the move resumable: what a run that ended too early had
appended is found again in the topic.

What was removed stays behind: a blank record is not appended, and the tombstones, the dropped months and the orders
go into the new ledger, so that a late retry is known there as it was here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from trailseal.errors import Fenced, UsageError
from trailseal.event_consumer.epochs import begin_moved, end_moved
from trailseal.merkle.tiles import TILE_HEIGHT
from trailseal.model.outcomes import REMOVED, Delta, Head, OutcomeRow
from trailseal.model.record import Gap, Position, Record, marked, moved_from
from trailseal.ports.clock import Clock
from trailseal.ports.ledger import Document, Ledger
from trailseal.ports.log import EventLog
from trailseal.sealing.ended import MOVED_IN
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree

_RECORDS: Final = 2_000
_BYTES: Final = 8 << 20
_ROWS: Final = 1_000
_TILES: Final = 128
_DOCUMENTS: Final = ("seal/", "api-keys/", "log/epoch/", "replayed/", "erasure/", "retention/")
"""What else goes along: geneses, public keys, weekly secrets; API keys; reasons of epochs; notes of replays; what
keeps erased events and dropped months away."""

Progress = Callable[[int, int], None]
"""Called with records moved so far and records to move."""


class Moved(msgspec.Struct, frozen=True):
    """What a move did.

    Attributes:
        appended: records that this run put into the topic.
        already_there: records that an earlier run had put there.
        removed: records that were erased or expired, of which there is nothing to move.
        gaps: offsets of the old log without a record.
        log: the new log's number.
        origin: the new log's origin.
    """

    appended: int
    already_there: int
    removed: int
    gaps: int
    log: int
    origin: str


class _Place(msgspec.Struct, frozen=True):
    """How far a move has come; a document of the new ledger.

    Attributes:
        next: offsets of the old log below this one are in the topic.
        ends: of each of the topic's partitions, the offset from which to look for what else is in it.
    """

    next: int
    ends: dict[int, int]


class Move:
    """One move. The old log has to be complete, signed to its end and at rest; nobody may append to it meanwhile.

    Args:
        source: the old log.
        books: its ledger.
        target: the new log, with no record taken in yet, or some of this very move.
        ledger: the new ledger.
        clock: tells when.
    """

    def __init__(self, source: EventLog, books: Ledger, target: EventLog, ledger: Ledger, clock: Clock) -> None:
        self._source, self._books = source, books
        self._target, self._ledger, self._clock = target, ledger, clock

    def run(self, progress: Progress) -> Moved:
        """Do it, or what is left of it.

        Raises:
            UsageError: the old log is not at rest, or the new one is not new.
            Unavailable: an engine does not answer; run it again.
            Fenced: another move of the same log is under way.
        """
        end = self._refuse_unready()
        self._refuse_used_target()
        self._copy_history()
        number = begin_moved(self._ledger, self._target.origin, self._source.origin, self._clock)
        result = self._copy_records(end, progress)
        if self._source.bounds(0).next != end:
            raise UsageError("The old log grew while it was moved: stop what writes to it, then move on.")
        end_moved(self._books, self._source.origin, self._target.origin)
        return msgspec.structs.replace(result, log=number, origin=self._target.origin)

    def _refuse_unready(self) -> int:
        number = self._books.log_number(self._source.origin)
        head = None if number is None else self._books.head(number, 0)
        if head is None or self._source.bounds(0).next != head.next:
            raise UsageError(
                "The old log is not taken in to its end: start `trailseal up` on it until nothing is pending, stop"
                " it, then move."
            )
        newest = self._books.seals.checkpoint(head.log, 0)
        if newest is None or newest.size != SealState.of(head.seal).edge.size:
            raise UsageError(
                "The old log is not signed to its end: start `trailseal up` on it, stop it with Ctrl-C, then move."
            )
        return head.next

    def _refuse_used_target(self) -> None:
        old, known = self._books.logs(), self._ledger.logs()
        new = max(old) + 1
        if all(known[at] == (old | {new: self._target.origin}).get(at) for at in known):
            return
        raise UsageError(
            "The cluster has a log of its own already. Move into a new topic and a new ?prefix= of Elasticsearch,"
            " and start `trailseal consume` after the move has begun."
        )

    def _copy_history(self) -> None:
        """Books, documents and seals of every log that the old ledger has; what is there already stays."""
        for prefix in _DOCUMENTS:
            for name, document in self._books.documents(prefix).items():
                with suppress(Fenced):
                    self._ledger.put_document(name, document.body, None)
        for origin in (origin for _, origin in sorted(self._books.logs().items())):
            number = self._ledger.register_log(origin)
            for head in self._books.heads(number):
                self._copy_partition(head)

    def _copy_partition(self, head: Head) -> None:
        here = self._ledger.open_partition(head.log, head.partition, head.base)
        if here.next < head.next or here.seal != head.seal:
            self._copy_tiles(head)
            for rows in self._rows(head, here.next):
                self._keep_orders({row.of for row in rows if row.kind in REMOVED and row.of is not None})
                last = rows[-1]
                here = self._ledger.advance(here, Delta(last.position.offset + last.count, tuple(rows)))
            self._ledger.advance(here, Delta(head.next, (), head.seal))
        newest = self._books.seals.checkpoint(head.log, head.partition)
        if newest is not None:
            self._ledger.seals.put_checkpoint(head.log, head.partition, newest.size, newest.note)
            self._ledger.seals.add_signatures(head.log, head.partition, newest.size, list(newest.added))

    def _keep_orders(self, positions: set[Position]) -> None:
        """Orders are records that the topic has elsewhere; rows name them by where they stood."""
        number = max(self._books.logs())
        named = sorted(positions)
        here = self._source.fetch([msgspec.structs.replace(position, log=number) for position in named])
        orders = zip(named, here, strict=True)
        self._ledger.keep([msgspec.structs.replace(one, position=at) for at, one in orders if one is not None])

    def _rows(self, head: Head, start: int) -> Iterator[list[OutcomeRow]]:
        """Without the names of events: an erasure in the new log would not reach them."""
        some: list[OutcomeRow] = []
        for row in self._books.outcomes(head.log, head.partition, start, head.next):
            if len(some) >= _ROWS and row.position != some[-1].position:
                yield some
                some = []
            some.append(msgspec.structs.replace(row, tenant_id=None, event_id=None))
        if some:
            yield some

    def _copy_tiles(self, head: Head) -> None:
        tree = LogTree.of(head.seal, self._books.seals)
        level = 0
        while full := tree.size >> TILE_HEIGHT * (level + 1):
            for start in range(0, full, _TILES):
                roots = [tree.tile_root(level, at) for at in range(start, min(start + _TILES, full))]
                self._ledger.seals.keep_tiles(self._books.seals.tiles(roots))
            level += 1

    def _copy_records(self, end: int, progress: Progress) -> Moved:
        document, place = self._begun()
        there = self._found(place)
        total, first = end, place.next
        appended = already = removed = gaps = 0
        at = first
        while at < end:
            items = self._source.read(0, at, _RECORDS, _BYTES)
            records = [item for item in items if isinstance(item, Record)]
            left = self._left(records)
            fresh = [record for record in left if record.position.offset not in there]
            marks = [marked(record, self._source.origin) for record in fresh]
            positions = self._target.append(marks) if marks else []
            appended += len(fresh)
            already += len(left) - len(fresh)
            removed += len(records) - len(left)
            gaps += sum(item.count for item in items if isinstance(item, Gap))
            at = items[-1].end
            place = _Place(at, _beyond(place.ends, positions))
            version = self._ledger.put_document(self._name, msgspec.json.encode(place), document.version)
            document = Document(b"", version)
            progress(min(at, end), total)
        return Moved(appended, already + first, removed, gaps, 0, "")

    def _left(self, records: list[Record]) -> list[Record]:
        """All but the blank ones.

        Raises:
            UsageError: one is blank although nothing says that it was removed.
        """
        blank = {record.position.offset for record in records if record.is_erased}
        if blank:
            number, end = records[0].position.log, max(blank) + 1
            for row in self._books.outcomes(number, 0, min(blank), end, REMOVED):
                blank.difference_update(range(row.position.offset, row.position.offset + row.count))
            if blank:
                raise UsageError(
                    f"The record at offset {min(blank)} of the old log is blank, and no order removed it: look with"
                    " `trailseal verify` before you move."
                )
        return [record for record in records if not record.is_erased]

    @property
    def _name(self) -> str:
        return f"{MOVED_IN}{self._source.origin}"

    def _begun(self) -> tuple[Document, _Place]:
        known = self._ledger.document(self._name)
        if known is not None:
            return known, known.read(_Place, self._name)
        ends = {number: self._target.bounds(number).next for number in self._target.partitions()}
        place = _Place(self._source.bounds(0).first, ends)
        version = self._ledger.put_document(self._name, msgspec.json.encode(place), None)
        return Document(b"", version), place

    def _found(self, place: _Place) -> set[int]:
        """Offsets of the old log that are in the topic without the place saying so."""
        found: set[int] = set()
        for partition, start in place.ends.items():
            at, end = start, self._target.bounds(partition).next
            while at < end:
                items = self._target.read(partition, at, _RECORDS, _BYTES)
                if not items:
                    break
                for item in items:
                    moved = None if isinstance(item, Gap) else moved_from(item)
                    if moved is not None and moved.origin == self._source.origin:
                        found.add(moved.offset)
                at = items[-1].end
        return found


def _beyond(ends: dict[int, int], positions: list[Position]) -> dict[int, int]:
    """Where to look from, once these are known to be in."""
    moved = dict(ends)
    for position in positions:
        moved[position.partition] = max(moved.get(position.partition, 0), position.offset + 1)
    return moved
