"""The books: how far each partition was taken in, and what became of everything that is not simply indexed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from trailseal.errors import IntegrityViolation
from trailseal.model.outcomes import Delta, Head, OutcomeKind, OutcomeRow, Totals
from trailseal.model.record import Position, Record
from trailseal.ports.seals import SealStore

_T = TypeVar("_T")


class Document(msgspec.Struct, frozen=True, gc=False):
    """A small named document and the token that guards its next change."""

    body: bytes
    version: str

    def read(self, kind: type[_T], name: str) -> _T:
        """Its body, JSON, as what its writer put there.

        Raises:
            IntegrityViolation: it is something else: somebody changed the document of that name.
        """
        return as_written(msgspec.json.Decoder(kind), self.body, name)


def as_written(decoder: msgspec.json.Decoder[_T], body: bytes, name: str) -> _T:
    """What a stored document of the ledger says.

    Raises:
        IntegrityViolation: somebody made something else of it.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(name) from error


def damaged(name: str) -> IntegrityViolation:
    """What to raise where a stored document of the ledger is not what its writer put there."""
    return IntegrityViolation(
        f"The ledger's document {name} is not as Trailseal writes it: restore the ledger from a backup or a"
        " snapshot."
    )


class Ledger(Protocol):
    """Heads, rows, kept records and small documents. Safe to use from many threads.

    Every method raises `Unavailable` where the store cannot be used now, and `UsageError` on a write through a
    ledger opened for reading only.
    """

    @property
    def seals(self) -> SealStore:
        """The tiles and checkpoints that prove its logs."""
        ...

    def log_number(self, origin: str) -> int | None:
        """The number of that log, or None where it has none yet."""

    def register_log(self, origin: str) -> int:
        """The number of that log; a new one gets the next (1 for the first). Idempotent, safe against races."""

    def logs(self) -> dict[int, str]:
        """Every registered log: number -> origin."""

    def head(self, log: int, partition: int) -> Head | None:
        """The head, with every finished advance in it; None before `open_partition`."""

    def heads(self, log: int) -> list[Head]:
        """All heads of a log, by partition."""

    def open_partition(self, log: int, partition: int, base: int) -> Head:
        """Create the head at ``base`` with nothing taken in, or return the one that exists."""

    def advance(self, expected: Head, delta: Delta) -> Head:
        """Move the head and write the rows in one step: both or neither, whatever crashes.

        Rows of one position and kind are written once; a replayed delta is harmless.

        Raises:
            Fenced: the head is not ``expected`` any more; nothing was written.
        """

    def outcomes(
        self,
        log: int,
        partition: int,
        start: int = 0,
        stop: int | None = None,
        kinds: Sequence[OutcomeKind] | None = None,
    ) -> Iterator[OutcomeRow]:
        """Rows whose run touches [start, stop), in order of position; lazily, any number of them."""

    def totals(self, log: int, partition: int) -> Totals:
        """The sums of all rows of the partition."""

    def keep(self, records: Sequence[Record]) -> None:
        """Store whole records by position (dead letters), durable on return; keeping again is harmless.

        They count only once a row names them.
        """

    def kept(self, position: Position) -> Record | None:
        """The record kept under that position, byte for byte, or None."""

    def kept_among(self, positions: Sequence[Position]) -> dict[Position, Record]:
        """Those that are kept, by position: one question for about a hundred."""

    def document(self, name: str) -> Document | None:
        """The named document, or None."""

    def documents(self, prefix: str) -> dict[str, Document]:
        """All documents whose name begins so, by name."""

    def put_document(self, name: str, body: bytes, expected: str | None) -> str:
        """Write if the stored version is ``expected`` (None: if there is none yet); the new version.

        Raises:
            Fenced: another version is stored; nothing was written.
        """

    def delete_document(self, name: str, expected: str) -> None:
        """Delete if the stored version is ``expected``; deleting what is gone is harmless.

        Raises:
            Fenced: another version is stored.
        """

    def close(self) -> None:
        """Release files and connections."""
