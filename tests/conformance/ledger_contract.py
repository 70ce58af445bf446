"""What every `Ledger` must do, whatever keeps the books.

An adapter's test subclasses `LedgerContract` and gives its fixtures. Nothing here assumes an empty ledger: every
test registers a log of its own and names documents under a prefix of its own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from conformance.log_contract import ODD_RECORDS
from trailseal.errors import Fenced
from trailseal.model.outcomes import Delta, Head, OutcomeKind, OutcomeRow, Totals
from trailseal.model.record import Position, Record
from trailseal.ports.erasure import ErasableLedger
from trailseal.ports.ledger import Document, Ledger

KINDS: tuple[OutcomeKind, ...] = ("duplicate", "id_collision", "dead_letter", "gap", "expired", "erased")
RUNS = frozenset({"gap", "expired", "erased"})
SUMS: dict[OutcomeKind, str] = {
    "duplicate": "duplicates",
    "id_collision": "id_collisions",
    "dead_letter": "dead_letters",
    "gap": "gaps",
    "expired": "expired",
    "erased": "erased",
}


def fresh_log(ledger: Ledger) -> int:
    """The number of a log nobody else uses."""
    return ledger.register_log(f"test/{uuid.uuid4().hex}/1")


def fresh_name() -> str:
    """A document prefix nobody else uses."""
    return f"test-{uuid.uuid4().hex}/"


def row(head: Head, offset: int, kind: OutcomeKind = "duplicate", count: int = 1) -> OutcomeRow:
    """A row of that head's partition."""
    of = Position(head.log, head.partition, 0) if kind in {"duplicate", "id_collision"} else None
    return OutcomeRow(Position(head.log, head.partition, offset), kind, count, of)


def rows_of(ledger: Ledger, head: Head, start: int = 0, stop: int | None = None) -> list[OutcomeRow]:
    """All rows that touch the range."""
    return list(ledger.outcomes(head.log, head.partition, start, stop))


def summed(rows: Sequence[OutcomeRow]) -> Totals:
    """The plain sums."""
    return Totals(**{name: sum(r.count for r in rows if r.kind == kind) for kind, name in SUMS.items()})


