"""What became of an import's records, told from the outcome rows over the positions it appended."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import msgspec

from trailseal.errors import Problem
from trailseal.model.outcomes import OutcomeRow
from trailseal.model.record import Position
from trailseal.ports.ledger import Ledger

MOST_PROBLEMS = 1_000


class ImportProblem(msgspec.Struct, frozen=True, gc=False):
    """One part of an input that did not become an event.

    Attributes:
        source: the input's name.
        line: the line it begins in, from 1; None where the input itself cannot be read.
        code: the problem's kebab-case name.
        detail: one sentence.
        field: the field at fault, or None.
        position: of the dead letter; None where nothing could be appended.
    """

    source: str
    line: int | None
    code: str
    detail: str
    field: str | None = None
    position: Position | None = None


class ImportResult(msgspec.Struct, frozen=True):
    """The summary of an import.

    It adds up: ``read`` = ``new`` + ``already_there`` + ``duplicates`` + ``dead_letters`` + ``erased``
    + ``expired`` + ``unreadable``.

    Attributes:
        read: records found in the inputs.
        new: indexed by this import (id collisions among them).
        already_there: in the log before this import began, under the same id with the same content.
        duplicates: repeated inside these inputs.
        dead_letters: appended, kept and listed, but no events.
        erased: erased before; they do not come back.
        expired: of months that retention dropped.
        unreadable: could not even be appended; ``problems`` says why.
        id_collisions: among the new: their id was taken by another event.
        problems: dead letters and unreadable parts with file and line, the first thousand.
        problems_untold: how many more there were.
        sources: inputs read to their end.
        bytes_read: bytes read from the inputs themselves.
        seconds: how long it took until everything was visible.
    """

    read: int
    new: int
    already_there: int
    duplicates: int
    dead_letters: int
    erased: int
    expired: int
    unreadable: int
    id_collisions: int
    problems: tuple[ImportProblem, ...]
    problems_untold: int
    sources: int
    bytes_read: int
    seconds: float


_SETTLED = 2
"""Records after which a run of them has its step."""


class _Runs:
    """Runs of one partition's records: neighbours in the log and, by a fixed step, in their input."""

    def __init__(self) -> None:
        self.firsts, self.counts = array("q"), array("q")
        self._sources, self._lines, self._steps = array("q"), array("q"), array("q")

    def add(self, offset: int, source: int, line: int) -> None:
        """Note one record; offsets only grow."""
        at = len(self.firsts) - 1
        if at >= 0 and source == self._sources[at] and offset == self.firsts[at] + self.counts[at]:
            if self.counts[at] == 1:
                self._steps[at] = line - self._lines[at]
            if line == self._lines[at] + self._steps[at] * self.counts[at]:
                self.counts[at] += 1
                return
        self.firsts.append(offset)
        self.counts.append(1)
        self._sources.append(source)
        self._lines.append(line)
        self._steps.append(0)

    def extend(self, offset: int, source: int, lines: Sequence[int]) -> None:
        """Note neighbours in the log, by their lines."""
        for at, line in enumerate(lines[:_SETTLED]):
            self.add(offset + at, source, line)
        rest = lines[_SETTLED:]
        if not rest:
            return
        step, first = self._steps[-1], lines[_SETTLED - 1] + self._steps[-1]
        if step > 0 and self.counts[-1] > 1 and rest == list(range(first, first + step * len(rest), step)):
            self.counts[-1] += len(rest)
            return
        for at, line in enumerate(rest, _SETTLED):
            self.add(offset + at, source, line)

    def find(self, offset: int) -> tuple[int, int] | None:
        """Source and line of an offset."""
        at = bisect_right(self.firsts, offset) - 1
        if at < 0 or offset >= self.firsts[at] + self.counts[at]:
            return None
        return self._sources[at], self._lines[at] + self._steps[at] * (offset - self.firsts[at])


class Origins:
    """Where each appended record came from: some forty bytes for any number of lines in a row.

    Attributes:
        count: records noted.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[int, int], _Runs] = {}
        self.count = 0

    def add(self, position: Position, source: int, line: int) -> None:
        """Note one record: its position, the number of its input, its line."""
        self.count += 1
        self._runs.setdefault((position.log, position.partition), _Runs()).add(position.offset, source, line)

    def extend(self, positions: Sequence[Position], source: int, lines: Sequence[int]) -> None:
        """Note the records of one append: their positions, the number of their input, their lines."""
        first = positions[0]
        alone = {position.partition for position in positions} == {first.partition}
        if alone and positions[-1].offset - first.offset == len(positions) - 1:
            self.count += len(positions)
            self._runs.setdefault((first.log, first.partition), _Runs()).extend(first.offset, source, lines)
            return
        for position, line in zip(positions, lines, strict=True):
            self.add(position, source, line)

    def spans(self) -> list[tuple[int, int, int, int]]:
        """Log, partition, first offset and offset behind the last, of everything appended."""
        return [
            (log, partition, runs.firsts[0], runs.firsts[-1] + runs.counts[-1])
            for (log, partition), runs in sorted(self._runs.items())
        ]

    def find(self, position: Position) -> tuple[int, int] | None:
        """Number of the input and line of a record, or None where this import did not append it."""
        runs = self._runs.get((position.log, position.partition))
        return None if runs is None else runs.find(position.offset)


class Tally:
    """Sums what became of the records of an import.

    Args:
        origins: what was appended.
        sources: names of the inputs, by number.
    """

    def __init__(self, origins: Origins, sources: Sequence[str]) -> None:
        self._origins, self._sources = origins, sources
        self.kinds: Counter[str] = Counter()
        self.problems: list[ImportProblem] = []
        self.untold = 0

    def unreadable(self, source: int, line: int | None, problem: Problem) -> None:
        """Count a part that could not be appended."""
        self.kinds["unreadable"] += 1
        self._tell(ImportProblem(self._sources[source], line, problem.code, problem.detail, problem.field))

    def judge(self, ledger: Ledger) -> None:
        """Read every row over what was appended; all of it has to be below the heads.

        Raises:
            Unavailable: the ledger does not answer.
        """
        for log, partition, start, stop in self._origins.spans():
            for row in ledger.outcomes(log, partition, start, stop):
                self._row(row)

    def _row(self, row: OutcomeRow) -> None:
        place = self._origins.find(row.position)
        if place is None:
            return
        if row.kind == "duplicate":
            inside = row.of is not None and self._origins.find(row.of) is not None
            self.kinds["duplicates" if inside else "already_there"] += 1
            return
        self.kinds[row.kind] += 1
        if row.kind == "dead_letter":
            source, line = place
            self._tell(
                ImportProblem(
                    self._sources[source], line, row.code or "", row.detail or "", row.field, row.position
                )
            )

    def _tell(self, problem: ImportProblem) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
        else:
            self.untold += 1

    def result(self, *, sources: int, bytes_read: int, seconds: float) -> ImportResult:
        """The summary; see `ImportResult`."""
        kinds, appended = self.kinds, self._origins.count
        not_new = ("already_there", "duplicates", "dead_letter", "erased", "expired")
        return ImportResult(
            read=appended + kinds["unreadable"],
            new=appended - sum(kinds[kind] for kind in not_new),
            already_there=kinds["already_there"],
            duplicates=kinds["duplicates"],
            dead_letters=kinds["dead_letter"],
            erased=kinds["erased"],
            expired=kinds["expired"],
            unreadable=kinds["unreadable"],
            id_collisions=kinds["id_collision"],
            problems=tuple(self.problems),
            problems_untold=self.untold,
            sources=sources,
            bytes_read=bytes_read,
            seconds=seconds,
        )
