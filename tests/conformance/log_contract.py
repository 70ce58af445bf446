"""What every `EventLog` must do, whatever holds its records.

An adapter's test subclasses `LogContract`, gives its fixtures and sets the flags that tell what it cannot do.
Nothing here assumes one partition, dense offsets, a first offset of 0, an empty log at the start of a test or an
immediate delivery: waiting is polling with a deadline.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from trailseal.errors import PipelineFault, Unavailable, UsageError
from trailseal.model.record import Gap, Headers, NewRecord, Position, Record
from trailseal.ports.log import Assigned, Delivery, EventLog, Lost, Records, Revoked, Subscription

MANY = 1_000_000
MEGABYTES = 1 << 26
Place = dict[int, int]
"""Partition -> offset."""

ODD_RECORDS = {
    "a null value": NewRecord(None, b"key"),
    "an empty value": NewRecord(b"", b"key"),
    "a null key": NewRecord(b"value", None),
    "an empty key": NewRecord(b"value", b""),
    "NUL bytes": NewRecord(b"\x00a\x00\x00", b"\x00"),
    "invalid UTF-8": NewRecord(b"\xff\xfe\xc3\x28\xed\xa0\x80", b"\x80"),
    "every byte": NewRecord(bytes(range(256)), bytes(range(255, -1, -1))),
    "spaces and newlines at the ends": NewRecord(b" \r\n{} \r\n", b" k "),
    "one header": NewRecord(b"value", b"key", (("name", b"text"),)),
    "a null and an empty header": NewRecord(b"value", b"key", (("a", None), ("b", b""))),
    "headers of one name in order": NewRecord(
        b"value", b"key", (("a", b"2"), ("b", b"x"), ("a", b"1"), ("a", None))
    ),
    "headers that differ only in where they split": NewRecord(b"value", b"key", (("ab", b"c"), ("a", b"bc"))),
    "binary headers with names beyond ASCII": NewRecord(b"value", b"key", (("größe-名", b"\xff\x00"),)),
    "a large value": NewRecord(b"0123456789abcdef" * 50_000, b"key"),
}

record_values = st.one_of(st.none(), st.just(b""), st.binary(max_size=60))
record_headers = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
        record_values,
    ),
    max_size=4,
).map(tuple)
new_records = st.builds(
    NewRecord, value=record_values, key=st.one_of(st.none(), st.binary(max_size=6)), headers=record_headers
)


def numbered(count: int, *, key: str = "k", start: int = 0) -> list[NewRecord]:
    """Records of one key whose values tell their order."""
    return [NewRecord(f"{key}:{start + n}".encode(), key.encode()) for n in range(count)]


def content(record: Record) -> tuple[bytes | None, bytes | None, Headers]:
    """What a producer gave: value, key, headers."""
    return (record.value, record.key, record.headers)


def ends(log: EventLog) -> Place:
    """Where each partition ends now."""
    return {partition: log.bounds(partition).next for partition in log.partitions()}


def assert_contiguous(items: list[Record | Gap], start: int) -> int:
    """Items follow each other from ``start`` without holes and repeats; the offset after the last."""
    for item in items:
        assert item.position.offset == start
        start += item.count if isinstance(item, Gap) else 1
    return start


def read_from(log: EventLog, place: Place, *, chunk: int = MANY) -> list[Record]:
    """Every record from these offsets to the ends, by `EventLog.read`, each partition checked for holes."""
    found: list[Record] = []
    for partition, start in place.items():
        at, end = start, log.bounds(partition).next
        while at < end:
            items = log.read(partition, at, chunk, MEGABYTES)
            assert items
            at = assert_contiguous(items, at)
            found += [item for item in items if isinstance(item, Record)]
        assert all(record.position.partition in place for record in found)
    return found


class Follower:
    """Drives a subscription the way the pipeline does: polls, takes what it is assigned, seeks, collects."""

    def __init__(self, subscription: Subscription, deadline_s: float) -> None:
        self.subscription = subscription
        self.deadline_s = deadline_s
        self.owned: set[int] = set()
        self.items: dict[int, list[Record | Gap]] = defaultdict(list)

    def step(self, max_records: int = 500, wait_s: float = 0.05) -> Delivery | None:
        """One poll, its delivery noted."""
        delivery = self.subscription.poll(max_records, wait_s)
        match delivery:
            case Assigned(partitions):
                self.owned |= set(partitions)
            case Revoked(partitions) | Lost(partitions):
                self.owned -= set(partitions)
            case Records(items):
                assert items
                assert len(items) <= max_records
                for item in items:
                    assert item.position.partition in self.owned
                    self.items[item.position.partition].append(item)
        return delivery

    def until(self, reached: Callable[[], bool], *, max_records: int = 500) -> None:
        """Poll until it is reached; fail after the deadline."""
        deadline = time.monotonic() + self.deadline_s
        while not reached():
            assert time.monotonic() < deadline, "not reached within the deadline"
            self.step(max_records)

    def own(self, log: EventLog) -> None:
        """Poll until every partition is ours."""
        self.until(lambda: self.owned == set(log.partitions()))

    def seek(self, place: Place) -> None:
        """Continue from these offsets, forgetting what was collected."""
        self.items.clear()
        for partition, offset in place.items():
            self.subscription.seek(partition, offset)

    def records(self) -> list[Record]:
        """What was collected, without gaps."""
        return [item for items in self.items.values() for item in items if isinstance(item, Record)]

    def collect(self, count: int, *, max_records: int = 500) -> list[Record]:
        """Poll until that many records came since the last seek."""
        self.until(lambda: len(self.records()) >= count, max_records=max_records)
        return self.records()

    def stays_silent(self, seconds: float = 0.4) -> None:
        """Nothing is delivered for that long, while it is polled."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert not isinstance(self.step(), Records)


