"""Waits between attempts, and the alarm when dead letters come in numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trailseal.event_consumer.backoff import full_jitter
from trailseal.event_consumer.storms import FEWEST, WINDOW_S, Storm


@given(st.integers(0, 10_000))
def test_a_wait_is_never_longer_than_the_growth_allows(failures: int) -> None:
    assert 0 <= full_jitter(failures, 0.1, 30.0) <= min(30.0, 0.1 * 2.0 ** min(failures, 32))


def test_waits_spread_over_the_whole_range() -> None:
    waits = [full_jitter(20, 0.1, 30.0) for _ in range(500)]
    assert min(waits) < 5
    assert max(waits) > 25


def test_a_few_dead_letters_among_many_records_are_no_storm() -> None:
    storm = Storm()
    assert storm.note(0.0, 100_000, FEWEST - 1) is None
    assert storm.note(1.0, 1_000_000, FEWEST) is None


def test_a_storm_is_told_while_it_lasts_and_is_over_after_a_quiet_minute() -> None:
    storm = Storm()
    told = storm.note(0.0, 1_000, FEWEST)
    assert told is not None
    assert "1000 records" in told
    assert storm.note(WINDOW_S / 2, 10, 0) is not None
    assert storm.note(WINDOW_S + 1, 10, 0) is None
