"""The cache's tokens: renewed before anything can be seen, and again once it can; else the heads wait."""

from __future__ import annotations

from collections.abc import Sequence

from flow.conftest import Bench
from flow.running import caught_up, record, running, until
from trailseal.model.freshness import EVERYTHING, touched, watched
from trailseal.model.projection import Entry
from trailseal.ports.index import Verdict

FIRST_US = 1_772_600_767_000_001


def test_everything_is_renewed_at_the_start_before_the_pipeline_says_that_it_is_here(bench: Bench) -> None:
    with running(bench.consumer()) as consumer:
        until(lambda: consumer.state.snapshot.phase == "running")
        assert bench.cache.renewed[0] == (EVERYTHING,)
        assert bench.cache.writer == [True]


def test_touched_tokens_are_renewed_before_the_put_and_after_the_flush(bench: Bench) -> None:
    order: list[str] = []
    names = set(watched(("acme",), FIRST_US, FIRST_US + 1)) - {EVERYTHING}
    renew = bench.cache.renew

    def noted(given: Sequence[str]) -> bool:
        order.append("renew" if names <= set(given) else "other")
        return renew(given)

    def answer(_: Sequence[Entry]) -> dict[int, Verdict]:
        order.append("put")
        return {}

    bench.cache.renew = noted  # type: ignore[method-assign] # this very test watches the order
    bench.index.answer = answer
    bench.index.on_flush = lambda: order.append("flush")
    with running(bench.consumer()) as consumer:
        until(lambda: consumer.state.snapshot.phase == "running")
        bench.log.append([record("a")])
        until(lambda: caught_up(bench.log, bench.ledger))
    assert order == ["other", "renew", "put", "flush", "renew"]


def test_a_cache_that_cannot_be_told_holds_the_head_back_but_not_the_events(bench: Bench) -> None:
    with running(bench.consumer()) as consumer:
        until(lambda: consumer.state.snapshot.phase == "running")
        bench.cache.reachable = False
        bench.log.append([record("a")])
        until(lambda: bench.cache.refused > 3)
        assert bench.documents() == ["acme/a"]
        assert bench.head() == 0
        bench.log.append([record("b")])
        until(lambda: len(bench.documents()) == 2)
        bench.cache.renewed.clear()
        bench.cache.reachable = True
        until(lambda: caught_up(bench.log, bench.ledger))
        assert bench.cache.renewed[0] == (EVERYTHING,)


def test_what_is_written_and_what_is_asked_meet_in_at_least_one_name() -> None:
    day_us = 86_400_000_000
    written = set(touched({("acme", FIRST_US // day_us)}))
    for tenants in (("acme",), ("acme", "globex"), None):
        for window in ((FIRST_US - 5 * day_us, FIRST_US + 1), (None, None), (FIRST_US, None), (None, FIRST_US + 1)):
            assert written & set(watched(tenants, *window))


def test_questions_about_other_tenants_or_days_stay_cached() -> None:
    day_us = 86_400_000_000
    written = set(touched({("acme", FIRST_US // day_us)}))
    assert not written & set(watched(("globex",), None, None))
    assert not written & set(watched(("acme",), FIRST_US - 3 * day_us, FIRST_US - 2 * day_us))
    assert not written & set(watched(None, FIRST_US - 3 * day_us, FIRST_US - 2 * day_us))


def test_a_write_that_touches_too_much_renews_everything() -> None:
    assert touched(("acme", day) for day in range(5_000)) == (EVERYTHING,)
