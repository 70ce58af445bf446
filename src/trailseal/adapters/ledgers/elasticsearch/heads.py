"""Heads that carry their delta, so that head and rows move in one compare-and-set.

A head document holds the position, the totals, the tree's right edge and the rows of its last step. Those rows
count from the moment the document is written. They get documents of their own afterwards, before the next step,
by whoever makes it: creating them again is harmless. A step with very many rows writes them first, in chunks named
by their content; they count only if the head that names them is written, so one that lost the race leaves orphans
that nothing refers to.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

import msgspec

from trailseal.adapters.ledgers.elasticsearch.rows import Rows, row_key, well_formed
from trailseal.adapters.ledgers.elasticsearch.store import DocumentStore, StoredDocument
from trailseal.errors import Fenced, PipelineFault, Unavailable
from trailseal.model.outcomes import Delta, Head, OutcomeRow, Totals
from trailseal.model.record import Int64

MAX_INLINE_ROWS: Final = 500
CHUNK_ROWS: Final = 2_000
_READ_ATTEMPTS: Final = 5
_COUNTER: Final = {
    "duplicate": "duplicates",
    "dead_letter": "dead_letters",
    "gap": "gaps",
    "expired": "expired",
    "erased": "erased",
    "id_collision": "id_collisions",
}


class HeadDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a partition.

    Attributes:
        log: see `Head`.
        partition: see `Head`.
        base: see `Head`.
        next: see `Head`.
        totals: sums of all rows, those of this step included.
        seal: see `Head`.
        rows: of the last step.
        chunks: ids of the documents that hold the last step's rows where they are too many for this one.
        replaces: the last step's rows are removals, which take the place of what else is said of their positions.
    """

    log: Int64
    partition: Int64
    base: Int64
    next: Int64
    totals: Totals = Totals()
    seal: bytes | None = None
    rows: tuple[OutcomeRow, ...] = ()
    chunks: tuple[str, ...] = ()
    replaces: bool = False


class _Chunk(msgspec.Struct, frozen=True):
    rows: tuple[OutcomeRow, ...]


class _State(msgspec.Struct, frozen=True):
    """A head document and what we know about its rows.

    Attributes:
        version: of the document.
        document: as stored.
        written_out: whether this process saw all its rows become documents.
    """

    version: str
    document: HeadDocument
    written_out: bool = False