class LogContract:
    """The contract; see the module."""

    atomic_append: ClassVar[bool] = True
    """An append is all or nothing, also to a reader in between."""
    independent_groups: ClassVar[bool] = True
    """Two groups are served side by side (False: one reader at a time, whatever its group)."""
    can_drop: ClassVar[bool] = True
    """The adapter's test gives `drop_before`."""
    retention_makes_gaps: ClassVar[bool] = False
    """A seek below the first offset is served as a gap (False: records are never removed from the front)."""
    nul_in_names: ClassVar[bool] = True
    """A header's name may hold NUL (False: the client ends names there)."""
    deadline_s: ClassVar[float] = 30.0
    examples: ClassVar[int] = 30
    """How many Hypothesis examples a property gets."""

    @pytest.fixture
    def log(self) -> EventLog:
        """The log under test; closed by its own fixture. It may hold records already."""
        raise NotImplementedError

    @pytest.fixture
    def second(self) -> Callable[[], EventLog]:
        """Opens one more handle on the data of ``log``, as another process would; closed by its own fixture."""
        raise NotImplementedError

    @pytest.fixture
    def after_crash(self) -> Callable[[], EventLog]:
        """Opens the data as it would be found if everything had died this moment, without closing ``log``."""
        raise NotImplementedError

    @pytest.fixture
    def drop_before(self) -> Callable[[int, int], None]:
        """``drop_before(partition, offset)`` removes the records below that offset, as retention does."""
        pytest.skip("this engine cannot drop records on request")

    @contextmanager
    def following(self, log: EventLog, group: str = "readers") -> Iterator[Follower]:
        """A member of the group that owns every partition, at the end of the log."""
        follower = Follower(log.subscribe(group), self.deadline_s)
        try:
            follower.own(log)
            follower.seek(ends(log))
            yield follower
        finally:
            follower.subscription.close()

    # -- append ----------------------------------------------------------------------------------------------

    def test_an_append_gives_one_position_per_record(self, log: EventLog) -> None:
        start = ends(log)
        records = [NewRecord(f"v{n}".encode(), f"k{n % 5}".encode()) for n in range(40)]
        positions = log.append(records)
        assert len(positions) == len(records)
        found = {record.position: content(record) for record in read_from(log, start)}
        assert [found[at] for at in positions] == [(r.value, r.key, r.headers) for r in records]
        assert len(found) == len(records)

    def test_an_append_of_nothing_writes_nothing(self, log: EventLog) -> None:
        before = ends(log)
        assert log.append([]) == []
        assert ends(log) == before

    @pytest.mark.parametrize("name", ODD_RECORDS)
    def test_bytes_come_back_as_they_were_given(self, log: EventLog, name: str) -> None:
        start = ends(log)
        record = ODD_RECORDS[name]
        (position,) = log.append([record])
        (found,) = read_from(log, start)
        assert found.position == position
        assert content(found) == (record.value, record.key, record.headers)
        assert (found.value is None, found.key is None) == (record.value is None, record.key is None)

    def test_any_record_comes_back_as_it_was_given(self, log: EventLog) -> None:
        @settings(
            max_examples=self.examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
        )
        @given(st.lists(new_records, max_size=6))
        def check(records: list[NewRecord]) -> None:
            start = ends(log)
            positions = log.append(records)
            found = {record.position: content(record) for record in read_from(log, start)}
            assert [found[at] for at in positions] == [(r.value, r.key, r.headers) for r in records]

        check()

    def test_a_header_name_with_nul_comes_back_or_is_refused(self, log: EventLog) -> None:
        start = ends(log)
        record = NewRecord(b"value", b"key", (("a\0b", b"x"),))
        if not self.nul_in_names:
            with pytest.raises(UsageError):
                log.append([record])
            assert read_from(log, start) == []
            return
        log.append([record])
        assert [content(found) for found in read_from(log, start)] == [(b"value", b"key", record.headers)]

    def test_records_of_one_key_keep_their_order(self, log: EventLog) -> None:
        start = ends(log)
        given_order = numbered(60)
        for size, offset in ((1, 0), (9, 1), (30, 10), (20, 40)):
            log.append(given_order[offset : offset + size])
        found = sorted(read_from(log, start), key=lambda record: record.position)
        assert len({record.position.partition for record in found}) == 1
        assert [record.value for record in found] == [record.value for record in given_order]

    def test_positions_of_one_append_ascend_within_each_partition(self, log: EventLog) -> None:
        positions = log.append([NewRecord(b"v", f"k{n % 7}".encode()) for n in range(70)])
        for partition in log.partitions():
            offsets = [at.offset for at in positions if at.partition == partition]
            assert offsets == sorted(set(offsets))
        assert len({at.log for at in positions}) == 1

    def test_the_same_record_twice_stands_there_twice(self, log: EventLog) -> None:
        start = ends(log)
        record = NewRecord(b"same", b"key", (("trailseal-id", b"same"),))
        first, second = log.append([record, record])
        (third,) = log.append([record])
        assert len({first, second, third}) == 3
        assert [content(found) for found in read_from(log, start)] == [(b"same", b"key", record.headers)] * 3

    def test_the_append_time_is_the_time_of_the_append(self, log: EventLog) -> None:
        start = ends(log)
        before = time.time_ns() // 1_000_000
        log.append(numbered(3))
        after = time.time_ns() // 1_000_000
        for record in read_from(log, start):
            assert before - 2_000 <= record.timestamp_ms <= after + 2_000

    def test_sixteen_threads_lose_and_double_nothing(self, log: EventLog) -> None:
        start = ends(log)

        def write(thread: int) -> list[tuple[Position, bytes | None]]:
            written = []
            for n in range(20):
                batch = numbered(1 + n % 3, key=f"t{thread}", start=n * 3)
                written += list(zip(log.append(batch), [record.value for record in batch], strict=True))
            return written

        with ThreadPoolExecutor(16) as threads:
            written = [item for items in threads.map(write, range(16)) for item in items]
        found = sorted(read_from(log, start), key=lambda record: record.position)
        assert {record.position: record.value for record in found} == dict(written)
        assert len(found) == len(written)
        for thread in range(16):
            values = [record.value or b"" for record in found if record.key == f"t{thread}".encode()]
            numbers = [int(value.split(b":")[1]) for value in values]
            assert numbers == sorted(numbers)

    def test_another_process_sees_an_append_as_soon_as_it_returned(
        self, log: EventLog, second: Callable[[], EventLog]
    ) -> None:
        other = second()
        for n in range(10):
            start = ends(other)
            (position,) = log.append(numbered(1, start=n))
            assert [record.position for record in read_from(other, start)] == [position]

    def test_two_processes_append_to_one_order(self, log: EventLog, second: Callable[[], EventLog]) -> None:
        start = ends(log)
        handles = (log, second())

        def write(writer: int) -> list[Position]:
            return [
                at for n in range(30) for at in handles[writer].append(numbered(2, key=f"w{writer}", start=n * 2))
            ]

        with ThreadPoolExecutor(2) as threads:
            positions = [at for written in threads.map(write, range(2)) for at in written]
        found = read_from(log, start)
        assert sorted(record.position for record in found) == sorted(positions)
        assert len(set(positions)) == 120
        assert read_from(handles[1], start) == found

    def test_an_append_is_seen_whole_or_not_at_all(self, log: EventLog, second: Callable[[], EventLog]) -> None:
        if not self.atomic_append:
            pytest.skip("this engine has no atomic append")
        other = second()
        start = ends(other)
        done = threading.Event()

        def write() -> None:
            for n in range(30):
                log.append(numbered(50, start=n * 50))
            done.set()

        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(write)
            while not done.is_set():
                assert len(read_from(other, start)) % 50 == 0
                if writing.done():
                    break
            writing.result()
        assert len(read_from(other, start)) == 1_500

    def test_what_was_acknowledged_survives_a_crash(
        self, log: EventLog, after_crash: Callable[[], EventLog]
    ) -> None:
        start = ends(log)
        log.append(list(ODD_RECORDS.values()))
        log.append(numbered(100))
        before = read_from(log, start)
        survivor = after_crash()
        assert read_from(survivor, start) == before
        assert survivor.origin == log.origin
        positions = survivor.append(numbered(1))
        assert not {record.position for record in before} & set(positions)

    def test_a_closed_log_refuses_and_finishes_what_was_under_way(
        self, log: EventLog, second: Callable[[], EventLog]
    ) -> None:
        start = ends(log)
        closing = second()
        acknowledged: list[Position] = []
        running = threading.Barrier(5)

        def write_on(thread: int) -> None:
            for n in range(100_000):
                acknowledged.extend(closing.append(numbered(1, key=f"t{thread}", start=n)))

        def write(thread: int) -> None:
            running.wait()
            with pytest.raises(Unavailable):
                write_on(thread)

        with ThreadPoolExecutor(4) as threads:
            writers = [threads.submit(write, thread) for thread in range(4)]
            running.wait()
            while len(acknowledged) < 20 and not any(writer.done() for writer in writers):
                time.sleep(0.001)
            closing.close()
            for writer in writers:
                writer.result()
        assert set(acknowledged) <= {record.position for record in read_from(log, start)}

    # -- identity, bounds, read ------------------------------------------------------------------------------

    def test_the_origin_is_the_same_for_every_handle(self, log: EventLog, second: Callable[[], EventLog]) -> None:
        assert log.origin
        assert second().origin == log.origin

    def test_partitions_ascend(self, log: EventLog) -> None:
        partitions = log.partitions()
        assert partitions
        assert list(partitions) == sorted(set(partitions))

    def test_bounds_grow_by_what_is_appended(self, log: EventLog) -> None:
        before = {partition: log.bounds(partition) for partition in log.partitions()}
        positions = log.append([NewRecord(b"v", f"k{n}".encode()) for n in range(20)])
        for partition, bounds in before.items():
            ours = [at.offset for at in positions if at.partition == partition]
            after = log.bounds(partition)
            assert after.first == bounds.first <= bounds.next
            assert after.next >= bounds.next + len(ours)
            assert all(bounds.next <= offset < after.next for offset in ours)

    def test_reading_at_or_past_the_end_gives_nothing(self, log: EventLog) -> None:
        log.append(numbered(3))
        for partition, end in ends(log).items():
            assert log.read(partition, end, 10, MEGABYTES) == []
            assert log.read(partition, end + 1_000, 10, MEGABYTES) == []

    @pytest.mark.parametrize("chunk", [1, 2, 7, 1_000])
    def test_a_read_holds_at_most_max_records_and_chunks_join_without_holes(
        self, log: EventLog, chunk: int
    ) -> None:
        start = ends(log)
        log.append([NewRecord(f"v{n}".encode(), f"k{n % 3}".encode()) for n in range(50)])
        whole = read_from(log, start)
        assert len(whole) == 50
        assert read_from(log, start, chunk=chunk) == whole
        for partition, at in start.items():
            assert len(log.read(partition, at, chunk, MEGABYTES)) <= chunk

    def test_a_read_stops_when_values_pass_max_bytes_but_gives_at_least_one(self, log: EventLog) -> None:
        start = ends(log)
        (partition,) = {at.partition for at in log.append([NewRecord(b"x" * 1_000, b"k") for _ in range(20)])}
        few = log.read(partition, start[partition], 100, 4_500)
        assert 1 <= len([item for item in few if isinstance(item, Record)]) <= 5
        assert log.read(partition, start[partition], 100, 1) == few[:1]

    def test_a_read_may_start_anywhere(self, log: EventLog) -> None:
        positions = log.append(numbered(30))
        for at in positions:
            first = log.read(at.partition, at.offset, 1, MEGABYTES)[0]
            assert first.position == at

    def test_reading_below_the_first_offset_gives_a_gap_up_to_it(
        self, log: EventLog, drop_before: Callable[[int, int], None]
    ) -> None:
        positions = log.append(numbered(20))
        cut = positions[12]
        old_first = log.bounds(cut.partition).first
        drop_before(cut.partition, cut.offset)
        assert log.bounds(cut.partition).first == cut.offset
        items = log.read(cut.partition, old_first, MANY, MEGABYTES)
        assert items[0] == Gap(Position(cut.log, cut.partition, old_first), cut.offset - old_first)
        assert_contiguous(items, old_first)
        assert [item.position for item in items[1:]][: len(positions) - 12] == positions[12:]

    def test_a_partition_whose_records_are_all_gone_goes_on_where_it_was(
        self, log: EventLog, drop_before: Callable[[int, int], None]
    ) -> None:
        last = log.append(numbered(5))[-1]
        end = log.bounds(last.partition).next
        drop_before(last.partition, end)
        assert (log.bounds(last.partition).first, log.bounds(last.partition).next) == (end, end)
        (position,) = log.append(numbered(1))
        assert position.partition == last.partition
        assert position.offset >= end

    # -- subscribe -------------------------------------------------------------------------------------------

    def test_the_first_delivery_is_the_assignment_and_nothing_comes_before_a_seek(self, log: EventLog) -> None:
        log.append(numbered(5))
        follower = Follower(log.subscribe("readers"), self.deadline_s)
        try:
            follower.until(lambda: bool(follower.owned))
            assert not follower.items
            follower.own(log)
            follower.stays_silent()
        finally:
            follower.subscription.close()

    @pytest.mark.parametrize("max_records", [1, 3, 500])
    def test_after_a_seek_everything_from_there_on_comes_in_order(self, log: EventLog, max_records: int) -> None:
        start = ends(log)
        log.append([NewRecord(f"v{n}".encode(), f"k{n % 4}".encode()) for n in range(40)])
        with self.following(log) as follower:
            follower.seek(start)
            follower.collect(40, max_records=max_records)
            for partition, items in follower.items.items():
                assert_contiguous(items, start[partition])
            expected = sorted(read_from(log, start), key=lambda record: record.position)
            assert sorted(follower.records(), key=lambda record: record.position) == expected
            follower.stays_silent()

    def test_a_seek_to_the_end_delivers_only_what_comes_after(self, log: EventLog) -> None:
        log.append(numbered(5))
        with self.following(log) as follower:
            follower.stays_silent()
            later = log.append(numbered(3, start=5))
            assert [record.position for record in follower.collect(3)] == later

    def test_a_seek_back_delivers_again(self, log: EventLog) -> None:
        with self.following(log) as follower:
            positions = log.append(numbered(10))
            follower.collect(10)
            again = positions[4]
            follower.seek({again.partition: again.offset})
            assert [record.position for record in follower.collect(6)] == positions[4:]

    def test_a_seek_outside_the_bounds_is_refused(self, log: EventLog) -> None:
        log.append(numbered(3))
        with self.following(log) as follower:
            for partition, end in ends(log).items():
                with pytest.raises(PipelineFault):
                    follower.subscription.seek(partition, end + 1)

    def test_a_seek_below_the_first_offset_is_refused(
        self, log: EventLog, drop_before: Callable[[int, int], None]
    ) -> None:
        if self.retention_makes_gaps:
            pytest.skip("this engine drops old records, so a reader may come too late for them")
        positions = log.append(numbered(10))
        drop_before(positions[0].partition, positions[5].offset)
        with self.following(log) as follower:
            with pytest.raises(PipelineFault):
                follower.subscription.seek(positions[0].partition, positions[4].offset)
            follower.seek({positions[5].partition: positions[5].offset})
            assert [record.position for record in follower.collect(5)] == positions[5:]

    def test_a_seek_below_the_first_offset_delivers_what_is_gone_as_a_gap(
        self, log: EventLog, drop_before: Callable[[int, int], None]
    ) -> None:
        if not self.retention_makes_gaps:
            pytest.skip("this engine never drops old records")
        positions = log.append(numbered(10))
        partition = positions[0].partition
        with self.following(log) as follower:
            drop_before(partition, positions[5].offset)
            follower.seek({partition: positions[2].offset})
            follower.collect(5)
            assert follower.items[partition][0] == Gap(positions[2], 3)
            assert [item.position for item in follower.items[partition][1:]] == positions[5:]
            drop_before(partition, positions[9].offset + 1)
            follower.seek({partition: positions[9].offset})
            follower.until(lambda: bool(follower.items[partition]))
            assert follower.items[partition] == [Gap(positions[9], 1)]

    def test_a_poll_without_anything_waits_its_time(self, log: EventLog) -> None:
        with self.following(log) as follower:
            follower.stays_silent()
            began = time.monotonic()
            assert follower.step(wait_s=0.3) is None
            assert time.monotonic() - began >= 0.25

    def test_an_append_ends_a_poll_that_waits(self, log: EventLog, second: Callable[[], EventLog]) -> None:
        other = second()
        with self.following(log) as follower:
            for writer in (log, other):
                follower.stays_silent()
                with ThreadPoolExecutor(1) as threads:
                    writing = threads.submit(writer.append, numbered(1))
                    began = time.monotonic()
                    while not isinstance(follower.step(wait_s=self.deadline_s), Records):
                        assert time.monotonic() - began < self.deadline_s
                    assert time.monotonic() - began < self.deadline_s / 2
                    assert writing.result()

    def test_nothing_is_delivered_while_paused_and_nothing_is_lost_or_repeated_after(self, log: EventLog) -> None:
        start = ends(log)
        with self.following(log) as follower:
            log.append([NewRecord(f"v{n}".encode(), f"k{n % 4}".encode()) for n in range(30)])
            follower.collect(10, max_records=4)
            follower.subscription.pause(log.partitions())
            follower.subscription.pause(log.partitions())
            held = len(follower.records())
            log.append([NewRecord(f"w{n}".encode(), f"k{n % 4}".encode()) for n in range(30)])
            follower.stays_silent()
            assert len(follower.records()) == held
            follower.subscription.resume(log.partitions())
            follower.collect(60, max_records=4)
            assert len(follower.records()) == 60
            for partition, items in follower.items.items():
                assert_contiguous(items, start[partition])

    def test_a_seek_while_paused_holds_after_the_resume(self, log: EventLog) -> None:
        with self.following(log) as follower:
            positions = log.append(numbered(8))
            follower.collect(8)
            follower.subscription.pause(log.partitions())
            follower.seek({positions[3].partition: positions[3].offset})
            follower.stays_silent()
            follower.subscription.resume(log.partitions())
            assert [record.position for record in follower.collect(5)] == positions[3:]

    def test_a_commit_changes_nothing_that_is_delivered(self, log: EventLog) -> None:
        positions = log.append(numbered(10))
        place = {positions[0].partition: positions[0].offset}
        with self.following(log) as follower:
            follower.seek(place)
            follower.subscription.commit({positions[0].partition: positions[7].offset})
            assert [record.position for record in follower.collect(10)] == positions
        with self.following(log) as follower:
            follower.seek(place)
            assert [record.position for record in follower.collect(10)] == positions

    @pytest.mark.parametrize("ending", ["wake", "close"])
    def test_another_thread_ends_a_poll_that_waits(self, log: EventLog, ending: str) -> None:
        with self.following(log) as follower:
            follower.stays_silent()
            with ThreadPoolExecutor(1) as threads:
                polling = threads.submit(follower.subscription.poll, 10, self.deadline_s)
                began = time.monotonic()
                while not polling.done():
                    assert time.monotonic() - began < self.deadline_s / 2
                    getattr(follower.subscription, ending)()
                    time.sleep(0.01)
                assert polling.result() is None

    def test_closing_twice_is_harmless_and_the_next_member_takes_over(self, log: EventLog) -> None:
        for _ in range(3):
            with self.following(log) as follower:
                follower.subscription.close()

    def test_members_of_a_group_never_own_a_partition_together_and_hand_over(
        self, log: EventLog, second: Callable[[], EventLog]
    ) -> None:
        start = ends(log)
        other = second()
        first = Follower(log.subscribe("readers"), self.deadline_s)
        first.own(log)
        first.seek(start)
        heir = Follower(other.subscribe("readers"), self.deadline_s)
        try:
            log.append([NewRecord(f"v{n}".encode(), f"k{n}".encode()) for n in range(20)])
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                first.step()
                heir.step()
                assert not first.owned & heir.owned
            first.subscription.close()
            heir.own(other)
            heir.seek(start)
            assert len(heir.collect(20)) == 20
        finally:
            first.subscription.close()
            heir.subscription.close()

    def test_each_group_gets_everything(self, log: EventLog, second: Callable[[], EventLog]) -> None:
        if not self.independent_groups:
            pytest.skip("this engine serves one reader at a time")
        with self.following(log, "one") as one, self.following(second(), "two") as two:
            positions = log.append(numbered(20))
            assert [record.position for record in one.collect(20)] == positions
            assert [record.position for record in two.collect(20)] == positions

    # -- everything at once ----------------------------------------------------------------------------------

    def test_any_sequence_of_calls_agrees_with_a_plain_list(
        self, log: EventLog, second: Callable[[], EventLog]
    ) -> None:
        run_state_machine_as_test(
            lambda: LogMachine(log, second(), self.deadline_s),
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class LogMachine(RuleBasedStateMachine):
    """Two handles and one subscription against one list per partition."""

    def __init__(self, log: EventLog, other: EventLog, deadline_s: float) -> None:
        super().__init__()
        self.handles = (log, other)
        self.start = ends(log)
        self.model: dict[int, dict[int, tuple[bytes | None, bytes | None, Headers]]] = {
            partition: {} for partition in self.start
        }
        self.follower = Follower(log.subscribe("machine"), deadline_s)
        self.follower.own(log)
        self.follower.seek(self.start)
        self.sought = dict(self.start)
        self.paused = False

    def teardown(self) -> None:
        """Leave the group, also when a step failed."""
        self.follower.subscription.close()
        self.handles[1].close()

    @rule(records=st.lists(new_records, max_size=5), handle=st.integers(0, 1))
    def append(self, records: list[NewRecord], handle: int) -> None:
        """Append through either handle."""
        for at, record in zip(self.handles[handle].append(records), records, strict=True):
            assert at.offset not in self.model[at.partition]
            assert at.offset >= max(self.model[at.partition], default=self.start[at.partition] - 1) + 1
            self.model[at.partition][at.offset] = (record.value, record.key, record.headers)

    @rule(handle=st.integers(0, 1), back=st.integers(0, 30), max_records=st.integers(1, 12))
    def read(self, handle: int, back: int, max_records: int) -> None:
        """Read a stretch of every partition."""
        for partition, start in self.start.items():
            end = self.handles[handle].bounds(partition).next
            at = max(start, end - back)
            items = self.handles[handle].read(partition, at, max_records, MEGABYTES)
            assert len(items) <= max_records
            reached = assert_contiguous(items, at)
            expected = {o: c for o, c in self.model[partition].items() if at <= o < reached}
            assert {i.position.offset: content(i) for i in items if isinstance(i, Record)} == expected
            assert bool(items) == (at < end)

    @rule(max_records=st.integers(1, 10))
    def poll(self, max_records: int) -> None:
        """Poll once; nothing may come while paused."""
        delivery = self.follower.step(max_records, 0.0)
        assert not (self.paused and isinstance(delivery, Records))

    @rule(back=st.integers(0, 10))
    def seek(self, back: int) -> None:
        """Go back some offsets in every partition."""
        for partition, end in ends(self.handles[0]).items():
            self.sought[partition] = max(self.start[partition], end - back)
        self.follower.seek(self.sought)

    @rule()
    def pause(self) -> None:
        """Pause everything."""
        self.follower.subscription.pause(self.start)
        self.paused = True

    @rule()
    def resume(self) -> None:
        """Resume everything."""
        self.follower.subscription.resume(self.start)
        self.paused = False

    @precondition(lambda self: not self.paused)
    @rule()
    def catch_up(self) -> None:
        """Everything since the seek is delivered."""
        expected = sum(o >= self.sought[p] for p, offsets in self.model.items() for o in offsets)
        assert len(self.follower.collect(expected)) == expected

    @invariant()
    def delivered_is_what_was_written(self) -> None:
        """What came so far is a contiguous beginning of what was written since the seek."""
        for partition, items in self.follower.items.items():
            assert_contiguous(items, self.sought[partition])
            for item in items:
                if isinstance(item, Record):
                    assert content(item) == self.model[partition][item.position.offset]


class RecordSourceContract:
    """What a log that hands out single records must do besides; give it the same ``log`` fixture."""

    @pytest.fixture
    def log(self) -> EventLog:
        """See `LogContract.log`."""
        raise NotImplementedError

    def test_fetching_gives_each_position_its_record_in_the_order_asked(self, log: EventLog) -> None:
        start = ends(log)
        positions = log.append(list(ODD_RECORDS.values()) + numbered(2_000))
        expected = {record.position: record for record in read_from(log, start)}
        asked = [*positions[::-3], positions[0], positions[0]]
        assert log.fetch(asked) == [expected[at] for at in asked]  # type: ignore[attr-defined]  # RecordSource as well

    def test_fetching_what_does_not_exist_gives_none_in_its_place(self, log: EventLog) -> None:
        (at,) = log.append(numbered(1))
        (record,) = log.fetch([at])  # type: ignore[attr-defined]  # RecordSource as well
        missing = [
            Position(at.log, at.partition, at.offset + 1),
            Position(at.log + 1, at.partition, at.offset),
            Position(at.log, at.partition + 1_000, at.offset),
            Position(at.log, at.partition, -1),
            Position(at.log, at.partition, 2**63),
            Position(at.log, at.partition, 2**200),
        ]
        assert log.fetch([*missing, at]) == [None] * 6 + [record]  # type: ignore[attr-defined]  # RecordSource as well
        assert log.fetch([]) == []  # type: ignore[attr-defined]  # RecordSource as well
