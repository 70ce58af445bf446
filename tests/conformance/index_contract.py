"""What every `EventIndex` does; each adapter runs it as it is, with an `index` fixture of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.entries import DAY, NOVEMBER, Shelf, known
from conformance.query_oracle import Known, answer
from trailseal.errors import Rebuilding, Unavailable
from trailseal.model.event import Resource
from trailseal.model.projection import Entry, SortKey, colliding
from trailseal.model.query import Condition, Exact, Field, Match, Network, Prefix, Query, Word
from trailseal.model.query import Present as Is
from trailseal.model.record import Position
from trailseal.ports.erasure import ErasableIndex
from trailseal.ports.index import EventIndex, Present, Stored, Verdict

LONG = "x" * 3_000
Reopen = Callable[[], EventIndex]


def exactly(field: Field, *texts: str, negated: bool = False, key: str | None = None) -> Condition:
    return Condition(field, tuple(Exact(text) for text in texts), negated=negated, key=key)


class ErasableEventIndex(EventIndex, ErasableIndex, Protocol):
    """Both ports."""


class _Fixtures:
    """Shared by both contracts."""

    @pytest.fixture
    def shelf(self) -> Shelf:
        return Shelf()

    @pytest.fixture
    def index(self, shelf: Shelf) -> EventIndex:
        raise NotImplementedError

    @pytest.fixture
    def reopen(self, index: EventIndex) -> Reopen:
        raise NotImplementedError

    @pytest.fixture
    def put(self, index: EventIndex, shelf: Shelf) -> Callable[[Sequence[Known]], list[Verdict]]:
        """Put, flush and make visible."""

        def put(events: Sequence[Known]) -> list[Verdict]:
            entries = [each.entry for each in events]
            shelf.keep(entries)
            verdicts = index.put(entries)
            index.flush()
            index.refresh()
            return verdicts

        return put


class ErasableIndexContract(_Fixtures):
    """What an index does that documents can be erased; fixtures as `IndexContract`."""

    def test_erased_documents_are_gone_and_all_others_are_as_they_were(
        self, index: ErasableEventIndex, put: Callable[..., object]
    ) -> None:
        events = [known(n, actor=f"actor-{n % 3}", at_us=NOVEMBER + n * DAY // 4) for n in range(60)]
        for start in range(0, 60, 20):
            put(events[start : start + 20])
        by_position = {each.key.position: each.entry for each in events}
        gone = [Position(1, 0, n) for n in (3, 21, 22, 59, 1_000)]
        asked: list[Position] = []

        def entries_of(positions: Sequence[Position]) -> list[list[Entry]]:
            asked.extend(positions)
            return [[by_position[position]] for position in positions]

        for _ in range(2):
            index.erase(gone, entries_of)
            index.refresh()
            left = [each for each in events if each.key.position not in gone]
            for order in ("desc", "asc"):
                query = Query(order=order)  # type: ignore[arg-type] # one of two literals
                found = [hit.key for hit in index.search(query, None, 100)]
                assert found == [each.key for each in answer(query, left)]
            assert index.offsets(1, 0, 0, 2_000) == [each.key.position.offset for each in left]
            assert index.compare([each.entry for each in left]) == [None] * len(left)
            assert index.compare([each.entry for each in events if each not in left]) == ["missing"] * 4
        assert not set(asked) & set(gone)

    def test_an_erasure_that_breaks_off_changes_nothing(
        self, index: ErasableEventIndex, put: Callable[..., object]
    ) -> None:
        put([known(n) for n in range(10)])

        def entries_of(positions: Sequence[Position]) -> list[list[Entry]]:
            raise Unavailable(f"{len(positions)} records cannot be read now")

        with suppress(Unavailable):
            index.erase([Position(1, 0, 4)], entries_of)
            return
        index.flush()
        index.refresh()
        assert index.offsets(1, 0, 0, 100) == list(range(10))
        assert isinstance(put([known(10)])[0], Stored)  # type: ignore[index] # the verdicts


class IndexContract(_Fixtures):
    """Fixtures to provide: `index` (empty and complete) and `reopen` (closes it, opens it again)."""

    def test_an_empty_index_is_complete_and_finds_nothing(self, index: EventIndex) -> None:
        assert index.is_complete()
        assert index.search(Query(), None, 10) == []
        assert index.count(Query()).value == 0
        assert index.offsets(1, 0, 0, 100) == []
        assert index.put([]) == []

    def test_an_entry_is_found_with_its_record_byte_for_byte(
        self, index: EventIndex, put: Callable[..., object]
    ) -> None:
        headers = (("a", b"1"), ("a", None), ("trailseal-salt", bytes(range(32))))
        values = [b'{"a":"\\u00e9 \xc3\xa9 \xe2\x80\xa8"}', b'{ "spaced" : 1 }', b'"\\n\\t\\"\\\\"']
        events = [
            known(n, value=value, key=None if n else b"", headers=headers if n else ())
            for n, value in enumerate(values)
        ]
        put(events)
        found = {hit.key.position: hit.record for hit in index.search(Query(), None, 10)}
        assert found == {each.key.position: each.entry.record for each in events}

    def test_the_same_name_in_one_call_is_told_the_first_ones_position_and_content(self, index: EventIndex) -> None:
        first, second = known(0, event_id="e", value=b"1"), known(1, event_id="e", value=b"2")
        verdicts = index.put([first.entry, second.entry])
        assert verdicts == [Stored(), Present(first.key.position, first.entry.projection.content_hash)]

    @pytest.mark.parametrize("between", ["nothing", "flush", "reopen"])
    def test_a_taken_name_stays_taken(self, index: EventIndex, reopen: Reopen, between: str) -> None:
        first, second = known(0, event_id="e", value=b"1"), known(1, event_id="e", value=b"2")
        assert index.put([first.entry]) == [Stored()]
        if between != "nothing":
            index.flush()
        if between == "reopen":
            index = reopen()
        expected = Present(first.key.position, first.entry.projection.content_hash)
        assert index.put([second.entry, first.entry]) == [expected, expected]

    def test_one_id_in_two_tenants_or_two_months_is_two_events(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [
            known(0, event_id="e"),
            known(1, event_id="e", tenant="other"),
            known(2, event_id="e", at_us=NOVEMBER + 30 * DAY),
        ]
        assert put(events) == [Stored()] * 3
        assert len(index.search(Query(), None, 10)) == 3

    def test_names_that_only_look_alike_are_two_events(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [
            known(0, tenant="a", event_id="b/c"),
            known(1, tenant="ab", event_id="/c"),
            known(2, event_id="Ä"),
        ]
        events.append(known(3, event_id="A\u0308"))
        assert put(events) == [Stored()] * 4
        assert index.count(Query()).value == 4

    def test_a_replay_writes_nothing(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [known(n) for n in range(50)]
        put(events)
        verdicts = put(events)
        assert [verdict.position for verdict in verdicts if isinstance(verdict, Present)] == [
            e.key.position for e in events
        ]
        assert index.count(Query()).value == 50
        assert index.offsets(1, 0, 0, 100) == list(range(50))

    def test_a_colliding_event_is_found_under_the_name_of_its_position(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        first, second = known(0, event_id="e", value=b"1"), known(1, event_id="e", value=b"2")
        other = Known(second.event, colliding(second.entry))
        assert put([first, other]) == [Stored(), Stored()]
        hits = index.search(Query(conditions=(exactly(Field.ID, "e"),)), None, 10)
        assert [hit.key for hit in hits] == [second.key, first.key]
        assert isinstance(put([other])[0], Present)

    def test_what_was_flushed_survives_reopening(self, index: EventIndex, shelf: Shelf, reopen: Reopen) -> None:
        events = [known(n) for n in range(10)]
        shelf.keep(each.entry for each in events)
        index.put([each.entry for each in events])
        index.flush()
        again = reopen()
        again.refresh()
        assert again.is_complete()
        assert again.offsets(1, 0, 0, 100) == list(range(10))

    def test_a_rebuild_begins_empty_and_answers_nothing_until_it_is_complete(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [known(n) for n in range(5)]
        put(events)
        index.begin_rebuild()
        assert not index.is_complete()
        for ask in (
            lambda: index.search(Query(), None, 1),
            lambda: index.count(Query()),
            lambda: index.offsets(1, 0, 0, 9),
        ):
            with pytest.raises(Rebuilding):
                ask()
        assert index.put([each.entry for each in events[:3]]) == [Stored()] * 3
        index.flush()
        index.mark_complete()
        index.refresh()
        assert index.is_complete()
        assert index.offsets(1, 0, 0, 9) == [0, 1, 2]

    def test_an_interrupted_rebuild_is_still_incomplete_after_reopening(
        self, index: EventIndex, reopen: Reopen
    ) -> None:
        index.begin_rebuild()
        index.put([known(0).entry])
        index.flush()
        assert not reopen().is_complete()

    @pytest.mark.parametrize("order", ["desc", "asc"])
    def test_equal_times_are_ordered_by_tenant_then_id_then_position(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]], order: str
    ) -> None:
        rng = random.Random(1)
        events = [
            known(n, tenant=rng.choice("abZä"), event_id=f"{rng.choice('xyé😀')}{n % 3}{n}", at_us=NOVEMBER + n % 3)
            for n in range(60)
        ]
        put(events)
        query = Query(order="desc" if order == "desc" else "asc")
        assert [hit.key for hit in index.search(query, None, 100)] == [each.key for each in answer(query, events)]

    @pytest.mark.parametrize("order", ["desc", "asc"])
    @pytest.mark.parametrize("limit", [1, 7, 100, 999, 1_000])
    def test_a_thousand_events_of_one_instant_are_paged_exactly_once_while_others_arrive(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]], order: str, limit: int
    ) -> None:
        events = [known(n, event_id=f"e{(n * 7919) % 1_000:04d}") for n in range(1_000)]
        put(events)
        query = Query(order="desc" if order == "desc" else "asc")
        seen: list[SortKey] = []
        after, arrived = None, 1_000
        most_pages = 40 if limit < 100 else 1_001
        while len(seen) < 1_000 and most_pages:
            page = index.search(query, after, limit)
            assert len(page) <= limit
            if not page:
                break
            seen += [hit.key for hit in page]
            after = page[-1].key
            most_pages -= 1
            if arrived < 1_005:
                put([known(arrived, at_us=NOVEMBER + (1_000 - arrived))])
                arrived += 1
        assert seen == sorted(set(seen), reverse=order == "desc")
        old = [key for key in seen if key.position.offset < 1_000]
        expected = [each.key for each in answer(query, events)]
        assert old == expected[: len(old)]
        if limit >= 100:
            assert old == expected

    def test_a_page_goes_on_strictly_past_a_key_that_is_not_there(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [known(n, at_us=NOVEMBER + 10 * n) for n in range(10)]
        put(events)
        between = known(99, at_us=NOVEMBER + 45).key
        for order in ("desc", "asc"):
            query = Query(order="desc" if order == "desc" else "asc")
            found = [hit.key for hit in index.search(query, between, 3)]
            assert found == [each.key for each in answer(query, events, between, 3)]

    def test_times_far_apart_are_found_in_order(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        times = [
            946_684_800_000_000,
            946_684_800_000_001,
            1_500_000_000_123_456,
            NOVEMBER,
            NOVEMBER + 3_600_000_000,
        ]
        events = [known(n, at_us=at) for n, at in enumerate(times)]
        put(events)
        for order in ("desc", "asc"):
            query = Query(order="desc" if order == "desc" else "asc")
            assert [h.key for h in index.search(query, None, 9)] == [e.key for e in answer(query, events)]
            assert [h.key for h in index.search(query, None, 2)] == [e.key for e in answer(query, events, None, 2)]

    def test_a_value_over_the_limit_is_found_whole_but_by_no_prefix(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = [known(0, resource=Resource("7", "doc")), known(1, resource=Resource(LONG, "doc"))]
        put(events)
        for match, found in ((Prefix("doc/"), events[:1]), (Exact("doc/" + LONG), events[1:])):
            query = Query(conditions=(Condition(Field.RESOURCE, (match,)),))
            assert [hit.key for hit in index.search(query, None, 9)] == [each.key for each in found]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_any_question_is_answered_as_the_plain_oracle_answers_it(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]], data: st.DataObject
    ) -> None:
        events = _assortment()
        if index.count(Query()).value == 0:
            put(events)
        query = data.draw(_queries())
        expected = answer(query, events)
        assert [hit.key for hit in index.search(query, None, 1_000)] == [each.key for each in expected]
        assert index.count(query).value == len(expected)
        limit = data.draw(st.integers(1, 60))
        after = data.draw(st.sampled_from(events)).key
        page = [hit.key for hit in index.search(query, after, limit)]
        assert page == [each.key for each in answer(query, events, after, limit)]

    def test_an_empty_tenant_scope_finds_nothing(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(0)])
        assert index.search(Query(tenants=()), None, 10) == []
        assert index.count(Query(tenants=())).value == 0

    def test_a_count_stops_at_its_ceiling_and_says_so(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(n) for n in range(30)])
        assert (index.count(Query(), 10).value, index.count(Query(), 10).exact) == (10, False)
        assert (index.count(Query(), 30).value, index.count(Query(), 30).exact) == (30, True)

    def test_a_document_as_it_was_put_does_not_differ_from_its_entry(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = _assortment()
        put(events)
        assert index.compare([each.entry for each in events]) == [None] * len(events)

    def test_a_field_that_differs_from_the_entry_is_named(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        event = known(0, resource=Resource("7", "doc"), source_ip="10.0.0.1", request_id="r", metadata={"k": "v"})
        put([event])
        entry = event.entry
        changed = {
            "actor": "mallory",
            "action": "doc.read",
            "outcome": "denied",
            "resource": "doc/8",
            "resource_type": "d",
            "source_ip": "10.0.0.2",
            "request_id": "r2",
            "metadata": ("k\x1fsw",),
            "words": f"{entry.projection.words} zebra",
            "timestamp_us": entry.projection.timestamp_us + 1,
            "content_hash": bytes(32),
        }
        others = [
            msgspec.structs.replace(entry, projection=msgspec.structs.replace(entry.projection, **{name: value}))
            for name, value in changed.items()
        ]
        told = index.compare(others)
        assert [name.removesuffix("_us") for name in changed] == told
        moved = msgspec.structs.replace(entry.projection, position=Position(1, 0, 9))
        (other,) = index.compare([msgspec.structs.replace(entry, projection=moved)])
        assert other in {"position", "offset"}

    def test_an_index_holds_as_many_terms_as_its_entries_have(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        events = _assortment()
        put(events)
        ours = [each.entry for each in events if each.entry.projection.position.log == 1]
        in_partition = [one for one in ours if one.projection.position.partition == 0]
        assert index.held(1, 0, 0, 2**40) == index.due(in_partition)
        assert index.beside(in_partition) == [None] * len(in_partition)
        some = [one for one in in_partition if 1 <= one.projection.position.offset < 3]
        assert index.held(1, 0, 1, 3) == index.due(some)

    def test_a_term_too_many_is_told_of_its_entry_or_seen_by_compare(self, index: EventIndex) -> None:
        events = [known(n, metadata={"k": str(n)}) for n in range(4)]
        more = f"{events[1].entry.projection.words} zebra"
        false = msgspec.structs.replace(
            events[1].entry, projection=msgspec.structs.replace(events[1].entry.projection, words=more)
        )
        index.put([events[0].entry, false, *(each.entry for each in events[2:])])
        index.flush()
        index.refresh()
        true = [each.entry for each in events]
        assert (index.compare(true)[1] or index.beside(true)[1]) == "words"
        assert [index.beside(true)[place] for place in (0, 2, 3)] == [None] * 3

    def test_an_inventory_counts_every_log_and_partition(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(n) for n in range(3)])
        put([known(n, partition=1) for n in (1, 2)])
        put([known(n, log=2, event_id=f"second-{n}") for n in (3,)])
        held = index.inventory()
        assert (held.documents, held.unplaced) == ({(1, 0): 3, (1, 1): 2, (2, 0): 1}, 0)
        assert index.alterations() == []

    def test_an_entry_without_a_document_is_missing(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(0)])
        assert index.compare([known(1).entry, known(0).entry, known(0, tenant="b").entry]) == [
            "missing",
            None,
            "missing",
        ]

    def test_offsets_are_those_of_one_log_and_partition_in_the_range(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(n) for n in (0, 5, 4_095, 4_096, 9_000)])
        put([known(n, partition=1) for n in (1, 2)])
        put([known(n, log=2, event_id=f"second-{n}") for n in (3,)])
        assert index.offsets(1, 0, 0, 10_000) == [0, 5, 4_095, 4_096, 9_000]
        assert index.offsets(1, 0, 5, 4_096) == [5, 4_095]
        assert index.offsets(1, 1, 0, 10) == [1, 2]
        assert index.offsets(2, 0, 0, 10) == [3]
        assert index.offsets(1, 0, 6, 6) == []

    def test_an_offset_with_two_documents_is_told_twice(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        one = known(7)
        put([one, Known(one.event, colliding(one.entry))])
        assert index.offsets(1, 0, 0, 10) == [7, 7]

    def test_searches_from_many_threads_see_whole_states_while_one_writes(
        self, index: EventIndex, put: Callable[[Sequence[Known]], list[Verdict]]
    ) -> None:
        put([known(n, at_us=NOVEMBER + n) for n in range(20)])

        def look(_: int) -> list[int]:
            return [hit.key.position.offset for hit in index.search(Query(order="asc"), None, 1_000)]

        with ThreadPoolExecutor(4) as threads:
            looks = [threads.submit(look, n) for n in range(40)]
            for n in range(20, 60, 10):
                put([known(m, at_us=NOVEMBER + m) for m in range(n, n + 10)])
            for each in looks:
                offsets = each.result()
                assert offsets == list(range(len(offsets)))
                assert len(offsets) % 10 == 0


def _assortment() -> list[Known]:
    """120 events that differ in every way a query can ask about."""
    rng = random.Random(5)
    addresses = [None, "10.0.0.1", "10.0.0.255", "10.0.1.0", "192.0.2.7", "2001:db8::1", "2001:db8::ffff"]
    resources = [
        None,
        Resource("7"),
        Resource("7", "doc"),
        Resource("77", "doc"),
        Resource("doc/7"),
        Resource(LONG, "doc"),
    ]
    actors = ["alice", "alice@x", "al*ce", "Bob", "Ωbob", LONG, LONG + "y", "\x1eodd", "a b", "(.*)"]
    metadata = [
        {},
        {"k": "v", "n": 5, "deep": {"er": ["a", "b", {"c": True}]}},
        {"k": "vv", "n": 5.5, "z": None, "t": "true"},
        {"k": 5, "k.l": "dotted", "s\x1fn": "odd"},
        {"n": "5", "deep": {"er": "a"}, "b": False},
    ]
    return [
        known(
            n,
            tenant=rng.choice(["a", "b", "b2"]),
            at_us=NOVEMBER + rng.choice([0, 1, 59_999_999, 60_000_000, 7 * DAY, -200 * DAY]) + rng.randrange(3),
            actor=rng.choice(actors),
            action=rng.choice(["user.login", "user.logout", "user_logged_in", "doc.read"]),
            outcome=rng.choice(["success", "failure", "denied", "unknown"]),
            resource=rng.choice(resources),
            source_ip=rng.choice(addresses),
            request_id=rng.choice([None, "r-1", "r-2"]),
            metadata=rng.choice(metadata),
        )
        for n in range(120)
    ]


_TEXTS: dict[Field, list[str]] = {
    Field.ACTOR: ["alice", "al*ce", "Bob", "Ωbob", LONG, LONG + "y", "\x1eodd", "a b", "(.*)", "nobody"],
    Field.ACTION: ["user.login", "user_logged_in", "doc.read", "user"],
    Field.RESOURCE: ["7", "doc/7", "doc/77", "doc/" + LONG],
    Field.RESOURCE_TYPE: ["doc", "d"],
    Field.TENANT: ["a", "b", "b2"],
    Field.OUTCOME: ["success", "denied", "failure", "unknown"],
    Field.SOURCE_IP: ["10.0.0.1", "2001:db8::1", "10.0.0.2"],
    Field.REQUEST_ID: ["r-1", "r-2"],
    Field.ID: ["event-0-3", "event-0-99", "none"],
    Field.METADATA: ["v", "5", "5.5", "true", "null", "a", "false", "dotted"],
}
_PREFIXES: dict[Field, list[str]] = {
    field: sorted({text[:n] for text in texts for n in (1, 3) if len(text) <= 100})
    for field, texts in _TEXTS.items()
}
_NETWORKS = [
    Network("10.0.0.0", "10.0.0.255"),
    Network("10.0.0.0", "10.255.255.255"),
    Network("2001:db8::", "2001:db8::ff"),
    Network("0.0.0.1", "255.255.255.255"),
    Network("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
]
_KEYS = ["k", "n", "deep.er", "deep.er.c", "z", "t", "k.l", "s\x1fn", "b", "none"]


def _matches(field: Field) -> st.SearchStrategy[Match]:
    ways: list[st.SearchStrategy[Match]] = [st.sampled_from(_TEXTS[field]).map(Exact), st.just(Is())]
    if field is Field.SOURCE_IP:
        ways.append(st.sampled_from(_NETWORKS))
    elif field is not Field.OUTCOME:
        ways.append(st.sampled_from(_PREFIXES[field]).map(Prefix))
    return st.one_of(ways)


def _conditions() -> st.SearchStrategy[Condition]:
    def of(field: Field) -> st.SearchStrategy[Condition]:
        return st.builds(
            Condition,
            st.just(field),
            st.lists(_matches(field), min_size=1, max_size=3).map(tuple),
            negated=st.booleans(),
            key=st.sampled_from(_KEYS) if field is Field.METADATA else st.none(),
        )

    return st.sampled_from(list(Field)).flatmap(of)


def _queries() -> st.SearchStrategy[Query]:
    instants = [NOVEMBER + n for n in (-200 * DAY, 0, 1, 2, 59_999_999, 60_000_000, 60_000_001, 7 * DAY, 8 * DAY)]
    moments = st.one_of(st.none(), st.sampled_from(instants))
    words = st.sampled_from(
        [Word("alice"), Word("user"), Word("log", prefix=True), Word("user_logged_in"), Word("none")]
    )
    return st.builds(
        Query,
        tenants=st.one_of(
            st.none(), st.sets(st.sampled_from(["a", "b", "b2", "c"])).map(lambda t: tuple(sorted(t)))
        ),
        conditions=st.lists(_conditions(), max_size=3).map(tuple),
        words=st.lists(words, max_size=2, unique=True).map(tuple),
        time_from_us=moments,
        time_to_us=moments,
        order=st.sampled_from(["desc", "asc"]),
    )