_HEAD: Final = msgspec.json.Decoder(HeadDocument)
_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class Heads:
    """All heads. Safe to use from many threads."""

    def __init__(self, store: DocumentStore, rows: Rows) -> None:
        self._store = store
        self._rows = rows
        self._lock = threading.Lock()
        self._latest: dict[tuple[int, int], _State] = {}

    def open(self, log: int, partition: int, base: int) -> Head:
        """Create the head, or return the one that exists."""
        document = HeadDocument(log, partition, base, base)
        with suppress(Fenced):
            version = self._store.create(head_id(log, partition), msgspec.json.encode(document))
            self._remember(_State(version, document, written_out=True))
            return _head(version, document)
        existing = self.read(log, partition)
        if existing is None:
            raise Unavailable("a head was there and is gone: the ledger is being restored; try again")
        return existing

    def read(self, log: int, partition: int) -> Head | None:
        """The head as it is stored now."""
        state = self._stored(log, partition)
        return None if state is None else _head(state.version, state.document)

    def read_many(self, log: int, partitions: Sequence[int]) -> list[Head]:
        """Those heads that exist, by partition."""
        found = self._store.get_many([head_id(log, partition) for partition in partitions])
        documents = [(stored.read(_HEAD), stored.version) for stored in found.values()]
        return sorted(
            (_head(version, document) for document, version in documents), key=lambda head: head.partition
        )

    def totals(self, log: int, partition: int) -> Totals:
        """The sums of all rows."""
        state = self._stored(log, partition)
        return Totals() if state is None else state.document.totals

    def last_rows(self, log: int, partition: int) -> tuple[tuple[OutcomeRow, ...], bool]:
        """The rows of the last step, which may have no documents yet; and whether they take others' places."""
        for _ in range(_READ_ATTEMPTS):
            state = self._stored(log, partition)
            if state is None:
                return (), False
            rows = self._expand(state.document)
            if rows is not None:
                return rows, state.document.replaces
        raise Unavailable("the head moves faster than its rows can be read; try again")

    def advance(self, expected: Head, delta: Delta) -> Head:
        """See `Ledger.advance`."""
        if delta.next < expected.next:
            raise PipelineFault(f"a head cannot go back from {expected.next} to {delta.next}")
        before = self._finish(self._state_of(expected))
        rows = self._new_rows(expected, well_formed(delta.rows))
        totals = _added(before.document.totals, rows)
        return self._step(expected, before, msgspec.structs.replace(delta, rows=tuple(rows)), totals)

    def remove(self, expected: Head, rows: Sequence[OutcomeRow]) -> Head:
        """See `ErasableLedger.remove`; the rows count when the head is written, the replaced ones go afterwards."""
        before = self._finish(self._state_of(expected))
        distinct = list({row_key(row): row for row in reversed(rows)}.values())[::-1]
        fresh = self._rows.unwritten(distinct)
        if not fresh:
            return expected
        totals = _added(_added(before.document.totals, fresh), self._rows.replaced(fresh), sign=-1)
        return self._step(expected, before, Delta(expected.next, tuple(fresh)), totals, replaces=True)

    def finish(self, log: int, partition: int) -> None:
        """Make documents of the last step's rows now, and delete those whose place they took.

        Raises:
            Fenced: another process moved the head meanwhile, and has done it.
        """
        state = self._stored(log, partition)
        if state is not None:
            with self._lock:
                known = self._latest.get((log, partition))
            self._finish(known if known is not None and known.version == state.version else state)

    def _step(
        self, expected: Head, before: _State, delta: Delta, totals: Totals, *, replaces: bool = False
    ) -> Head:
        rows = delta.rows
        inline, chunks = self._place(expected, rows)
        document = HeadDocument(
            expected.log,
            expected.partition,
            before.document.base,
            delta.next,
            totals,
            before.document.seal if delta.seal is None else delta.seal,
            inline,
            chunks,
            replaces,
        )
        name = head_id(expected.log, expected.partition)
        try:
            version = self._store.replace(name, msgspec.json.encode(document), expected.version)
        except Fenced as error:
            raise _fenced(expected) from error
        self._remember(_State(version, document, written_out=not rows))
        self._forget_chunks(before.document.chunks)
        return _head(version, document)

    def _stored(self, log: int, partition: int) -> _State | None:
        stored: StoredDocument | None = self._store.get(head_id(log, partition))
        return None if stored is None else _State(stored.version, stored.read(_HEAD))

    def _remember(self, state: _State) -> None:
        with self._lock:
            self._latest[state.document.log, state.document.partition] = state

    def _state_of(self, expected: Head) -> _State:
        """The stored state that the caller believes in.

        Raises:
            Fenced: the head is not that one any more.
        """
        with self._lock:
            state = self._latest.get((expected.log, expected.partition))
        if state is None or state.version != expected.version:
            state = self._stored(expected.log, expected.partition)
        if state is None or state.version != expected.version:
            raise _fenced(expected)
        return state

    def _finish(self, state: _State) -> _State:
        """Make documents of the last step's rows; our own step or one that another owner left."""
        if state.written_out:
            return state
        rows = self._expand(state.document)
        if rows is None:
            raise _fenced(_head(state.version, state.document))
        if state.document.replaces:
            self._rows.write_removals(rows)
        else:
            self._rows.write(rows)
        finished = _State(state.version, state.document, written_out=True)
        self._remember(finished)
        return finished

    def _expand(self, document: HeadDocument) -> tuple[OutcomeRow, ...] | None:
        """The last step's rows; None where their chunks are gone, which says that the head has moved on."""
        if not document.chunks:
            return document.rows
        found = self._store.get_many(document.chunks)
        if len(found) < len(document.chunks):
            return None
        return tuple(row for name in document.chunks for row in found[name].read(_CHUNK).rows)

    def _new_rows(self, expected: Head, rows: Sequence[OutcomeRow]) -> list[OutcomeRow]:
        """The rows that do not exist yet, each once: totals count nothing twice."""
        distinct = list({row_key(row): row for row in reversed(rows)}.values())[::-1]
        old = [row for row in distinct if row.position.offset < expected.next]
        if not old:
            return distinct
        unknown = {row_key(row) for row in self._rows.unknown(old)}
        return [row for row in distinct if row.position.offset >= expected.next or row_key(row) in unknown]

    def _place(self, expected: Head, rows: Sequence[OutcomeRow]) -> tuple[tuple[OutcomeRow, ...], tuple[str, ...]]:
        """The rows themselves for the head, or the names of chunks that were stored before it."""
        if len(rows) <= MAX_INLINE_ROWS:
            return tuple(rows), ()
        names = []
        for start in range(0, len(rows), CHUNK_ROWS):
            body = msgspec.json.encode(_Chunk(tuple(rows[start : start + CHUNK_ROWS])))
            digest = sha256(f"{expected.version}\n".encode() + body).hexdigest()
            name = f"rows.{expected.log}.{expected.partition}.{digest}"
            with suppress(Fenced):
                self._store.create(name, body)
            names.append(name)
        return (), tuple(names)

    def _forget_chunks(self, names: Sequence[str]) -> None:
        """Delete chunks whose rows are documents by now and that no head names any more."""
        for name in names:
            with suppress(Unavailable, Fenced):
                self._store.delete(name)


def head_id(log: int, partition: int) -> str:
    """The id of a head's document."""
    return f"head.{log}.{partition}"


def _head(version: str, document: HeadDocument) -> Head:
    return Head(document.log, document.partition, document.base, document.next, version, document.seal)


def _added(totals: Totals, rows: Sequence[OutcomeRow], sign: int = 1) -> Totals:
    sums: dict[str, int] = msgspec.structs.asdict(totals)
    for row in rows:
        sums[_COUNTER[row.kind]] += sign * row.count
    return Totals(**sums)


def _fenced(expected: Head) -> Fenced:
    return Fenced(
        f"partition {expected.log}/{expected.partition} was taken over by another process after offset "
        f"{expected.next}: read the head and start anew"
    )
