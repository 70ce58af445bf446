from __future__ import annotations

import pytest

from conformance.cache_contract import CacheContract
from trailseal.adapters.caches.memory import MemoryCache


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


def test_without_the_pipeline_in_this_process_it_is_bypassed() -> None:
    cache = MemoryCache(max_bytes=1 << 20, clock=TurnedClock())
    assert cache.tokens(["a"]) is None
    cache.writer_here(present=True)
    assert cache.tokens(["a"]) is not None
    cache.writer_here(present=False)
    assert cache.tokens(["a"]) is None


def test_answers_and_tokens_of_before_are_dropped_when_the_pipeline_comes_or_goes() -> None:
    cache = MemoryCache(max_bytes=1 << 20, clock=TurnedClock())
    cache.writer_here(present=True)
    before = cache.tokens(["a"])
    cache.put("k", b"1", 60)
    cache.writer_here(present=False)
    cache.writer_here(present=True)
    assert cache.get("k") is None
    assert cache.tokens(["a"]) != before


def test_the_least_recently_used_values_make_room() -> None:
    cache = MemoryCache(max_bytes=10_000, clock=TurnedClock())
    for number in range(20):
        cache.put(f"k{number}", bytes(800), 60)
        cache.get("k0")
    assert cache.get("k0") is not None
    assert cache.get("k1") is None
    assert cache.get("k19") is not None


def test_a_value_larger_than_the_whole_cache_is_not_kept() -> None:
    cache = MemoryCache(max_bytes=1_000, clock=TurnedClock())
    cache.put("small", b"1", 60)
    cache.put("large", bytes(2_000), 60)
    assert cache.get("large") is None
    assert cache.get("small") == b"1"


def test_an_evicted_token_never_comes_back_with_its_old_value() -> None:
    cache = MemoryCache(max_bytes=1 << 20, clock=TurnedClock())
    cache.writer_here(present=True)
    (first,) = cache.tokens(["a"]) or ()
    for number in range(100_001):
        cache.tokens([f"n{number}"])
    (second,) = cache.tokens(["a"]) or ()
    assert second.value != first.value
    assert second.age_s == 0
