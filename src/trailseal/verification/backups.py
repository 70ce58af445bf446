"""What a backup says of itself, and what has to hold before a restored one is used.

A backup is the ledger first and the log after it: whatever happens between the two, the log holds all that the
ledger's heads say. What the log holds beyond a head is taken in again, as after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from trailseal.errors import IntegrityViolation, UsageError
from trailseal.merkle.checkpoints import Checkpoint
from trailseal.merkle.errors import MerkleError
from trailseal.merkle.signing import verify_note
from trailseal.merkle.tiles import TILE_WIDTH
from trailseal.model.outcomes import REMOVED
from trailseal.model.record import HEADER_ADMIN, Record
from trailseal.ports.ledger import Ledger
from trailseal.ports.log import EventLog
from trailseal.ports.witness import Witness
from trailseal.sealing.checkpoints import merged, published_keys
from trailseal.sealing.origin import SealedLog
from trailseal.sealing.state import SealState
from trailseal.sealing.tree import LogTree
from trailseal.sealing.witnessed import witnessed_size
from trailseal.verification.records import READ_BYTES, RecordCheck

LABEL: Final = "trailseal-backup/1"
MANIFEST: Final = "manifest.json"
LEDGER_FILE: Final = "ledger.sqlite"
LOG_FILE: Final = "log.sqlite"
KEY_FILE: Final = "seal.key"
_READ_RECORDS: Final = 4_096


class BackupFile(msgspec.Struct, frozen=True):
    """One file of a backup.

    Attributes:
        name: in the backup's folder.
        size: bytes.
        sha256: hexadecimal.
    """

    name: str
    size: int
    sha256: str


class BackupPartition(msgspec.Struct, frozen=True):
    """How far one partition of one log had come.

    Attributes:
        log: the log's number.
        partition: the partition.
        next: the next offset to take in: the head.
        origin: the sealed log's name, or None before its first leaf.
        checkpoint: its newest signed checkpoint with all cosignatures, or None.
    """

    log: int
    partition: int
    next: int
    origin: str | None = None
    checkpoint: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself.

    Attributes:
        label: `LABEL`.
        made_at: RFC 3339.
        version: of the Trailseal that made it.
        origin: the event log's own identity.
        end: the offset after the log's last record.
        partitions: of every log in the ledger.
        files: with their hashes.
    """

    label: str
    made_at: str
    version: str
    origin: str
    end: int
    partitions: tuple[BackupPartition, ...]
    files: tuple[BackupFile, ...]


def describe(ledger: Ledger) -> tuple[BackupPartition, ...]:
    """Every partition of every log that the ledger has books of."""
    return tuple(
        _partition(ledger, head.log, head.partition, head.next)
        for log in sorted(ledger.logs())
        for head in ledger.heads(log)
    )


def _partition(ledger: Ledger, log: int, partition: int, following: int) -> BackupPartition:
    sealed = SealedLog.stored(ledger, log, partition)
    newest = ledger.seals.checkpoint(log, partition)
    return BackupPartition(
        log=log,
        partition=partition,
        next=following,
        origin=None if sealed is None else sealed.origin,
        checkpoint=None if newest is None else merged(newest).to_bytes().decode(),
    )


def check_restored(log: EventLog, ledger: Ledger, manifest: Manifest, progress: Callable[[int, int], None]) -> None:
    """Insist that log, ledger, seals and manifest belong together, record by record.

    A new epoch seals anew what is there: what was edited in a backup must not get that far.

    Args:
        log: the restored one.
        ledger: beside it.
        manifest: of the backup.
        progress: called with records checked so far and records to check.

    Raises:
        UsageError: they do not.
        IntegrityViolation: a tree is not the one that was signed, or a record not the one that was sealed.
    """
    if log.origin != manifest.origin or describe(ledger) != manifest.partitions:
        raise UsageError("The backup's files are not those its manifest speaks of: take another backup.")
    number = ledger.log_number(log.origin)
    for head in [] if number is None else ledger.heads(number):
        if head.next > log.bounds(head.partition).next:
            raise UsageError(
                f"The backup's ledger has taken in up to offset {head.next}, and its log ends before that: log and"
                " ledger are not of one backup."
            )
        sealed = SealedLog.stored(ledger, head.log, head.partition)
        if sealed is not None and head.seal is not None:
            tree = LogTree.of(head.seal, ledger.seals)
            _check_signed(ledger, sealed, tree)
            _check_records(log, ledger, sealed, head.seal, progress)


