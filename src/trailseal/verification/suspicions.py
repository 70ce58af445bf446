"""What a verification can find: each kind by name, with the position and, where it is known, the event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import msgspec

from trailseal.errors import IntegrityViolation
from trailseal.model.projection import Projection
from trailseal.model.record import Position

SuspicionKind = Literal[
    "edited-record",
    "deleted-record",
    "inserted-record",
    "moved-record",
    "cut-off-log",
    "damaged-tree",
    "bad-signature",
    "rolled-back",
    "forked",
    "edited-projection",
    "missing-document",
    "foreign-document",
    "altered-index",
    "false-outcome",
    "unordered-removal",
]

MOST: Final = 1_000
"""Suspicions told per partition; a destroyed store would otherwise fill the terminal."""

MEANING: Final[dict[SuspicionKind, str]] = {
    "edited-record": "the record is not the one that was sealed here",
    "deleted-record": "a record was sealed here, and the log holds none",
    "inserted-record": "the log holds a record where none was sealed",
    "moved-record": "the record was sealed at another offset",
    "cut-off-log": "the log ends before what was sealed",
    "damaged-tree": "the tree's own tiles or head, or what belongs to them, are altered or missing",
    "bad-signature": "a checkpoint whose signature does not hold",
    "rolled-back": "the log is smaller than a checkpoint that was signed of it",
    "forked": "the tree is no continuation of a checkpoint that was signed of it",
    "edited-projection": "the event is searchable by something else than its record says",
    "missing-document": "the event is sealed, and no search can find it",
    "foreign-document": "the index holds a document that no record accounts for",
    "altered-index": "the index is not as it was made, so searches may not find what its documents say",
    "false-outcome": "the ledger says of the record what is not so",
    "unordered-removal": "the record was removed, and no genuine order to do so was sealed",
}


class Suspicion(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that is not as it was sealed.

    Attributes:
        kind: see `MEANING`.
        position: the offset it concerns, or the first of a run.
        count: how many offsets in a row.
        tenant_id: of the event, where the record or a row still says.
        event_id: likewise.
        detail: more, without event contents.
    """

    kind: SuspicionKind
    position: Position
    count: int = 1
    tenant_id: str | None = None
    event_id: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """One sentence for an auditor."""
        event = "" if self.event_id is None else f" (event {self.tenant_id}/{self.event_id})"
        run = "" if self.count == 1 else f" and the next {self.count - 1:,}"
        more = "" if self.detail is None else f": {self.detail}"
        return f"{self.position}{run}{event}: {MEANING[self.kind]}{more}."


class Suspicions:
    """Collects what is found in one partition; neighbours alike become one run.

    Attributes:
        all: so far.
        untold: how many more there were.
    """

    def __init__(self, log: int, partition: int) -> None:
        self._log, self._partition = log, partition
        self.all: list[Suspicion] = []
        self.untold = 0

    def add(
        self,
        kind: SuspicionKind,
        offset: int,
        *,
        count: int = 1,
        tenant_id: str | None = None,
        event_id: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Note one offset, or a run of them."""
        position = Position(self._log, self._partition, offset)
        self._note(Suspicion(kind, position, count, tenant_id, event_id, detail))

    def add_event(
        self, kind: SuspicionKind, offset: int, event: Projection | None, *, detail: str | None = None
    ) -> None:
        """Note one offset with the event there, where it is known."""
        tenant_id, event_id = (None, None) if event is None else (event.tenant_id, event.id)
        self.add(kind, offset, tenant_id=tenant_id, event_id=event_id, detail=detail)

    def add_at(self, kind: SuspicionKind, position: Position, *, detail: str) -> None:
        """Note something that is of no partition that was taken in."""
        self._note(Suspicion(kind, position, detail=detail))

    @contextmanager
    def damage(self, offset: int) -> Iterator[None]:
        """Note at that offset what cannot be read because somebody damaged it, and go on behind the block."""
        try:
            yield
        except IntegrityViolation as error:
            self.add("damaged-tree", offset, detail=str(error).removesuffix("."))

    def _note(self, found: Suspicion) -> None:
        last = self.all[-1] if self.all else None
        if last is not None and found.event_id is None and _follows(last, found):
            self.all[-1] = msgspec.structs.replace(last, count=last.count + found.count)
        elif len(self.all) < MOST:
            self.all.append(found)
        else:
            self.untold += 1


def _follows(last: Suspicion, found: Suspicion) -> bool:
    alike = (last.kind, last.event_id, last.detail) == (found.kind, None, found.detail)
    at = last.position
    return alike and Position(at.log, at.partition, at.offset + last.count) == found.position
