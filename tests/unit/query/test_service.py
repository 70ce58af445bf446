"""The query service: what the cache may hide, for how long, and from whom."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trailseal.errors import InvalidQuery, NotFound, Rebuilding, Unavailable
from trailseal.model.freshness import EVERYTHING, day_of, touched
from trailseal.query.parsing import parse_query_string
from trailseal.query.service import FRESH_TTL_S, PAST_TTL_S, QueryService
from unit.query.plain_engines import PlainCache, PlainIndex, StepClock, entry

PAST_US = 1_779_000_000_000_000
PAST_DAY = "2026-05-17"
NEXT_DAY = "2026-05-18"


@dataclass
class World:
    """A service, its engines, and a writer that does what the consumer does."""

    clock: StepClock = field(default_factory=StepClock)
    index: PlainIndex = field(default_factory=PlainIndex)
    written: list[tuple[str, str, float]] = field(default_factory=list)
    refresh_due: float | None = None

    def __post_init__(self) -> None:
        self.cache = PlainCache(self.clock)
        self.service = QueryService(self.index, self.cache, self.clock, b"secret", None)

    def write(self, tenant: str = "acme", event_id: str | None = None) -> str:
        """Tokens, put, tokens: what the pipeline does around each put."""
        names = touched([(tenant, day_of(PAST_US))])
        number = len(self.written)
        event_id = event_id or f"e{number}"
        value = {
            "id": event_id,
            "timestamp": "2026-05-17T06:40:00Z",
            "tenant_id": tenant,
            "actor": "a",
            "action": "b",
        }
        assert self.cache.renew(names)
        self.index.put([entry(msgspec.json.encode(value), number)])
        assert self.cache.renew(names)
        self.written.append((tenant, event_id, self.clock.monotonic()))
        if self.refresh_due is None:
            self.refresh_due = self.clock.monotonic() + self.index.refresh_interval_s
        return event_id

    def refresh(self) -> None:
        self.index.refresh()
        self.refresh_due = None

    def wait(self, seconds: float) -> None:
        """Let time pass; a refresh that falls due on the way happens at its last moment."""
        until = self.clock.seconds + seconds
        if self.refresh_due is not None and self.refresh_due <= until:
            self.clock.seconds = max(self.clock.seconds, self.refresh_due)
            self.refresh()
        self.clock.seconds = until

    def ask(self, raw: str = "", tenants: tuple[str, ...] | None = None) -> dict[str, Any]:
        plan = self.service.plan(parse_query_string(raw), tenants)
        found: dict[str, Any] = msgspec.json.decode(self.service.search(plan).body)
        return found

    def ids(self, raw: str = "", tenants: tuple[str, ...] | None = None) -> set[str]:
        return {event["id"] for event in self.ask(raw, tenants)["events"]}


def test_a_question_asked_again_is_answered_without_a_search() -> None:
    world = World()
    world.write()
    world.wait(10)
    assert world.ids() == world.ids() == {"e0"}
    assert world.index.searches == 1


def test_a_write_makes_the_answers_of_its_tenant_and_day_old_and_no_others() -> None:
    world = World()
    world.write("acme")
    world.wait(10)
    questions = ("tenant_id=acme", "tenant_id=other", f"tenant_id=acme&time_from={NEXT_DAY}&time_to=2026-05-19", "")
    for raw in questions:
        world.ids(raw)
    world.write("acme")
    world.refresh()
    before = world.index.searches
    asked = [(raw, len(world.ids(raw)), world.index.searches) for raw in questions]
    assert [count for _, count, _ in asked] == [2, 0, 0, 2]
    assert asked[0][2] == before + 1
    assert asked[2][2] == before + 1
    assert asked[3][2] == before + 2


def test_an_answer_computed_before_the_refresh_lives_two_seconds() -> None:
    world = World()
    world.wait(100)
    world.ids("tenant_id=acme")
    world.write("acme")
    assert world.ids("tenant_id=acme") == set()
    world.wait(world.index.refresh_interval_s)
    world.wait(FRESH_TTL_S)
    assert world.ids("tenant_id=acme") == {"e0"}


def test_a_window_in_the_past_lives_long_and_an_open_one_seconds() -> None:
    world = World()
    world.write()
    world.ids(f"time_from={PAST_DAY}&time_to={NEXT_DAY}")
    world.ids("")
    world.wait(30)
    world.ids(f"time_from={PAST_DAY}&time_to={NEXT_DAY}")
    world.ids("")
    world.wait(30)
    before = world.index.searches
    world.ids(f"time_from={PAST_DAY}&time_to={NEXT_DAY}")
    assert world.index.searches == before
    world.ids("")
    assert world.index.searches == before + 1
    world.wait(PAST_TTL_S)
    world.ids(f"time_from={PAST_DAY}&time_to={NEXT_DAY}")
    assert world.index.searches == before + 2


def test_a_slow_search_shortens_the_life_of_its_answer() -> None:
    world = World()
    world.write()
    world.index.after_search = lambda: world.clock.wait(FRESH_TTL_S)
    world.ids()
    world.index.after_search = lambda: None
    world.refresh()
    assert world.ids() == {"e0"}


def test_an_answer_computed_while_its_tokens_were_renewed_is_never_found_again() -> None:
    world = World()
    world.wait(100)
    world.ids("tenant_id=acme&limit=7")
    world.wait(100)
    world.index.after_search = lambda: world.write("acme") and None
    assert world.ids("tenant_id=acme&limit=7") == set()
    world.index.after_search = lambda: None
    world.refresh()
    assert world.ids("tenant_id=acme&limit=7") == {"e0"}


def test_an_evicted_token_never_brings_an_old_answer_back() -> None:
    world = World()
    world.wait(100)
    assert world.ids("tenant_id=acme") == set()
    world.write("acme")
    world.refresh()
    for name in ("tenant/acme", EVERYTHING):
        world.cache.evict(name)
        assert world.ids("tenant_id=acme") == {"e0"}


def test_an_unreachable_cache_is_passed_by() -> None:
    world = World()
    world.cache.reachable = False
    world.index.put([])
    assert world.ids() == world.ids() == set()
    assert world.index.searches == 2


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["acme", "other"])),
        st.tuples(st.just("write during a search"), st.sampled_from(["acme", "other"])),
        st.tuples(st.just("refresh"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 0.9, 1.1, 1.9, 2.1, 5.0, 60.0])),
        st.tuples(st.just("evict"), st.sampled_from(["any", "tenant/acme", EVERYTHING, f"any/{day_of(PAST_US)}"])),
        st.tuples(st.just("read"), st.none()),
    ),
    max_size=30,
)
QUESTIONS = (
    "",
    "tenant_id=acme",
    f"time_from={PAST_DAY}&time_to={NEXT_DAY}",
    f"tenant_id=acme&time_from={PAST_DAY}&time_to={NEXT_DAY}",
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_a_write_is_never_hidden_longer_than_a_refresh_and_two_seconds(taken: list[tuple[str, Any]]) -> None:
    world = World()
    bound = world.index.refresh_interval_s + FRESH_TTL_S
    for step, detail in taken:
        if step == "write":
            world.write(detail)
        elif step == "write during a search":
            world.index.after_search = lambda tenant=detail: world.write(tenant) and None
            world.ids(QUESTIONS[len(world.written) % len(QUESTIONS)])
            world.index.after_search = lambda: None
        elif step == "refresh":
            world.refresh()
        elif step == "wait":
            world.wait(detail)
        elif step == "evict":
            world.cache.evict(detail)
        for raw in QUESTIONS if step == "read" else ():
            due = {
                event_id
                for tenant, event_id, at in world.written
                if world.clock.monotonic() - at > bound and ("acme" not in raw or tenant == "acme")
            }
            assert due <= world.ids(raw), raw


def test_one_computes_and_the_others_wait() -> None:
    world = World()
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(10)

    world.index.during_search = hold
    answers: list[set[str]] = []
    readers = [threading.Thread(target=lambda: answers.append(world.ids())) for _ in range(8)]
    readers[0].start()
    assert inside.wait(10)
    for reader in readers[1:]:
        reader.start()
    go_on.set()
    for reader in readers:
        reader.join(10)
    assert (world.index.searches, len(answers)) == (1, 8)


def test_a_search_that_began_long_ago_is_not_joined() -> None:
    world = World()
    inside, go_on = threading.Event(), threading.Event()
    first = True

    def hold() -> None:
        nonlocal first
        if first:
            first = False
            inside.set()
            assert go_on.wait(10)

    world.index.after_search = hold
    world.wait(100)
    answers: list[set[str]] = []
    slow = threading.Thread(target=lambda: answers.append(world.ids()))
    slow.start()
    assert inside.wait(10)
    world.index.put([entry(b'{"id":"new","timestamp":"2026-05-17T06:40:00Z","actor":"a","action":"b"}', 0)])
    world.index.refresh()
    world.clock.wait(1.5)
    assert world.ids() == {"new"}
    go_on.set()
    slow.join(10)
    assert answers == [set()]


def test_what_another_process_computes_is_waited_for_but_not_for_ever() -> None:
    world = World()
    world.wait(10)
    world.ids("limit=3")
    (question,) = world.cache.questions
    world.wait(100)
    world.cache.claimed_elsewhere.add(question)
    assert world.ids("limit=3") == set()
    assert world.index.searches == 2


def test_errors_are_not_cached() -> None:
    world = World()
    world.index.fails = Unavailable("The disk is away.")
    with pytest.raises(Unavailable):
        world.ask()
    world.index.fails = None
    assert world.ask()["events"] == []


def test_a_failing_index_brings_the_last_minutes_answer_marked_as_stale() -> None:
    world = World()
    world.write()
    world.refresh()
    assert "stale" not in world.ask("actor=a")
    world.wait(30)
    world.index.fails = Unavailable("The disk is away.")
    old = world.ask("actor=a")
    assert (old["stale"], [event["id"] for event in old["events"]]) == (True, ["e0"])
    with pytest.raises(Unavailable):
        world.ask("actor=b")
    world.wait(60)
    with pytest.raises(Unavailable):
        world.ask("actor=a")


def test_a_rebuild_is_never_covered_up_by_an_old_answer() -> None:
    world = World()
    world.ask()
    world.wait(30)
    world.index.fails = Rebuilding("The index is being rebuilt.")
    with pytest.raises(Rebuilding):
        world.ask()


def test_tenants_never_share_an_answer() -> None:
    world = World()
    world.write("acme")
    world.write("other")
    world.refresh()
    for _ in range(2):
        assert world.ids("actor=a", ("acme",)) == {"e0"}
        assert world.ids("actor=a", ("other",)) == {"e1"}
        assert world.ids("actor=a", ("acme", "other")) == {"e0", "e1"}
        assert world.ids("actor=a&tenant_id=other", ("acme",)) == set()
        assert world.ids("actor=a") == {"e0", "e1"}


def test_a_cursor_of_another_tenants_key_is_refused() -> None:
    world = World()
    for _ in range(3):
        world.write("acme")
    world.refresh()
    cursor = world.ask("limit=1", ("acme",))["next_cursor"]
    assert world.ids(f"limit=1&cursor={cursor}", ("acme",))
    for tenants in (("other",), ("acme", "other"), None):
        with pytest.raises(InvalidQuery) as refused:
            world.ask(f"limit=1&cursor={cursor}", tenants)
        assert refused.value.problem.code == "cursor-mismatch"


def test_a_relative_window_is_frozen_while_paging() -> None:
    world = World(clock=StepClock(PAST_US + 3_600_000_000))
    for _ in range(3):
        world.write()
    world.refresh()
    first = world.ask("time_from=-90m&limit=2")
    world.wait(86_400)
    rest = world.ids(f"time_from=-90m&limit=2&cursor={first['next_cursor']}")
    assert {event["id"] for event in first["events"]} | rest == {"e0", "e1", "e2"}


def test_an_event_is_found_by_id_within_the_tenants_only() -> None:
    world = World()
    world.write("acme", "same")
    world.write("other", "same")
    world.write("acme", "mine")
    world.refresh()
    assert b'"tenant_id":"acme"' in world.service.event("same", ("acme",))
    assert b'"tenant_id":"other"' in world.service.event("same", ("other",))
    for tenants in (("other",), ()):
        with pytest.raises(NotFound):
            world.service.event("mine", tenants)
    with pytest.raises(InvalidQuery) as refused:
        world.service.event("same", None)
    assert refused.value.problem.code == "ambiguous-id"


def test_a_wrong_month_as_hint_does_not_hide_the_event() -> None:
    world = World()
    world.write("acme", "one")
    world.refresh()
    assert b'"one"' in world.service.event("one", None, timestamp_us=0)


def test_a_count_counts_and_is_cached_apart_from_the_page() -> None:
    world = World()
    world.write("acme")
    world.write("other")
    world.refresh()
    plan = world.service.plan(parse_query_string("actor=a", beside=()), None)
    narrow = world.service.plan(parse_query_string("actor=a", beside=()), ("acme",))
    for _ in range(2):
        assert world.service.count(plan).body == b'{"count":2,"exact":true}'
        assert world.service.count(narrow).body == b'{"count":1,"exact":true}'
        assert world.ids("actor=a") == {"e0", "e1"}
