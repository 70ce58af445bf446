from __future__ import annotations

import pytest

from conformance.cache_contract import CacheContract
from trailseal.adapters.caches.memory import MemoryCache
from trailseal.ports.cache import Found


class TurnedClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_us(self) -> int:
        return int(self.seconds * 1e6)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def interrupt(self) -> None:
        """Nobody waits."""


class TestMemoryCache(CacheContract):
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = TurnedClock()

    @pytest.fixture
    def cache(self) -> MemoryCache:
        cache = MemoryCache(max_bytes=1 << 20, clock=self.clock)
        cache.writer_here(present=True)
        return cache

    def let_pass(self, seconds: float) -> None:
        self.clock.seconds += seconds


NAMES = ("a",)


@pytest.fixture
def cache() -> MemoryCache:
    return opened(1 << 20)


def opened(max_bytes: int) -> MemoryCache:
    cache = MemoryCache(max_bytes=max_bytes, clock=TurnedClock())
    cache.writer_here(present=True)
    return cache


def found(cache: MemoryCache, question: str) -> Found:
    look = cache.find(question, NAMES, 1)
    assert look is not None
    return look


def test_without_the_pipeline_in_this_process_it_is_bypassed() -> None:
    cache = MemoryCache(max_bytes=1 << 20, clock=TurnedClock())
    assert cache.find("q", NAMES, 1) is None
    cache.writer_here(present=True)
    assert cache.find("q", NAMES, 1) is not None
    cache.writer_here(present=False)
    assert cache.find("q", NAMES, 1) is None


def test_answers_and_tokens_of_before_are_dropped_when_the_pipeline_comes_or_goes(cache: MemoryCache) -> None:
    before = found(cache, "q")
    cache.keep("q", before, b"1", 60, 60)
    cache.writer_here(present=False)
    cache.writer_here(present=True)
    after = found(cache, "q")
    assert (after.value, cache.earlier("q")) == (None, None)
    assert after.mark != before.mark


def test_the_least_recently_used_values_make_room() -> None:
    cache = opened(10_000)
    for number in range(20):
        cache.keep(f"q{number}", found(cache, f"q{number}"), bytes(800), 60, 60)
        found(cache, "q0")
    assert found(cache, "q0").value is not None
    assert found(cache, "q1").value is None
    assert found(cache, "q19").value is not None


def test_a_value_larger_than_the_whole_cache_is_not_kept() -> None:
    cache = opened(1_000)
    cache.keep("small", found(cache, "small"), b"1", 60, 60)
    cache.keep("large", found(cache, "large"), bytes(2_000), 60, 60)
    assert found(cache, "large").value is None
    assert found(cache, "small").value == b"1"


def test_an_evicted_token_never_comes_back_with_its_old_value(cache: MemoryCache) -> None:
    first = found(cache, "q")
    for number in range(100_001):
        cache.find("other", [f"n{number}"], 1)
    second = found(cache, "q")
    assert second.mark != first.mark
    assert second.age_s == 0
