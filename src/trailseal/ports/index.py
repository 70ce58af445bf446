"""The projection to search by. It can be thrown away and rebuilt; it is never the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from trailseal.model.projection import Entry, Hit, SortKey
from trailseal.model.query import Count, Query
from trailseal.model.record import Position, Record

_PAGE: Final = 1_000


class Stored(msgspec.Struct, frozen=True, gc=False):
    """Put now."""


class Present(msgspec.Struct, frozen=True, gc=False):
    """The (month, document id) is taken already; nothing was written.

    The caller compares: the same position is its own replay; the same content hash elsewhere is a duplicate;
    anything else is an id collision.
    """

    position: Position
    content_hash: bytes


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """The (month, document id) was erased; nothing was written and nothing may be."""

    position: Position


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The month was dropped by retention; nothing was written."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The index will never take this entry; ``why`` names the rule without event contents."""

    code: str
    why: str


class Retry(msgspec.Struct, frozen=True, gc=False):
    """The index could not take this entry now; the same put later may work."""

    why: str


Verdict = Stored | Present | Tombstone | Expired | Refused | Retry


class Inventory(msgspec.Struct, frozen=True, gc=False):
    """What an index holds that searches can find.

    Attributes:
        documents: how many documents of each (log, partition).
        unplaced: how many more that name no log and partition.
    """

    documents: dict[tuple[int, int], int]
    unplaced: int = 0


class EventIndex(Protocol):
    """Entries by (month, document id); answers by `Query`. Safe to search from many threads; one thread writes.

    ``refresh_interval_s`` is the longest time between `flush` and being seen by searches of any process.
    """

    @property
    def refresh_interval_s(self) -> float:
        """Seconds; see the class."""

    def is_complete(self) -> bool:
        """Whether everything below the heads was put into it; False for a new folder and during a rebuild.

        While it is False, `search`, `count` and `offsets` raise `Rebuilding`; `put` and `flush` work.
        """

    def begin_rebuild(self) -> None:
        """Drop every entry and become incomplete.

        Raises:
            Unavailable: it cannot be done now.
        """

    def mark_complete(self) -> None:
        """Say that everything below the heads is in it and flushed; survives a crash.

        Raises:
            Unavailable: it cannot be done now.
        """

    def put(self, entries: Sequence[Entry]) -> list[Verdict]:
        """Create each entry unless its (month, document id) is taken; one verdict per entry, in order.

        Inside one call, and between calls before a flush, the first entry wins and the later ones are told
        `Present` with its position. No exception for the sake of one item.

        Raises:
            Unavailable: the whole call failed; any part of it may have been written. Calling again is harmless.
            PipelineFault: the index itself is set up wrongly (mapping, template, a registered month missing).
        """

    def flush(self) -> None:
        """Make everything put so far survive a crash. Only then may the head move past it.

        Raises:
            Unavailable: not durable; flush again, or put again: both are harmless.
        """

    def refresh(self) -> None:
        """Make everything flushed so far visible to searches of this object, now.

        Raises:
            Unavailable: it cannot be done now.
        """

    def search(self, query: Query, after: SortKey | None, limit: int) -> list[Hit]:
        """The next ``limit`` hits of the query in its order, strictly past ``after``.

        Complete and exact over everything visible: never a partial answer.

        Raises:
            Unavailable: no complete answer can be given now (`Rebuilding` while the index is incomplete).
        """

    def count(self, query: Query, ceiling: int | None = None) -> Count:
        """How many events match; counting may stop at ``ceiling`` and then says so.

        Raises:
            Unavailable: as `search`.
        """

    def offsets(self, log: int, partition: int, start: int, stop: int) -> list[int]:
        """The offsets in [start, stop) that have a document, ascending, repeated where two documents claim one.

        For reconciling the books, over everything flushed and refreshed.

        Raises:
            Unavailable: as `search`.
        """

    def compare(self, entries: Sequence[Entry]) -> list[str | None]:
        """For each entry whether its document is as `put` would write it now, for verification.

        None: it is. ``missing``: no document has its (month, document id). Else the name of a field that differs
        from the entry's projection. Looks at everything flushed and refreshed.

        Raises:
            Unavailable: as `search`.
        """

    def due(self, entries: Sequence[Entry]) -> Counter[str]:
        """How many terms and values the documents of these entries have, by field; asks nobody.

        Empty for an index whose documents cannot be found by more than what `compare` sees of them.
        """

    def held(self, log: int, partition: int, start: int, stop: int) -> Counter[str]:
        """How many the documents of the offsets in [start, stop) have, by the same fields as `due`.

        Raises:
            Unavailable: as `search`.
        """

    def beside(self, entries: Sequence[Entry]) -> list[str | None]:
        """For each entry of one partition the name of a field by which its document is found and should not be.

        Slow: asked only where `held` and `due` differ.

        Raises:
            Unavailable: as `search`.
        """

    def inventory(self) -> Inventory:
        """Everything that searches can find, of whatever log; over everything flushed and refreshed.

        Raises:
            Unavailable: as `search`.
        """

    def alterations(self) -> list[str]:
        """What about the index itself is not as it was made, so that searches may not find what documents say.

        For verification: sentences without event contents, of fields, aliases and the like; empty where all is
        well, or where what `compare` looks at is all there is to it.

        Raises:
            Unavailable: it cannot be told now.
        """

    def close(self) -> None:
        """Release files and connections; what was not flushed is forgotten."""


def every_hit(index: EventIndex, query: Query) -> Iterator[Hit]:
    """All hits of a query in its order, a page at a time.

    Raises:
        Unavailable: as `EventIndex.search`.
    """
    after: SortKey | None = None
    while True:
        hits = index.search(query, after, _PAGE)
        yield from hits
        if len(hits) < _PAGE:
            return
        after = hits[-1].key


class RecordKeeper(Protocol):
    """An index whose documents hold their records, beside a log that forgets its own after a time."""

    def records(self, log: int, partition: int, start: int, stop: int) -> Iterator[Record]:
        """The records of the documents of [start, stop), byte for byte, in any order; lazily, any number of them.

        Over everything flushed and refreshed. What was erased, or never had a document, is not among them.

        Raises:
            Unavailable: as `EventIndex.search`.
        """
        ...

    def records_at(self, positions: Sequence[Position]) -> Iterator[Record]:
        """Those of the documents of these positions; see `records`."""
        ...