def race(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run all at once; each one's result, or `Fenced` where it was raised."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        together.wait()
        try:
            return call()
        except Fenced:
            return Fenced

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


class LedgerContract:
    """The contract; see the module."""

    examples: ClassVar[int] = 30
    """How many Hypothesis examples a property gets."""
    rounds: ClassVar[int] = 20
    """How often each race is run."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        """The ledger under test; closed by its own fixture."""
        raise NotImplementedError

    @pytest.fixture
    def second(self) -> Callable[[], Ledger]:
        """Opens one more handle on the same books, as another process would; closed by its own fixture."""
        raise NotImplementedError

    @pytest.fixture
    def reopened(self) -> Callable[[], Ledger]:
        """Opens the books as they would be found if everything had died now, without closing ``ledger``."""
        raise NotImplementedError

    # -- logs ------------------------------------------------------------------------------------------------

    def test_a_log_gets_a_number_once_and_for_all(
        self, ledger: Ledger, second: Callable[[], Ledger], reopened: Callable[[], Ledger]
    ) -> None:
        origins = [f"test/{uuid.uuid4().hex}/{epoch}" for epoch in (1, 2)]
        assert ledger.log_number(origins[0]) is None
        numbers = [ledger.register_log(origin) for origin in origins]
        assert numbers[1] > numbers[0] >= 1
        assert [ledger.register_log(origin) for origin in origins] == numbers
        for handle in (second(), reopened()):
            assert [handle.log_number(origin) for origin in origins] == numbers
            assert {n: o for n, o in handle.logs().items() if o in origins} == dict(
                zip(numbers, origins, strict=True)
            )

    def test_registering_at_once_gives_one_number_to_each_origin(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        handles = (ledger, second())
        origins = [f"test/{uuid.uuid4().hex}/1" for _ in range(4)]
        numbers = race([lambda h=h, o=o: h.register_log(o) for o in origins for h in handles])
        assert numbers[::2] == numbers[1::2]
        assert len(set(numbers)) == len(origins)

    # -- heads -----------------------------------------------------------------------------------------------

    def test_a_partition_has_no_head_before_it_is_opened(self, ledger: Ledger) -> None:
        log = fresh_log(ledger)
        assert ledger.head(log, 0) is None
        assert ledger.heads(log) == []
        assert ledger.totals(log, 0) == Totals()
        assert list(ledger.outcomes(log, 0)) == []

    def test_an_opened_partition_stands_at_its_base_with_nothing_taken_in(self, ledger: Ledger) -> None:
        log = fresh_log(ledger)
        head = ledger.open_partition(log, 3, 1_000)
        assert (head.log, head.partition, head.base, head.next, head.seal) == (log, 3, 1_000, 1_000, None)
        assert head.taken_in == 0
        assert ledger.head(log, 3) == head
        assert ledger.totals(log, 3) == Totals()

    def test_opening_again_gives_the_head_that_exists(self, ledger: Ledger, second: Callable[[], Ledger]) -> None:
        log = fresh_log(ledger)
        head = ledger.advance(ledger.open_partition(log, 0, 5), Delta(9))
        assert ledger.open_partition(log, 0, 77) == head
        assert second().open_partition(log, 0, 5) == head

    def test_opening_at_once_makes_one_head(self, ledger: Ledger, second: Callable[[], Ledger]) -> None:
        log = fresh_log(ledger)
        handles = (ledger, second())
        heads = race([lambda h=handles[n % 2], b=n: h.open_partition(log, 0, b) for n in range(6)])
        assert all(head == heads[0] for head in heads)

    def test_heads_of_a_log_are_listed_by_partition(self, ledger: Ledger) -> None:
        log, other = fresh_log(ledger), fresh_log(ledger)
        ledger.open_partition(other, 0, 0)
        opened = {partition: ledger.open_partition(log, partition, partition * 10) for partition in (11, 2, 0)}
        assert ledger.heads(log) == [opened[0], opened[2], opened[11]]

    def test_an_advance_moves_the_head_and_writes_its_rows(
        self, ledger: Ledger, second: Callable[[], Ledger], reopened: Callable[[], Ledger]
    ) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        rows = (row(head, 1), row(head, 4, "gap", 3), row(head, 9, "dead_letter"))
        moved = ledger.advance(head, Delta(10, rows, b"edge"))
        assert (moved.base, moved.next, moved.seal) == (0, 10, b"edge")
        assert moved.version != head.version
        for handle in (ledger, second(), reopened()):
            assert handle.head(head.log, 0) == moved
            assert handle.heads(head.log) == [moved]
            assert rows_of(handle, head) == list(rows)
            assert handle.totals(head.log, 0) == summed(rows)

    def test_every_advance_gives_a_version_never_seen_before(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        seen = {head.version}
        for _ in range(5):
            head = ledger.advance(head, Delta(head.next))
            assert head.version not in seen
            seen.add(head.version)

    def test_a_seal_stays_until_another_is_given(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        seal = bytes(range(256)) * 4
        head = ledger.advance(head, Delta(1, seal=seal))
        head = ledger.advance(head, Delta(2))
        assert head.seal == seal
        assert ledger.advance(head, Delta(3, seal=b"")).seal == b""

    def test_an_advance_from_a_head_that_moved_is_fenced_and_writes_nothing(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        moved = ledger.advance(head, Delta(5, (row(head, 2),)))
        late = Delta(8, (row(head, 3), row(head, 7, "gap")), b"zombie")
        for handle in (ledger, second()):
            with pytest.raises(Fenced):
                handle.advance(head, late)
            assert handle.head(head.log, 0) == moved
            assert rows_of(handle, head) == [row(head, 2)]
            assert handle.totals(head.log, 0) == Totals(duplicates=1)

    def test_an_advance_that_moves_nothing_still_fences_the_old_head(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        ledger.advance(head, Delta(0))
        with pytest.raises(Fenced):
            ledger.advance(head, Delta(1))

    def test_of_two_owners_at_once_exactly_one_advances(self, ledger: Ledger, second: Callable[[], Ledger]) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        handles = (ledger, second())
        for _ in range(self.rounds):
            deltas = [
                Delta(head.next + 10, (row(head, head.next + n, "dead_letter"),), b"%d" % n) for n in range(4)
            ]
            results = race([lambda h=handles[n % 2], e=head, d=d: h.advance(e, d) for n, d in enumerate(deltas)])
            (winner,) = [n for n, result in enumerate(results) if result is not Fenced]
            start, won = head.next, results[winner]
            assert isinstance(won, Head)
            head = won
            for handle in handles:
                assert handle.head(head.log, 0) == head
                assert rows_of(handle, head, start) == list(deltas[winner].rows)
        assert ledger.totals(head.log, 0) == Totals(dead_letters=self.rounds)

    def test_rows_written_again_are_counted_once(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        rows = (row(head, 1), row(head, 2, "gap", 4), row(head, 7, "dead_letter"))
        moved = ledger.advance(head, Delta(8, rows))
        with pytest.raises(Fenced):
            ledger.advance(head, Delta(8, rows))
        again = ledger.advance(moved, Delta(9, (*rows, row(head, 8))))
        assert rows_of(ledger, head) == [*rows, row(head, 8)]
        assert ledger.totals(again.log, 0) == summed((*rows, row(head, 8)))

    def test_a_position_may_have_rows_of_several_kinds(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        head = ledger.advance(head, Delta(10, (row(head, 4, "id_collision"),)))
        ledger.advance(head, Delta(10, (row(head, 2, "erased", 5), row(head, 4, "erased"))))
        assert [r.position.offset for r in rows_of(ledger, head)] == [2, 4, 4]
        assert {(r.position.offset, r.kind) for r in rows_of(ledger, head)} == {
            (2, "erased"),
            (4, "id_collision"),
            (4, "erased"),
        }
        assert ledger.totals(head.log, 0) == Totals(id_collisions=1, erased=6)

    def test_partitions_and_logs_keep_their_books_apart(self, ledger: Ledger) -> None:
        first, second = fresh_log(ledger), fresh_log(ledger)
        heads = [ledger.open_partition(log, partition, 0) for log in (first, second) for partition in (0, 1)]
        for n, head in enumerate(heads):
            ledger.advance(head, Delta(10, (row(head, n),)))
        for n, head in enumerate(heads):
            assert rows_of(ledger, head) == [row(head, n)]
            assert ledger.totals(head.log, head.partition) == Totals(duplicates=1)

    # -- rows ------------------------------------------------------------------------------------------------

    def test_every_field_of_a_row_comes_back(self, ledger: Ledger, reopened: Callable[[], Ledger]) -> None:
        head = ledger.open_partition(fresh_log(ledger), 2, 0)
        at = Position(head.log, 2, 1)
        full = OutcomeRow(
            at,
            "dead_letter",
            1,
            Position(head.log + 5, 7, 2**62),
            "missing-field",
            "`actor` is required: say who acted.",
            "changes[2].path",
            "ténant-☃-𝄞",
            'id with "quotes", NUL \x00 and spaces ',
            b"\x00\xff tombstone",
        )
        empty = OutcomeRow(Position(head.log, 2, 3), "erased", 2**40, None, "", "", "", "", "", b"")
        ledger.advance(head, Delta(2**41, (full, empty)))
        for handle in (ledger, reopened()):
            assert rows_of(handle, head) == [full, empty]

    def test_text_that_is_no_unicode_never_fails_an_advance(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        odd = OutcomeRow(
            Position(head.log, 0, 0), "dead_letter", tenant_id="a\ud800", event_id="\udfff", detail="\ud800"
        )
        moved = ledger.advance(head, Delta(1, (odd,)))
        assert moved.next == 1
        (found,) = rows_of(ledger, head)
        assert (found.position, found.kind) == (odd.position, "dead_letter")

    def test_rows_come_in_order_of_position_whatever_their_kinds(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        written: list[OutcomeRow] = []
        for batch in range(3):
            rows = tuple(row(head, batch * 1_500 + n, KINDS[n * 7 % 6]) for n in range(1_500))
            head = ledger.advance(head, Delta((batch + 1) * 1_500, rows))
            written += rows
        assert rows_of(ledger, head) == written
        assert rows_of(ledger, head, 1_490, 3_010) == written[1_490:3_010]
        assert ledger.totals(head.log, 0) == summed(written)
        for kinds in (("gap",), ("dead_letter", "duplicate"), KINDS):
            found = list(ledger.outcomes(head.log, 0, 10, 4_000, kinds))
            assert found == [r for r in written[10:4_000] if r.kind in kinds]
        assert list(ledger.outcomes(head.log, 0, 0, None, ())) == []

    def test_rows_are_read_lazily_while_others_are_written(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        other = second()
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        head = ledger.advance(head, Delta(3_000, tuple(row(head, n) for n in range(3_000))))
        reading = ledger.outcomes(head.log, 0, 0, 3_000)
        assert next(reading) == row(head, 0)
        for _ in range(3):
            head = other.advance(head, Delta(head.next + 1, (row(head, head.next),)))
        assert list(reading) == [row(head, n) for n in range(1, 3_000)]

    def test_a_run_is_found_from_any_offset_it_covers(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        runs = (
            row(head, 0, "gap", 1),
            row(head, 1, "gap", 2),
            row(head, 3, "expired", 7),
            row(head, 5, "erased", 100),
            row(head, 10, "gap", 64),
            row(head, 74, "dead_letter"),
            row(head, 200, "gap", 10**12),
        )
        ledger.advance(head, Delta(10**13, runs))
        for start in (0, 1, 2, 3, 9, 10, 11, 73, 74, 104, 105, 199, 200, 201, 10**12, 10**12 + 199, 10**12 + 200):
            for stop in (start, start + 1, start + 50, None):
                end = 10**15 if stop is None else stop
                expected = [
                    r
                    for r in runs
                    if r.position.offset < end and r.position.offset + r.count > start and start < end
                ]
                assert rows_of(ledger, head, start, stop) == expected, (start, stop)

    # -- kept records ----------------------------------------------------------------------------------------

    def test_a_kept_record_comes_back_byte_for_byte(self, ledger: Ledger, reopened: Callable[[], Ledger]) -> None:
        log = fresh_log(ledger)
        odd = [*ODD_RECORDS.values()]
        records = [
            Record(Position(log, n % 3, 2**40 + n), 1_700_000_000_000 + n, r.key, r.value, r.headers)
            for n, r in enumerate(odd)
        ]
        ledger.keep(records)
        ledger.keep([])
        for handle in (ledger, reopened()):
            assert [handle.kept(record.position) for record in records] == records
            assert handle.kept(Position(log, 0, 1)) is None
            assert handle.kept(Position(log + 1, 0, 2**40)) is None
            missing = [Position(log, 0, 1), Position(log + 1, 0, 2**40)]
            asked = [*missing, *(record.position for record in records)] * 30
            assert handle.kept_among(asked) == {record.position: record for record in records}
            assert handle.kept_among([]) == {}

    def test_keeping_again_is_harmless_and_counts_nothing(self, ledger: Ledger) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        record = Record(Position(head.log, 0, 0), 5, b"key", b"value", (("a", b"1"),))
        ledger.keep([record])
        ledger.keep([record, record])
        assert ledger.kept(record.position) == record
        assert ledger.totals(head.log, 0) == Totals()
        assert rows_of(ledger, head) == []

    # -- documents -------------------------------------------------------------------------------------------

    def test_a_document_is_written_read_changed_and_deleted(
        self, ledger: Ledger, second: Callable[[], Ledger], reopened: Callable[[], Ledger]
    ) -> None:
        name = fresh_name() + "keys/größe"
        assert ledger.document(name) is None
        first = ledger.put_document(name, b"\x00\xff", None)
        assert ledger.document(name) == Document(b"\x00\xff", first)
        changed = second().put_document(name, b"", first)
        assert changed != first
        assert reopened().document(name) == ledger.document(name) == Document(b"", changed)
        ledger.delete_document(name, changed)
        assert ledger.document(name) is None

    def test_a_document_is_written_only_over_the_version_expected(self, ledger: Ledger) -> None:
        name = fresh_name()
        with pytest.raises(Fenced):
            ledger.put_document(name, b"x", "1")
        assert ledger.document(name) is None
        first = ledger.put_document(name, b"one", None)
        with pytest.raises(Fenced):
            ledger.put_document(name, b"two", None)
        second = ledger.put_document(name, b"two", first)
        for stale in (first, None, "nonsense"):
            with pytest.raises(Fenced):
                ledger.put_document(name, b"three", stale)
        with pytest.raises(Fenced):
            ledger.delete_document(name, first)
        assert ledger.document(name) == Document(b"two", second)

    def test_a_version_does_not_come_back_after_a_deletion(self, ledger: Ledger) -> None:
        name = fresh_name()
        old = ledger.put_document(name, b"old", None)
        ledger.delete_document(name, old)
        ledger.delete_document(name, old)
        new = ledger.put_document(name, b"new", None)
        assert new != old
        with pytest.raises(Fenced):
            ledger.put_document(name, b"late", old)
        with pytest.raises(Fenced):
            ledger.delete_document(name, old)
        assert ledger.document(name) == Document(b"new", new)

    def test_documents_are_found_by_how_their_names_begin(self, ledger: Ledger) -> None:
        prefix = fresh_name()
        names = ["a", "a/1", "a/2", "a0", "a\uffff", "a\U0010ffff", "b", "A/1", "%", "_", "*", "a%"]
        versions = {name: ledger.put_document(prefix + name, name.encode(), None) for name in names}
        for begin in ("", "a", "a/", "b", "%", "_", "*", "zz"):
            expected = {prefix + n: Document(n.encode(), versions[n]) for n in names if n.startswith(begin)}
            found = ledger.documents(prefix + begin)
            assert found == expected
            assert all(left < right for left, right in pairwise(found))

    def test_of_two_writers_at_once_exactly_one_changes_the_document(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        name = fresh_name()
        handles = (ledger, second())
        version: str | None = None
        for _ in range(self.rounds):
            results = race(
                [lambda h=handles[n % 2], e=version, b=b"%d" % n: h.put_document(name, b, e) for n in range(4)]
            )
            (winner,) = [n for n, result in enumerate(results) if result is not Fenced]
            version = str(results[winner])
            for handle in handles:
                assert handle.document(name) == Document(b"%d" % winner, version)

    # -- everything at once ----------------------------------------------------------------------------------

    def test_any_sequence_of_calls_agrees_with_plain_dictionaries(
        self, ledger: Ledger, second: Callable[[], Ledger]
    ) -> None:
        other = second()
        run_state_machine_as_test(
            lambda: LedgerMachine(ledger, other),
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class LedgerMachine(RuleBasedStateMachine):
    """Two handles, one partition and three documents against dictionaries."""

    def __init__(self, ledger: Ledger, other: Ledger) -> None:
        super().__init__()
        self.handles = (ledger, other)
        self.head = ledger.open_partition(fresh_log(ledger), 0, 0)
        self.old_heads: list[Head] = []
        self.rows: dict[tuple[int, OutcomeKind], OutcomeRow] = {}
        self.prefix = fresh_name()
        self.documents: dict[str, Document] = {}

    handle = st.integers(0, 1)
    kind = st.sampled_from(KINDS)
    name = st.sampled_from(["a", "ab", "b"])

    def delta(self, base: Head, step: int, picks: Sequence[tuple[int, OutcomeKind, int]]) -> Delta:
        """A delta whose rows lie below its end, some below the old head as well."""
        end = base.next + step
        rows = {
            (offset, kind): row(base, offset, kind, min(count, end - offset) if kind in RUNS else 1)
            for offset, kind, count in ((max(0, end - 1 - back), kind, count) for back, kind, count in picks)
            if offset < end
        }
        ordered = sorted(rows.values(), key=lambda r: (r.position, r.kind))
        return Delta(end, tuple(ordered), b"%d" % end if step % 2 else None)

    @rule(
        handle=handle,
        step=st.integers(0, 20),
        picks=st.lists(st.tuples(st.integers(0, 30), kind, st.integers(1, 9)), max_size=6),
    )
    def advance(self, handle: int, step: int, picks: list[tuple[int, OutcomeKind, int]]) -> None:
        """Advance from the true head."""
        delta = self.delta(self.head, step, picks)
        moved = self.handles[handle].advance(self.head, delta)
        assert moved.next == delta.next
        assert moved.seal == (self.head.seal if delta.seal is None else delta.seal)
        self.old_heads.append(self.head)
        self.head = moved
        for new in delta.rows:
            self.rows.setdefault((new.position.offset, new.kind), new)

    @rule(handle=handle, which=st.integers(0, 50), step=st.integers(0, 5))
    def advance_from_an_old_head(self, handle: int, which: int, step: int) -> None:
        """Be fenced."""
        if self.old_heads:
            old = self.old_heads[which % len(self.old_heads)]
            with pytest.raises(Fenced):
                self.handles[handle].advance(old, self.delta(old, step, [(0, "dead_letter", 1)]))

    @rule(
        handle=handle,
        start=st.integers(0, 120),
        length=st.one_of(st.none(), st.integers(0, 60)),
        kinds=st.one_of(st.none(), st.lists(kind, unique=True)),
    )
    def read(self, handle: int, start: int, length: int | None, kinds: list[OutcomeKind] | None) -> None:
        """Read a range of rows."""
        stop = None if length is None else start + length
        end = 10**9 if stop is None else stop
        expected = {
            key
            for key, r in self.rows.items()
            if key[0] < end and key[0] + r.count > start and start < end and (kinds is None or r.kind in kinds)
        }
        found = list(self.handles[handle].outcomes(self.head.log, 0, start, stop, kinds))
        assert [r.position for r in found] == sorted(r.position for r in found)
        assert {(r.position.offset, r.kind): r for r in found} == {key: self.rows[key] for key in expected}
        assert len(found) == len(expected)

    @rule(handle=handle, name=name, body=st.binary(max_size=5))
    def put(self, handle: int, name: str, body: bytes) -> None:
        """Write a document over its true version."""
        stored = self.documents.get(name)
        version = self.handles[handle].put_document(self.prefix + name, body, stored.version if stored else None)
        self.documents[name] = Document(body, version)

    @rule(handle=handle, name=name)
    def put_wrongly(self, handle: int, name: str) -> None:
        """Be fenced off a document."""
        with pytest.raises(Fenced):
            self.handles[handle].put_document(self.prefix + name, b"no", None if name in self.documents else "0")

    @rule(handle=handle, name=name)
    def delete(self, handle: int, name: str) -> None:
        """Delete a document, there or not."""
        stored = self.documents.pop(name, None)
        self.handles[handle].delete_document(self.prefix + name, stored.version if stored else "0")

    @invariant()
    def books_agree(self) -> None:
        """Both handles show the same head, sums and documents."""
        for handle in self.handles:
            assert handle.head(self.head.log, 0) == self.head
            assert handle.totals(self.head.log, 0) == summed(list(self.rows.values()))
            assert handle.documents(self.prefix) == {self.prefix + n: d for n, d in self.documents.items()}


class ErasableBooks(Ledger, ErasableLedger, Protocol):
    """Both ports."""


class ErasableLedgerContract:
    """What a ledger does that rows can be replaced by removals; fixtures as `LedgerContract`."""

    def test_a_removal_takes_the_place_of_other_rows_and_is_counted_once(self, ledger: ErasableBooks) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        at = [Position(head.log, 0, offset) for offset in range(12)]
        said = (
            OutcomeRow(at[1], "duplicate", of=at[0]),
            OutcomeRow(at[2], "dead_letter"),
            OutcomeRow(at[3], "id_collision", of=at[0]),
            OutcomeRow(at[4], "gap", 2),
            OutcomeRow(at[6], "duplicate", of=at[0]),
            OutcomeRow(at[9], "id_collision", of=at[0]),
        )
        head = ledger.advance(head, Delta(12, said, b"seal"))
        ledger.keep([Record(at[2], 1, None, b"x")])
        removed = [OutcomeRow(at[offset], "erased", of=at[7], tombstone=b"t") for offset in (0, 1, 2, 3)]
        removed.append(OutcomeRow(at[8], "expired", 3, of=at[7]))
        expected = [*removed[:4], said[3], said[4], removed[4]]
        moved = ledger.remove(head, removed)
        for again in (moved, ledger.remove(moved, removed)):
            assert (again.next, again.seal) == (12, b"seal")
            assert rows_of(ledger, head) == expected
            assert rows_of(ledger, head, 9, 10) == [removed[4]]
            assert ledger.totals(head.log, 0) == Totals(duplicates=1, gaps=2, erased=4, expired=3)
        assert list(ledger.outcomes(head.log, 0, kinds=("duplicate", "dead_letter"))) == [said[4]]
        with pytest.raises(Fenced):
            ledger.remove(head, [OutcomeRow(at[11], "erased")])
        for _ in range(2):
            ledger.discard(at)
            assert ledger.kept(at[2]) is None
        assert rows_of(ledger, head) == expected
        after = ledger.advance(ledger.head(head.log, 0) or head, Delta(13, (row(head, 12),)))
        assert rows_of(ledger, after) == [*expected, row(head, 12)]

    def test_an_erasure_takes_the_place_of_what_expired_alone_and_leaves_runs(self, ledger: ErasableBooks) -> None:
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        at = [Position(head.log, 0, offset) for offset in range(9)]
        late = [OutcomeRow(at[offset], "expired", of=at[0], event_id="e") for offset in (4, 5, 6)]
        dropped = OutcomeRow(at[1], "expired", 2, of=at[0])
        head = ledger.advance(head, Delta(9, (*late,), b"seal"))
        head = ledger.remove(head, [dropped])
        erased = [OutcomeRow(at[4], "erased", of=at[7]), OutcomeRow(at[6], "erased", of=at[7])]
        moved = ledger.remove(head, erased)
        for again in (moved, ledger.remove(moved, [*erased, dropped, OutcomeRow(at[5], "expired", of=at[8])])):
            assert rows_of(ledger, again) == [dropped, erased[0], late[1], erased[1]]
            assert ledger.totals(head.log, 0) == Totals(expired=3, erased=2)
        after = ledger.advance(ledger.head(head.log, 0) or head, Delta(9))
        assert rows_of(ledger, after) == [dropped, erased[0], late[1], erased[1]]

    def test_an_erasure_takes_the_place_of_an_erasure_of_one_offset(
        self, ledger: ErasableBooks, second: Callable[[], ErasableBooks]
    ) -> None:
        """So a row of what came again names, from then on, the order that names it."""
        head = ledger.open_partition(fresh_log(ledger), 0, 0)
        at = [Position(head.log, 0, offset) for offset in range(10)]
        again = [OutcomeRow(at[offset], "erased", of=at[0], tombstone=b"t") for offset in (2, 3, 4)]
        run = OutcomeRow(at[6], "erased", 2, of=at[0])
        head = ledger.advance(head, Delta(10, (*again, run), b"seal"))
        named = [OutcomeRow(at[offset], "erased", of=at[9], tombstone=b"t") for offset in (2, 4)]
        moved = ledger.remove(head, [*named, OutcomeRow(at[6], "erased", of=at[9])])
        expected = [named[0], again[1], named[1], run]
        other = second()
        for _ in range(2):
            for handle in (ledger, other):
                assert rows_of(handle, moved) == expected
                assert rows_of(handle, moved, 4, 7) == expected[2:]
                assert list(handle.outcomes(head.log, 0, kinds=("erased",))) == expected
                assert handle.totals(head.log, 0) == Totals(erased=5)
            moved = other.remove(other.head(head.log, 0) or moved, named)
        ledger.discard(at)
        assert rows_of(ledger, moved) == expected
        after = other.advance(other.head(head.log, 0) or moved, Delta(11, (row(head, 10),)))
        assert rows_of(ledger, after) == [*expected, row(head, 10)]
        assert ledger.totals(head.log, 0) == Totals(duplicates=1, erased=5)
