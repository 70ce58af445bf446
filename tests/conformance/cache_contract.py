"""What every `QueryCache` does; each adapter runs it as it is, with a `cache` fixture of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trailseal.ports.cache import QueryCache


class CacheContract:
    """Fixtures to provide: `cache` (empty; `writer_here(present=True)` already said) and `let_pass` (time)."""

    @pytest.fixture
    def cache(self) -> QueryCache:
        raise NotImplementedError

    def let_pass(self, seconds: float) -> None:
        """Return when that much of the cache's own time has passed."""
        raise NotImplementedError

    @staticmethod
    def values(cache: QueryCache, *names: str) -> list[str]:
        tokens = cache.tokens(names)
        assert tokens is not None
        return [token.value for token in tokens]

    def test_a_value_is_got_as_it_was_put(self, cache: QueryCache) -> None:
        assert cache.get("k") is None
        cache.put("k", b"\x00\xff value", 60)
        assert cache.get("k") == b"\x00\xff value"
        cache.put("k", b"", 60)
        assert cache.get("k") == b""

    def test_a_value_ends_with_its_life(self, cache: QueryCache) -> None:
        cache.put("short", b"1", 0.2)
        cache.put("long", b"2", 60)
        self.let_pass(0.4)
        assert cache.get("short") is None
        assert cache.get("long") == b"2"

    def test_a_value_without_a_life_is_not_kept(self, cache: QueryCache) -> None:
        cache.put("k", b"1", 0)
        assert cache.get("k") is None

    def test_a_deleted_value_is_gone(self, cache: QueryCache) -> None:
        cache.put("k", b"1", 60)
        cache.delete("k")
        cache.delete("never")
        assert cache.get("k") is None

    def test_a_cleared_cache_holds_no_value_and_keeps_its_tokens(self, cache: QueryCache) -> None:
        first = self.values(cache, "a")
        for number in range(2_500):
            cache.put(f"k{number}", b"1", 60)
        cache.put("stale:k", b"1", 60)
        assert cache.clear()
        assert all(cache.get(f"k{number}") is None for number in range(0, 2_500, 50))
        assert cache.get("stale:k") is None
        assert self.values(cache, "a") == first

    def test_a_token_stays_the_same_until_it_is_renewed(self, cache: QueryCache) -> None:
        first = self.values(cache, "a", "b")
        assert len(set(first)) == 2
        assert self.values(cache, "b", "a") == first[::-1]
        assert cache.renew(["a"])
        second = self.values(cache, "a", "b")
        assert second[0] != first[0]
        assert second[1] == first[1]

    def test_renewing_never_brings_an_old_token_back(self, cache: QueryCache) -> None:
        seen = set()
        for _ in range(50):
            seen.add(self.values(cache, "a")[0])
            assert cache.renew(["a"])
        assert len(seen) == 50

    def test_a_tokens_age_counts_from_its_renewal(self, cache: QueryCache) -> None:
        self.values(cache, "a")
        self.let_pass(0.3)
        (aged,) = cache.tokens(["a"]) or ()
        assert aged.age_s >= 0.29
        assert cache.renew(["a"])
        (renewed,) = cache.tokens(["a"]) or ()
        assert 0 <= renewed.age_s < aged.age_s

    def test_renewing_nothing_and_unknown_names_works(self, cache: QueryCache) -> None:
        assert cache.renew([])
        assert cache.renew(["never asked for"])

    def test_a_claim_is_held_by_one(self, cache: QueryCache) -> None:
        mine = cache.claim("k", 60)
        assert mine is not None
        assert cache.claim("k", 60) is None
        assert cache.claim("other", 60) is not None
        cache.release("k", "somebody else's")
        assert cache.claim("k", 60) is None
        cache.release("k", mine)
        assert cache.claim("k", 60) is not None

    def test_a_claim_ends_by_itself(self, cache: QueryCache) -> None:
        assert cache.claim("k", 0.2) is not None
        self.let_pass(0.4)
        assert cache.claim("k", 60) is not None

    def test_releasing_a_claim_that_ended_does_not_free_the_next_one(self, cache: QueryCache) -> None:
        first = cache.claim("k", 0.2)
        assert first is not None
        self.let_pass(0.4)
        assert cache.claim("k", 60) is not None
        cache.release("k", first)
        assert cache.claim("k", 60) is None

    def test_of_many_threads_exactly_one_claims(self, cache: QueryCache) -> None:
        barrier = threading.Barrier(8)

        def claim(_: int) -> bool:
            barrier.wait()
            return cache.claim("k", 60) is not None

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(claim, range(8))) == 1

    def test_after_a_renewal_no_thread_sees_the_old_token(self, cache: QueryCache) -> None:
        """The promise that hides no write: renew has returned, so every later reader gets another token."""
        for _ in range(30):
            (before,) = self.values(cache, "a")
            with ThreadPoolExecutor(4) as threads:
                running = [threads.submit(self.values, cache, "a") for _ in range(4)]
                assert cache.renew(["a"])
                after = [threads.submit(self.values, cache, "a") for _ in range(4)]
            assert all(each.result()[0] != before for each in after)
            assert len({each.result()[0] for each in after}) == 1
            assert len(running) == 4

    def test_many_threads_never_read_a_value_of_another_key(self, cache: QueryCache) -> None:
        def work(number: int) -> None:
            for turn in range(200):
                key = f"k{(number + turn) % 16}"
                cache.put(key, key.encode(), 60)
                assert cache.get(key) in {None, key.encode()}

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
