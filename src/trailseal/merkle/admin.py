"""The signed statement by which a log removes its own records lawfully: erased or expired, named by offset.

    trailseal-admin/1
    origin audit.example/cluster-1/events/topic-id/0/2
    kind erase
    size 1042
    offsets 17-17
    offsets 40-52
    value 6b5d55f5a7dd05834c76727caed771f79dacbde1e3f4a45f9dd69d9fe90d662d

It is the text of a signed note (``notes``), signed by a key of the log under the log's name, and travels whole in
the header ``trailseal-admin`` of the record that says who asked for it and why. It holds no personal data. The
value's hash binds it to that record, and the offsets, all of them below the record's own, to what it removes; so a
copy elsewhere, or in another epoch, means nothing. Nobody can take it for a checkpoint: that has a number as its
second line.

A line ``ended <origin>`` after ``kind`` makes it speak of a log that has ended, which the one it stands in
continues: the offsets are then that log's, and the size is that of the tree with which it ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, Self

from trailseal.merkle.checkpoints import check_origin, parse_size
from trailseal.merkle.errors import InvalidEncoding, MerkleError, UntrustedNote
from trailseal.merkle.notes import Algorithm, Note, VerifierKey, check_text
from trailseal.merkle.signing import Signer, sign_note, verify_note

ADMIN_HEADER: Final = "trailseal-admin"
"""The record header that carries the note."""

MAX_RUNS: Final = 10_000
"""Runs of offsets that one statement names at most; more are several records."""

_LABEL: Final = "trailseal-admin/1"
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_OFFSET: Final = 2**63 - 1
_LINES_BEFORE: Final = 4
_ENDED: Final = "ended"
_LINES_AFTER: Final = 1


class AdminKind(StrEnum):
    """What becomes of the named offsets."""

    ERASE = "erase"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class OffsetRun:
    """Consecutive offsets, both ends included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many offsets."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class AdminStatement:
    """What a genuine admin record says.

    Attributes:
        origin: the name of the log, with its epoch.
        kind: erased or expired.
        size: the leaves of the log's tree when it was signed; each of the offsets has a leaf in it.
        runs: the offsets, ascending, with at least one offset between two runs; 1 to ``MAX_RUNS``.
        value_hash: SHA-256 of the record's value.
        ended: the name of the log that has ended whose size and offsets these are; None = of the log itself.
    """

    origin: str
    kind: AdminKind
    size: int
    runs: tuple[OffsetRun, ...]
    value_hash: bytes
    ended: str | None = None

    @property
    def count(self) -> int:
        """How many offsets it names."""
        return sum(run.count for run in self.runs)

    def covers(self, offset: int) -> bool:
        """Tell whether it names this offset."""
        low, high = 0, len(self.runs)
        while low < high:
            middle = (low + high) // 2
            if self.runs[middle].last < offset:
                low = middle + 1
            else:
                high = middle
        return low < len(self.runs) and self.runs[low].first <= offset

    def format(self) -> str:
        """Return the text that is signed.

        Raises:
            InvalidEncoding: a part cannot be written in its line, the runs are out of order, touch, or are too
                many, or the log is said to have ended itself.
        """
        _check_runs(self.runs)
        if self.ended == self.origin:
            raise InvalidEncoding("an admin statement stands in another log than the one that has ended")
        lines = [_LABEL, f"origin {self.origin}", f"kind {self.kind.value}"]
        lines += [] if self.ended is None else [f"{_ENDED} {self.ended}"]
        lines += [f"size {self.size}"]
        lines += [f"offsets {run.first}-{run.last}" for run in self.runs]
        text = "\n".join([*lines, f"value {self.value_hash.hex()}", ""])
        try:
            check_origin(self.origin)
            check_origin(self.origin if self.ended is None else self.ended)
            parse_size(str(self.size))
            check_text(text)
        except MerkleError as error:
            raise InvalidEncoding(f"an admin statement that cannot be written: {error}") from error
        if not _HASH.fullmatch(self.value_hash.hex()):
            raise InvalidEncoding("an admin statement holds a SHA-256, 32 bytes")
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a statement's text.

        Raises:
            InvalidEncoding: it is not exactly what ``format`` writes.
        """
        lines = text.split("\n")[:-1]
        ended = [line.partition(" ")[2] for line in lines[3:4] if line.startswith(f"{_ENDED} ")]
        del lines[3 : 3 + len(ended)]
        if len(lines) > _LINES_BEFORE + MAX_RUNS + _LINES_AFTER:
            raise InvalidEncoding(f"an admin statement names at most {MAX_RUNS} runs of offsets")
        try:
            words = [line.split(" ") for line in lines[1:]]
            digits = words[-1][1]
            if not _HASH.fullmatch(digits):
                raise InvalidEncoding("an admin statement's value is no SHA-256")
            statement = cls(
                origin=words[0][1],
                kind=AdminKind(words[1][1]),
                size=parse_size(words[2][1]),
                runs=tuple(_run(word[1]) for word in words[3:-1]),
                value_hash=bytes.fromhex(digits),
                ended=next(iter(ended), None),
            )
            written = statement.format()
        except (MerkleError, IndexError, ValueError) as error:
            raise InvalidEncoding("not an admin statement: a line is missing or malformed") from error
        if written != text:
            raise InvalidEncoding("not an admin statement: lines out of order or not in their only spelling")
        return statement


def runs_of(offsets: Iterable[int]) -> tuple[OffsetRun, ...]:
    """Return offsets, in any order and repeated or not, as the fewest ascending runs."""
    runs: list[OffsetRun] = []
    for offset in sorted(set(offsets)):
        if runs and runs[-1].last + 1 == offset:
            runs[-1] = OffsetRun(runs[-1].first, offset)
        else:
            runs.append(OffsetRun(offset, offset))
    return tuple(runs)


def sign_admin(statement: AdminStatement, signers: Sequence[Signer], time: int) -> bytes:
    """Return the bytes of the header: the statement's note, signed by the log's keys under the log's name.

    Raises:
        InvalidEncoding: the statement cannot be written, or a signer has another name than the log.
        InvalidNote: there is no signer.
    """
    if any(signer.key.name != statement.origin for signer in signers):
        raise InvalidEncoding("an admin statement is signed under the name of its log")
    return sign_note(statement.format(), signers, time).to_bytes()


@dataclass(frozen=True, slots=True)
class EndedTree:
    """The tree with which a log ended.

    Attributes:
        base: the offset of its leaf 1.
        size: its leaves.
    """

    base: int
    size: int


def open_admin(
    header: bytes,
    value: bytes | None,
    *,
    origin: str,
    base: int,
    offset: int,
    keys: Sequence[VerifierKey],
    ended: Callable[[str], EndedTree | None] | None = None,
) -> AdminStatement:
    """Read the header of a record and check that it is genuine in this very place.

    Args:
        header: the value of ``trailseal-admin``.
        value: the record's value.
        origin: the name of the log that the record stands in, with its epoch.
        base: the offset of the log's leaf 1.
        offset: the record's own offset.
        keys: the keys of that log, which were known before this record; its Ed25519 keys count.
        ended: how the log of that name ended, if the chain of geneses before the log that the record stands in
            names that end; else None. Asked only of what is signed; left out, no log is known to have ended.

    Raises:
        InvalidEncoding: the statement is none.
        InvalidNote: the header is no signed note.
        UntrustedNote: it is of another log or epoch, of another record, names offsets that are not below it and in
            the tree it was signed for, speaks of a log whose end is another or not known, or is not signed by a key
            of the log.
    """
    note = Note.parse(header)
    if note.to_bytes() != header:
        raise UntrustedNote("the admin note is not in its only spelling")
    statement = AdminStatement.parse(note.text)
    if statement.origin != origin:
        raise UntrustedNote("the admin statement is of another log or epoch")
    if value is None or sha256(value).digest() != statement.value_hash:
        raise UntrustedNote("the admin statement is of another record")
    if statement.ended is None:
        _check_within(statement, EndedTree(base, statement.size))
        if statement.size > offset - base + 1:
            raise UntrustedNote("the admin statement was signed for a tree that its record is in")
    verify_note(note, [key for key in keys if key.name == origin and key.algorithm is Algorithm.ED25519])
    if statement.ended is not None:
        tree = None if ended is None else ended(statement.ended)
        if tree is None or tree.size != statement.size:
            raise UntrustedNote("the admin statement is of a log that this one does not continue from there")
        _check_within(statement, tree)
    return statement


def _check_within(statement: AdminStatement, tree: EndedTree) -> None:
    first, last = statement.runs[0].first, statement.runs[-1].last
    if first < tree.base or last - tree.base + 2 > tree.size:
        raise UntrustedNote("the admin statement names offsets outside the tree it was signed for")


def _check_runs(runs: Sequence[OffsetRun]) -> None:
    if not 0 < len(runs) <= MAX_RUNS:
        raise InvalidEncoding(f"an admin statement names 1 to {MAX_RUNS} runs of offsets")
    before = -2
    for run in runs:
        if not before + 1 < run.first <= run.last <= _MAX_OFFSET:
            raise InvalidEncoding("the offsets of an admin statement are ascending runs that do not touch")
        before = run.last


def _run(text: str) -> OffsetRun:
    first, _, last = text.partition("-")
    return OffsetRun(parse_size(first), parse_size(last))
