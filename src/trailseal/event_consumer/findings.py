"""What does not add up, by name: runs of offsets with a sentence each."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from trailseal.model.record import Position

FindingKind = Literal[
    "missing",
    "indexed-twice",
    "row-and-document",
    "two-rows",
    "collision-not-indexed",
    "kept-record-missing",
    "head-past-log",
    "document-past-log",
    "document-before-log",
    "totals-differ",
]

MOST: Final = 1_000
"""Findings told per partition; a broken store would otherwise fill the terminal."""

_MEANING: Final[dict[str, str]] = {
    "missing": "neither a document nor a row",
    "indexed-twice": "more than one document",
    "row-and-document": "a document, and a row that says there is none",
    "two-rows": "two rows that both say there is no document",
    "collision-not-indexed": "a row for an id collision, but no document",
    "kept-record-missing": "a dead letter whose record is not kept",
    "head-past-log": "the log ends before the head",
    "document-past-log": "a document past the end of the log",
    "document-before-log": "a document from before the log was taken in",
    "totals-differ": "totals that differ from the rows",
}


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that does not add up.

    Attributes:
        kind: see `FindingKind`.
        position: the first offset it concerns.
        count: how many offsets in a row it concerns.
        detail: more, without event contents, or None.
    """

    kind: FindingKind
    position: Position
    count: int = 1
    detail: str | None = None

    def __str__(self) -> str:
        """A sentence for the operator."""
        run = "" if self.count == 1 else f" and the next {self.count - 1}"
        more = "" if self.detail is None else f" ({self.detail})"
        return f"{self.position}{run}: {_MEANING[self.kind]}{more}."


class Findings:
    """Collects findings of one partition; neighbours of one kind become one run.

    Attributes:
        all: the findings so far.
        untold: how many more there were.
    """

    def __init__(self, log: int, partition: int) -> None:
        self._log, self._partition = log, partition
        self.all: list[Finding] = []
        self.untold = 0

    def add(self, kind: FindingKind, offset: int, detail: str | None = None) -> None:
        """Note one offset."""
        last = self.all[-1] if self.all else None
        if last is not None and (last.kind, last.detail, last.position.offset + last.count) == (
            kind,
            detail,
            offset,
        ):
            self.all[-1] = msgspec.structs.replace(last, count=last.count + 1)
        elif len(self.all) < MOST:
            self.all.append(Finding(kind, Position(self._log, self._partition, offset), detail=detail))
        else:
            self.untold += 1
