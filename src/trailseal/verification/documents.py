"""What searches find of one partition, against what its records say: every document, every term."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from trailseal.model.outcomes import Head
from trailseal.model.projection import Entry
from trailseal.model.record import Record
from trailseal.ports.index import EventIndex
from trailseal.verification.suspicions import Suspicions

Decode = Callable[[Record], Entry | None]
"""Gives the event of a record; None where it is none."""


class DocumentCheck:
    """Checks the documents of one partition, a stretch of offsets at a time.

    Args:
        index: the documents.
        head: of the partition.
        suspicions: told what is found.

    Attributes:
        seen: documents that were come upon so far.
        doubtful: offsets of which something was found already, or whose record says nothing about their document.
    """

    def __init__(self, index: EventIndex, head: Head, suspicions: Suspicions) -> None:
        self._index, self._head, self._suspicions = index, head, suspicions
        self.seen = 0
        self.doubtful: set[int] = set()
        self._due: Counter[str] = Counter()
        self._expected: list[Entry] = []
        self._originals: list[Entry] = []

    def expect(self, made: Entry) -> None:
        """An event of the stretch that has to have a document."""
        self._expected.append(made)

    def expect_original(self, made: Entry) -> None:
        """The event that a duplicate is of, wherever it stands."""
        self._originals.append(made)

    def check(self, span: range, expected: AbstractSet[int], records: Mapping[int, Record], decode: Decode) -> None:
        """Hold what was expected against what is there.

        Args:
            span: the stretch.
            expected: its offsets that have to have documents.
            records: those that are as they were sealed, by offset.
            decode: makes events of them.
        """
        self._due += self._index.due(self._expected)
        missing = self._compare([*self._expected, *self._originals])
        self._expected.clear()
        self._originals.clear()
        seen = self._come_upon(span, expected)
        for offset in sorted((expected & records.keys()) - seen - missing):
            made = decode(records[offset])
            if made is not None:
                self.doubtful.add(offset)
                self._unfound(made, "there is one, and no search comes upon it")

    def count_terms(self, first: int, last: int, again: Callable[[], Iterable[list[Entry]]]) -> None:
        """Whether documents are found by what their records say and nothing else; see `EventIndex.held`.

        Args:
            first: the first offset of what was checked since the last call.
            last: the one behind it.
            again: gives the entries of all its records once more.
        """
        log, partition = self._head.log, self._head.partition
        due, self._due = self._due, Counter()
        held = self._index.held(log, partition, first, last)
        if held != due:
            found = bool(self.doubtful)
            for entries in again():
                found |= self._beside(
                    [one for one in entries if one.projection.position.offset not in self.doubtful]
                )
            if not found and held == self._index.held(log, partition, first, last):
                names = ", ".join(sorted(name for name in held | due if held[name] != due[name]))
                detail = f"their documents have another number of terms than their records, in {names}"
                self._suspicions.add("edited-projection", first, count=last - first, detail=detail)
        self.doubtful.clear()

    def _compare(self, wanted: list[Entry]) -> set[int]:
        """Note what is not as its record says; the offsets that have no document."""
        missing: set[int] = set()
        for made, difference in zip(wanted, self._index.compare(wanted), strict=True):
            if difference is None:
                continue
            offset = made.projection.position.offset
            self.doubtful.add(offset)
            if difference == "missing":
                missing.add(offset)
                self._unfound(made, None)
            else:
                self._edited(made, difference)
        return missing

    def _come_upon(self, span: range, expected: AbstractSet[int]) -> set[int]:
        """The offsets that searches come upon; those that they should not are noted."""
        found = self._index.offsets(self._head.log, self._head.partition, span.start, span.stop)
        self.seen += len(found)
        seen: set[int] = set()
        for offset in found:
            if offset not in expected or offset in seen:
                self.doubtful.add(offset)
            if offset not in expected:
                self._suspicions.add("foreign-document", offset, detail="the ledger says that there is none")
            elif offset in seen:
                self._suspicions.add("foreign-document", offset, detail="a second one for this position")
            seen.add(offset)
        return seen

    def _beside(self, entries: list[Entry]) -> bool:
        """Note documents that are found by more than their records say; whether there was any."""
        found = False
        for made, name in zip(entries, self._index.beside(entries), strict=True):
            if name is not None:
                found = True
                self._edited(made, name)
        return found

    def _edited(self, made: Entry, name: str) -> None:
        found = made.projection
        self._suspicions.add_event("edited-projection", found.position.offset, found, detail=f"the field {name}")

    def _unfound(self, made: Entry, detail: str | None) -> None:
        found = made.projection
        self._suspicions.add_event("missing-document", found.position.offset, found, detail=detail)