def _check_records(
    log: EventLog, ledger: Ledger, sealed: SealedLog, seal: bytes, progress: Callable[[int, int], None]
) -> None:
    tree = LogTree.of(seal, ledger.seals)
    records = RecordCheck(log, ledger, sealed, SealState.of(seal).weeks)
    lawful: bool | None = None
    for number in range(-(-tree.size // TILE_WIDTH)):
        first = max(number * TILE_WIDTH, 1)
        entries = tree.bundle(number)[first - number * TILE_WIDTH :]
        start = sealed.offset_of(first)
        items = records.read(start, start + len(entries))
        removed: set[int] | None = None
        for difference in records.differences(start, entries, items, records.entries(items)):
            if removed is None:
                removed = _removed(ledger, sealed, start, start + len(entries))
            if difference.offset in removed:
                continue
            if lawful is None:
                lawful = _order_pending(log, sealed, tree)
            if not lawful or (difference.found is not None and difference.found.value is not None):
                raise IntegrityViolation(
                    f"The record at {sealed.log}/{sealed.partition}/{difference.offset} in the backup is not the"
                    " one that was sealed: the backup was altered, or made of a log that was. Take another one."
                )
        progress(first + len(entries) - 1, tree.size - 1)


def _removed(ledger: Ledger, sealed: SealedLog, start: int, stop: int) -> set[int]:
    """Offsets of which the books say that their records are gone; `trailseal verify` asks for the orders."""
    rows = ledger.outcomes(sealed.log, sealed.partition, start, stop, REMOVED)
    return {row.position.offset + at for row in rows for at in range(row.count)}


def _order_pending(log: EventLog, sealed: SealedLog, tree: LogTree) -> bool:
    """Whether the log ends in an order that was carried out after the ledger was copied, and will be again."""
    at, end = sealed.offset_of(tree.size), log.bounds(sealed.partition).next
    while at < end:
        items = log.read(sealed.partition, at, _READ_RECORDS, READ_BYTES)
        if any(isinstance(item, Record) and item.header(HEADER_ADMIN) is not None for item in items):
            return True
        at = items[-1].end
    return False


def _check_signed(ledger: Ledger, sealed: SealedLog, tree: LogTree) -> None:
    newest = ledger.seals.checkpoint(sealed.log, sealed.partition)
    if newest is None:
        return
    note = merged(newest)
    try:
        signed = Checkpoint.parse(note.text)
        verify_note(note, published_keys(ledger, sealed))
    except MerkleError as error:
        raise IntegrityViolation(
            f"The newest checkpoint of {sealed.origin} in the backup is false: {error}."
        ) from error
    if signed.origin != sealed.origin or signed.size > tree.size or tree.root(signed.size) != signed.root:
        raise IntegrityViolation(
            f"The backup's tree of {sealed.origin} is no continuation of what was signed at {signed.size} leaves."
        )


def refuse_overtaken(
    log: EventLog, ledger: Ledger, witnesses: Sequence[Witness], kept: Sequence[Checkpoint]
) -> None:
    """Insist that nothing was signed of this log that the copy cannot bring forth again.

    Args:
        log: the restored one.
        ledger: beside it.
        witnesses: all of them have to answer.
        kept: checkpoints that somebody kept elsewhere.

    Raises:
        UsageError: the log went on after the backup was made.
        IntegrityViolation: a witness or a kept checkpoint knows another history.
        Unavailable: a witness does not answer.
    """
    number = ledger.log_number(log.origin)
    for head in [] if number is None else ledger.heads(number):
        sealed, newest = (
            SealedLog.stored(ledger, head.log, head.partition),
            ledger.seals.checkpoint(head.log, head.partition),
        )
        if sealed is None or newest is None:
            continue
        tree = LogTree.of(head.seal, ledger.seals)
        reach = sealed.size_at(log.bounds(head.partition).next)
        for witness in witnesses:
            _refuse_beyond(sealed.origin, reach, witnessed_size(witness, merged(newest), tree), witness.name)
        for checkpoint in kept:
            if checkpoint.origin == sealed.origin:
                _refuse_beyond(sealed.origin, reach, checkpoint.size, "a kept checkpoint")
                if checkpoint.size <= tree.size and tree.root(checkpoint.size) != checkpoint.root:
                    raise IntegrityViolation(f"{sealed.origin} had another history at {checkpoint.size} leaves.")


def _refuse_beyond(origin: str, reach: int, size: int, who: str) -> None:
    if size > reach:
        raise UsageError(
            f"{origin} went on after this backup: {who} knows {size} leaves, the backup brings forth {reach}. It"
            " must not be signed again from here. Without --continue the restored records begin a new epoch."
        )
