"""Looking after an index that keeps its own records: its months seen, made anew, and put back from the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from trailseal.model.outcomes import Head
from trailseal.model.projection import Entry
from trailseal.model.record import Record

Reproject = Callable[[Record], Entry | None]
"""What goes into the index for a stored record by today's rules; None where today's rules refuse it."""

Progress = Callable[[str, int, int], None]
"""Told the step in words, how many documents are done, and how many there are."""


class MonthStatus(msgspec.Struct, frozen=True):
    """One month as the register and the cluster know it.

    Attributes:
        month: ``YYYY.MM``.
        state: ``open``; ``dropped`` by retention; ``missing`` where the register names an index that is not there.
        index: the concrete index that the register names.
        documents: how many it holds, tombstones included; 0 where there is none.
        current: whether all of it was written by today's projection and layout.
        reprojecting: whether a re-projection was begun and is not finished.
        retired: concrete indices that were replaced; nothing searches them, nothing deletes them.
    """

    month: str
    state: Literal["open", "dropped", "missing"]
    index: str
    documents: int
    current: bool
    reprojecting: bool
    retired: tuple[str, ...] = ()


class Reprojected(msgspec.Struct, frozen=True):
    """What became of a re-projected month.

    Attributes:
        month: ``YYYY.MM``.
        index: the index that is searched and written from now on.
        retired: the one it replaced, blocked for writes, without an alias.
        documents: how many both hold.
        unchanged: how many were carried over as they were: tombstones, and records that today's rules refuse or
            name otherwise.
    """

    month: str
    index: str
    retired: str
    documents: int
    unchanged: int


class MonthUpkeep(Protocol):
    """Months of an index, beside the processes that write and search it."""

    def months(self) -> list[MonthStatus]:
        """Every registered month, the oldest first.

        Raises:
            Unavailable: the cluster or the register cannot be asked now.
        """

    def reproject(self, month: str, project: Reproject, progress: Progress) -> Reprojected:
        """Make the month anew from its own records, while it is written and searched, and switch over in one step.

        Writers are told `Retry` for as long as the last documents are copied. Interrupted anywhere, the same
        call goes on where it was and finishes.

        Raises:
            UsageError: there is nothing to re-project under that name, or another process is doing it.
            PipelineFault: the new index is not what the old one is; the old one stays in use.
            Unavailable: the cluster does not answer; call again.
        """

    def begin_months(self, months: Sequence[str]) -> None:
        """Make an empty index for each month, unseen by searches and writers until `finish_months`.

        Raises:
            UsageError: a month is there, or was dropped.
            Unavailable: call again.
        """

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries of months that were begun; each is new, or there with the same position.

        Raises:
            PipelineFault: two events claim one name, or an entry is refused.
            Unavailable: call again.
        """

    def documents_below(self, heads: Sequence[Head], begun: Sequence[str]) -> Mapping[tuple[int, int], int]:
        """How many documents every open month and every month begun hold below each head, by (log, partition).

        Raises:
            Unavailable: call again.
        """

    def finish_months(self, months: Sequence[str]) -> None:
        """Let searches and writers see the months that were begun.

        Raises:
            Unavailable: call again.
        """
